"""Mixtures of experts as published checkpoints and adapters name them: each expert's linears are modules of their own.

transformers 5 holds the experts of a layer in two tensors, and PEFT an adapter on those in one that is larger than the
experts' own (gate and up share a B whose other blocks begin as zeros). unfused() turns a model's experts into modules with
the published names, so that PEFT adapts each linear by itself; checked() shows that logits stay those of transformers, and
that PEFT loads an adapter saved so into the model as transformers has it.
"""

import torch
from peft import PeftModel

NAMES = {"mixtral": ("block_sparse_moe", "w1", "w3", "w2"), "qwen3_moe": ("mlp", "gate_proj", "up_proj", "down_proj")}


class Expert(torch.nn.Module):
    def __init__(self, names, gate, up, down):
        super().__init__()
        self.names = names
        for name, weight in zip(names, (gate, up, down)):
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            linear.weight = torch.nn.Parameter(weight.detach().clone())
            self.add_module(name, linear)

    def forward(self, x):
        gate, up, down = (getattr(self, name) for name in self.names)
        return down(torch.nn.functional.silu(gate(x)) * up(x))


class Experts(torch.nn.Module):
    """A layer's router, which stays transformers' own, and its experts."""

    def __init__(self, fused, names):
        super().__init__()
        self.gate = fused.gate
        gate_up, down = fused.experts.gate_up_proj, fused.experts.down_proj
        self.experts = torch.nn.ModuleList(Expert(names, *gate_up[e].chunk(2), down[e]) for e in range(len(down)))

    def forward(self, x):
        rows = x.reshape(-1, x.shape[-1])
        _, weights, picks = self.gate(rows)
        out = torch.zeros_like(rows)
        for e, expert in enumerate(self.experts):
            token, at = torch.where(picks == e)
            # An expert without a token gives none, but its parameters a gradient of zero.
            out = out.index_add(0, token, expert(rows[token]) * weights[token, at, None])
        return out.reshape(x.shape)


def unfused(model):
    """The model with its experts as modules; others as they are."""
    kind = model.config.model_type
    if kind not in NAMES:
        return model
    module, *names = NAMES[kind]
    for layer in model.model.layers:
        experts = Experts(layer.mlp, names)
        del layer.mlp
        layer.add_module(module, experts)
        if module != "mlp":
            object.__setattr__(layer, "mlp", experts)  # what the layer calls; as an attribute it is no second module
    model.config.model_type = "unfused"  # PEFT would turn names of experts into transformers' own
    return model.eval()


def checked(load, folder, ids):
    """Compares with transformers' own model, with and without the adapter; load is of transformers' model."""
    if load(folder).config.model_type not in NAMES:
        return
    with torch.no_grad():
        pairs = {
            "base": (load(folder), unfused(load(folder))),
            "adapter": [PeftModel.from_pretrained(m, folder / "adapter").eval() for m in (load(folder), unfused(load(folder)))],
        }
        logits = {what: [m(input_ids=ids).logits for m in pair] for what, pair in pairs.items()}
    for what, (theirs, ours) in logits.items():
        assert torch.allclose(theirs, ours, rtol=1e-5, atol=1e-5), (what, (theirs - ours).abs().max())
    assert (logits["base"][0] - logits["adapter"][0]).abs().max() > 0.1
