"""Golden values of a base in 8-bit floats: losses and gradients of golden.py's tiny models and adapters, with the weights
of the blocks' linears, and what they are multiplied with, rounded as model/float8.go says, by torch's own float8 dtypes.
All else is float32.

    python tools/oracle/float8.py            write model/testdata/float8
    python tools/oracle/float8.py --check    make it again and compare, write nothing

FAMILY.safetensors holds, for the case plain of the family's golden.safetensors, the sum of the losses and, named
grad.MODULE.lora_A.weight, its gradients; FAMILY_head.safetensors those with the head's products rounded too.
"""

import argparse
import sys

import torch
from safetensors.torch import load_file, save_file

import golden

FLOAT8 = golden.ROOT / "model" / "testdata" / "float8"
FAMILIES = ["llama3", "phi3", "qwen2", "llama3_head"]
E4M3, E5M2 = (torch.float8_e4m3fn, 2.0**7), (torch.float8_e5m2, 2.0**14)
FUSED = [{"q_proj", "k_proj", "v_proj"}, {"gate_proj", "up_proj"}]  # these weights are one, with one unit


def unit(most, top):
    """The power of two that makes the power of two below most the top one."""
    return torch.exp2(torch.floor(torch.log2(most.clamp(min=2.0**-64)))) / top


def rounded(x, form, most):
    dtype, top = form
    u = unit(most, top)
    return (x / u).to(dtype).float() * u


class Product(torch.autograd.Function):
    """x W^T; W, x and the gradient of the result are rounded. The gradients of a fused product's parts have units of
    their own here: only what falls off the format's lower end tells."""

    @staticmethod
    def forward(ctx, x, weight, by_row, coarse):
        ctx.save_for_backward(weight)
        ctx.form = E5M2 if coarse else E4M3
        most = x.abs().amax(-1, keepdim=True) if by_row else x.abs().amax()
        return rounded(x, E4M3, most) @ weight.T

    @staticmethod
    def backward(ctx, dy):
        (weight,) = ctx.saved_tensors
        return rounded(dy, ctx.form, dy.abs().amax()) @ weight, None, None, None


class Head(torch.autograd.Function):
    """x W^T as Product; the gradient of the result has a fixed unit."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(weight)
        return rounded(x, E4M3, x.abs().amax()) @ weight.T

    @staticmethod
    def backward(ctx, dy):
        (weight,) = ctx.saved_tensors
        return rounded(dy, E5M2, torch.tensor(1.0)) @ weight, None


def head_in_float8(model):
    """Replaces the head of a PEFT model."""
    head = next(m for n, m in model.named_modules() if n.endswith("lm_head"))
    weight = rounded(head.weight.detach(), E4M3, head.weight.detach().abs().max())
    head.forward = lambda x: Head.apply(x, weight)


def in_float8(model):
    """Replaces the base of every adapted linear of a PEFT model."""
    layers = {n: m for n, m in model.named_modules() if hasattr(m, "base_layer")}
    for name, layer in layers.items():
        parent, own = name.rsplit(".", 1)
        family = next((f for f in FUSED if own in f), {own})
        most = max(layers[f"{parent}.{n}"].base_layer.weight.abs().max() for n in family)
        base = layer.base_layer
        weight = rounded(base.weight.detach(), E4M3, most)
        how = own == "down_proj", own in ("gate_proj", "up_proj", "gate_up_proj")
        base.forward = lambda x, w=weight, b=base.bias, how=how: Product.apply(x, w, *how) + (0 if b is None else b)
    return model


def make(family):
    with_head, family = family.endswith("_head"), family.removesuffix("_head")
    folder = golden.GOLDEN / family
    values = load_file(folder / "golden.safetensors")
    ids, labels = values["plain.ids"].long(), values["plain.labels"].long()
    model = in_float8(golden.load_adapter(folder))
    if with_head:
        head_in_float8(model)
    with torch.no_grad():
        loss = golden.losses(model, ids, labels)[1]
    out = {"loss": loss.reshape(1)}
    out.update({f"grad.{k}": g for k, g in golden.gradients(model, ids, labels).items()})
    return {k: v.contiguous() for k, v in out.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    bad = 0
    for family in FAMILIES:
        made, path = make(family), FLOAT8 / f"{family}.safetensors"
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(made, path)
            continue
        kept = load_file(path)
        same = kept.keys() == made.keys() and all((kept[k] - made[k]).abs().max() <= 1e-3 * kept[k].abs().max() for k in kept)
        print(f"{family}: {'the same' if same else 'differs'}")
        bad += not same
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
