"""Golden values of model: logits, losses, gradients and training curves of tiny models of every family, from
transformers, PEFT and torch's AdamW, in float32 on one thread.

    python tools/oracle/golden.py                     write model/testdata/golden
    python tools/oracle/golden.py --only FAMILY...    write some families
    python tools/oracle/golden.py --check             make them again elsewhere and compare, write nothing

A family's folder holds
  config.json, model.safetensors   the base, as a Hub repository would
  adapter/                         a PEFT adapter on every linear, with B other than zero
  golden.safetensors               tensors, named
      CASE.ids, CASE.labels              [B,S] int32; labels are already shifted: labels[t] is the target of position
                                         t, -100 where there is none. Cases: plain (no padding, all but the last
                                         position supervised), padded (right-padded, the prompt not supervised)
      CASE.logits_base, CASE.logits      [N,V] at the supervised positions in order, without and with the adapter
      CASE.grad.MODULE.lora_A.weight     gradient of the sum of the losses
      full.grad.TENSOR                   the same for every tensor of the base, no adapter, case plain
      steps_ids, steps_labels            [10,2,B,S] micro-batches of the training curves
      final.MODULE.lora_A.weight         the adapter after the ten steps
  curves.json                      sums of losses of both cases; per step the mean loss over valid tokens and the norm
                                   of the mean gradient before clipping, training the adapter and training the base
"""

import argparse
import json
import logging
import math
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

import mixture

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "model" / "testdata" / "golden"

VOCAB, ROWS, STEPS, MICRO = 97, 2, 10, 2
SMALL = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "hidden_act": "silu", "initializer_range": 0.02,
    "bos_token_id": 1, "eos_token_id": 2, "use_cache": True, "attention_dropout": 0.0,
}


def small(kind, arch, **more):
    return {**SMALL, "architectures": [arch], "model_type": kind, "rms_norm_eps": 1e-5, **more}


class Family:
    """config is config.json as old Hub repositories have it; modern: as transformers 5 writes it. seq, padded: lengths
    of the two cases. differs: a change of the config that must change the logits, else the feature is not at work."""

    def __init__(self, config, seq=12, padded=None, modern=False, differs=None, fused=False):
        self.config, self.seq, self.padded, self.modern, self.differs = config, seq, padded or seq, modern, differs
        if config["model_type"] == "mixtral":
            self.modules = ["q_proj", "k_proj", "v_proj", "o_proj", "w1", "w2", "w3"]
            return
        self.modules = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"] if fused else [
            "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
LONG = {"type": "longrope", "short_factor": [1.0, 1.25, 1.5], "long_factor": [1.0, 3.0, 7.5]}

FAMILIES = {
    "llama2": Family(small("llama", "LlamaForCausalLM", num_key_value_heads=4, pretraining_tp=1, rope_scaling=None, tie_word_embeddings=False, torch_dtype="float16")),
    "llama3": Family(small("llama", "LlamaForCausalLM", attention_bias=False, mlp_bias=False, head_dim=8, rope_theta=500.0, rope_scaling=LLAMA3, tie_word_embeddings=True, torch_dtype="bfloat16"),
                     differs={"rope_scaling": None}),
    "mistral": Family(small("mistral", "MistralForCausalLM", rope_theta=10000.0, sliding_window=8, tie_word_embeddings=False, torch_dtype="bfloat16"),
                      seq=24, differs={"sliding_window": None}),
    "qwen2": Family(small("qwen2", "Qwen2ForCausalLM", rms_norm_eps=1e-6, rope_theta=1000000.0, sliding_window=4, max_window_layers=2, use_sliding_window=False, use_mrope=False,
                          tie_word_embeddings=True, torch_dtype="bfloat16")),
    "qwen3": Family(small("qwen3", "Qwen3ForCausalLM", rms_norm_eps=1e-6, head_dim=16, attention_bias=False, rope_theta=1000000.0, tie_word_embeddings=True), modern=True),
    "smollm2": Family(small("llama", "LlamaForCausalLM", rope_theta=100000, rope_scaling=None, tie_word_embeddings=True, torch_dtype="bfloat16")),
    "smollm3": Family(small("smollm3", "SmolLM3ForCausalLM", num_hidden_layers=4, rms_norm_eps=1e-6, no_rope_layer_interval=4, rope_theta=5000000.0, sliding_window=None,
                            use_sliding_window=False, pad_token_id=0, tie_word_embeddings=True), modern=True, differs={"no_rope_layers": [1, 1, 1, 1]}),
    "phi3": Family(small("phi3", "Phi3ForCausalLM", num_key_value_heads=4, original_max_position_embeddings=256, pad_token_id=2, embd_pdrop=0.0, resid_pdrop=0.0, rope_theta=10000.0,
                         rope_scaling=None, sliding_window=7, tie_word_embeddings=False, torch_dtype="bfloat16"), seq=16, differs={"sliding_window": None}, fused=True),
    "phi3_longrope": Family(small("phi3", "Phi3ForCausalLM", original_max_position_embeddings=16, partial_rotary_factor=0.75, pad_token_id=2, rope_theta=10000.0, rope_scaling=LONG,
                                  sliding_window=None, tie_word_embeddings=True, torch_dtype="bfloat16"), seq=20, padded=12, differs={"rope_scaling": None}, fused=True),
}


def tiny(kind, arch, **more):
    sizes = {"vocab_size": 41, "hidden_size": 16, "intermediate_size": 24, "pad_token_id": 0}
    return small(kind, arch, **{**sizes, **more})


# Families that came later; their place in the list is their seed.
LATER = {
    "gemma2": Family(tiny("gemma2", "Gemma2ForCausalLM", head_dim=8, hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, rope_theta=10000.0,
                          sliding_window=5, query_pre_attn_scalar=3, attn_logit_softcapping=2.0, final_logit_softcapping=4.0, tie_word_embeddings=True, torch_dtype="float32"),
                     differs={"attn_logit_softcapping": None}),
    "gemma3": Family(tiny("gemma3_text", "Gemma3ForCausalLM", head_dim=8, hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, rope_theta=700.0, rope_local_base_freq=20.0,
                          rope_scaling={"rope_type": "linear", "factor": 8.0}, sliding_window=6, sliding_window_pattern=2, query_pre_attn_scalar=5, tie_word_embeddings=True,
                          torch_dtype="bfloat16"), differs={"rope_local_base_freq": 9000.0}),
    "olmo2": Family(tiny("olmo2", "Olmo2ForCausalLM", rms_norm_eps=1e-6, rope_theta=500000.0, rope_scaling=None, attention_bias=False, tie_word_embeddings=False, torch_dtype="float32")),
    "granite": Family(tiny("granite", "GraniteForCausalLM", rope_theta=10000.0, rope_scaling=None, attention_bias=False, mlp_bias=False, attention_multiplier=0.2, embedding_multiplier=3.0,
                           residual_multiplier=0.4, logits_scaling=2.5, tie_word_embeddings=True, torch_dtype="bfloat16"), differs={"residual_multiplier": 1.0}),
    "mixtral": Family(tiny("mixtral", "MixtralForCausalLM", num_local_experts=4, num_experts_per_tok=2, rope_theta=1000000.0, sliding_window=None, output_router_logits=False,
                           router_aux_loss_coef=0.02, tie_word_embeddings=False, torch_dtype="bfloat16"), differs={"num_experts_per_tok": 1}),
    "qwen3_moe": Family(tiny("qwen3_moe", "Qwen3MoeForCausalLM", rms_norm_eps=1e-6, head_dim=8, num_experts=5, num_experts_per_tok=3, moe_intermediate_size=12, norm_topk_prob=False,
                             decoder_sparse_step=1, mlp_only_layers=[], attention_bias=False, rope_theta=1000000.0, rope_scaling=None, sliding_window=None, use_sliding_window=False,
                             max_window_layers=2, output_router_logits=True, router_aux_loss_coef=0.3, tie_word_embeddings=False, torch_dtype="bfloat16"),
                        differs={"norm_topk_prob": True}),
}
SEEDS = [*sorted(FAMILIES), *LATER]
FAMILIES |= LATER


# ------------------------------------------------------------------------------------------------ making the model


def draw(rng, shape, std, mean=0.0):
    return torch.from_numpy((rng.standard_normal(shape) * std + mean).astype(np.float32))


def make_base(f, rng, folder):
    """Writes config.json and model.safetensors."""
    config = AutoConfig.for_model(**json.loads(json.dumps(f.config)))
    config.dtype = torch.float32
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if name.endswith("norm.weight"):
                p.copy_(draw(rng, p.shape, 0.2, 0.0 if f.config["model_type"].startswith("gemma") else 1.0))
            elif name.endswith("bias"):
                p.copy_(draw(rng, p.shape, 0.3))
            else:
                p.copy_(draw(rng, p.shape, 0.5 if "embed" in name else 0.2))
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if not f.modern:
        (folder / "config.json").write_text(json.dumps(f.config, indent=2, sort_keys=True) + "\n")


def load(folder, **override):
    return mixture.unfused(as_transformers(folder, **override))


def as_transformers(folder, **override):
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, **override).eval()


def save_adapter(model, folder):
    model.peft_config["default"].base_model_name_or_path = "tiny"
    model.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    written = folder / "adapter" / "adapter_config.json"
    config = json.loads(written.read_text())
    config["target_modules"].sort()  # PEFT writes a set
    written.write_text(json.dumps(config, indent=2) + "\n")


def make_adapter(f, rng, folder):
    model = get_peft_model(load(folder), LoraConfig(r=4, lora_alpha=8, target_modules=f.modules, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            if "lora_" in name:
                p.copy_(draw(rng, p.shape, 0.3 if "lora_A" in name else 0.1))
    save_adapter(model, folder)


def load_adapter(folder):
    return PeftModel.from_pretrained(load(folder), folder / "adapter", is_trainable=True).eval()


# --------------------------------------------------------------------------------------------------------- batches


# Tokens stay clear of a configuration's padding token: transformers passes it to torch.nn.Embedding as padding_idx, and
# torch then gives its row no gradient from the lookup, also where a real text has that token.
def tokens(rng, pad, shape, vocab):
    return (pad + 1 + rng.integers(0, vocab - 1, shape)) % vocab


def plain_batch(rng, seq, pad, vocab):
    ids = tokens(rng, pad, (ROWS, seq), vocab)
    labels = np.full_like(ids, -100)
    labels[:, :-1] = ids[:, 1:]
    return ids, labels


def padded_batch(rng, seq, pad, vocab):
    """Rows of different lengths, the first a third of each a prompt."""
    ids, labels = np.full((ROWS, seq), pad), np.full((ROWS, seq), -100)
    for r in range(ROWS):
        n = seq - 1 - 2 * r - int(rng.integers(0, 2))
        ids[r, :n] = tokens(rng, pad, n, vocab)
        labels[r, n // 3:n - 1] = ids[r, n // 3 + 1:n]
    return ids, labels


def mask_of(ids, labels):
    """attention_mask of right-padded rows: everything up to the last position with a target."""
    mask = torch.ones_like(ids)
    for r in range(ids.shape[0]):
        mask[r, int((labels[r] != -100).nonzero().max()) + 1:] = 0
    return mask


def losses(model, ids, labels):
    """Logits at the supervised positions and the float32 sum of their losses, a router's auxiliary loss among them."""
    out = model(input_ids=ids, attention_mask=mask_of(ids, labels), use_cache=False)
    at = labels != -100
    loss = torch.nn.functional.cross_entropy(out.logits[at].float(), labels[at], reduction="sum")
    return out.logits[at], loss + auxiliary(model, out, labels)


def auxiliary(model, out, labels):
    """A router's auxiliary loss, which transformers adds to the mean of the others: here, to their sum."""
    aux = getattr(out, "aux_loss", None)
    return 0.0 if aux is None else model.config.router_aux_loss_coef * aux * (labels != -100).sum()


def exact(logits, labels, loss):
    """The sum of the losses of float32 logits, in float64, and what else is in loss, which losses gave."""
    logits, labels = logits.detach(), labels[labels != -100]
    rest = loss.detach() - torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
    return float(torch.nn.functional.cross_entropy(logits.double(), labels, reduction="sum") + rest)


# --------------------------------------------------------------------------------------------------------- goldens


def key(name):
    return name.removeprefix("base_model.model.").replace(".default.", ".")


def gradients(model, ids, labels):
    model.zero_grad(set_to_none=True)
    _, loss = losses(model, ids, labels)
    loss.backward()
    return {key(n): p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


ADAMW = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8}


def train(model, steps_ids, steps_labels, opt=None):
    """Ten steps as gorun takes them: sums over micro-batches, one division, clipping, AdamW or the given optimizer."""
    params = [p for p in model.parameters() if p.requires_grad]
    opt = opt or torch.optim.AdamW(params, weight_decay=0.01, **ADAMW)
    curve = []
    for ids, labels in zip(steps_ids, steps_labels):
        opt.zero_grad(set_to_none=True)
        total, valid = 0.0, int((labels != -100).sum())
        for i, l in zip(ids, labels):
            logits, loss = losses(model, i, l)
            loss.backward()
            total += exact(logits, l, loss)
        for p in params:
            p.grad /= valid
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        curve.append({"loss": total / valid, "grad_norm": float(norm)})
    return curve


def feature_works(f, folder, ids):
    """The config's special feature must change the logits; a window, only beyond its reach."""
    config = AutoConfig.for_model(**json.loads(json.dumps({**f.config, **f.differs})))
    other = load(folder, config=config)
    with torch.no_grad():
        gap = (load(folder)(input_ids=ids).logits - other(input_ids=ids).logits).abs().amax(dim=(0, 2))
    assert gap[-1] > 0.05, (f.differs, gap)
    if "sliding_window" in f.differs:
        w = f.config["sliding_window"]
        assert gap[:w].max() < 1e-5 and gap[w:].min() > 1e-4, gap


def make(name, folder):
    f = FAMILIES[name]
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([7, SEEDS.index(name)])
    make_base(f, rng, folder)
    make_adapter(f, rng, folder)
    rest = f.config.get("pad_token_id", 0), f.config["vocab_size"]
    cases = {"plain": plain_batch(rng, f.seq, *rest), "padded": padded_batch(rng, f.padded, *rest)}
    micro = [[plain_batch(rng, f.seq, *rest) if (s + m) % 3 == 0 else padded_batch(rng, f.seq, *rest) for m in range(MICRO)] for s in range(STEPS)]
    steps_ids = torch.tensor(np.array([[b[0] for b in s] for s in micro]))
    steps_labels = torch.tensor(np.array([[b[1] for b in s] for s in micro]))

    out, sums = {"steps_ids": steps_ids.int(), "steps_labels": steps_labels.int()}, {}
    for case, (ids, labels) in cases.items():
        ids, labels = torch.tensor(ids), torch.tensor(labels)
        out[f"{case}.ids"], out[f"{case}.labels"] = ids.int(), labels.int()
        with torch.no_grad():
            base, adapted = losses(load(folder), ids, labels), losses(load_adapter(folder), ids, labels)
        out[f"{case}.logits_base"], out[f"{case}.logits"] = base[0], adapted[0]
        sums[case] = {"valid": int((labels != -100).sum()), "base": exact(base[0], labels, base[1]), "adapter": exact(adapted[0], labels, adapted[1])}
        for k, g in gradients(load_adapter(folder), ids, labels).items():
            out[f"{case}.grad.{k}"] = g
        if case == "plain":
            mixture.checked(as_transformers, folder, ids)
            if f.differs:
                feature_works(f, folder, ids)
            for k, g in gradients(load(folder), ids, labels).items():
                out[f"full.grad.{k}"] = g
    tuned = load_adapter(folder)
    curves = {"sums": sums, "lora": train(tuned, steps_ids, steps_labels), "full": train(load(folder), steps_ids, steps_labels)}
    for n, p in tuned.named_parameters():
        if p.requires_grad:
            out[f"final.{key(n)}"] = p.detach()
    assert all(torch.isfinite(t.float()).all() for t in out.values()), name
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "golden.safetensors")
    (folder / "curves.json").write_text(json.dumps(curves, indent=1) + "\n")
    for p in folder.rglob("*.safetensors"):
        p.chmod(0o644)


# ----------------------------------------------------------------------------------------------------------- check


def differences(want, got, path=""):
    """Yields what differs by more than 1e-6 of the greater of one and the value's (a tensor's greatest) size."""
    if isinstance(want, dict) and isinstance(got, dict):
        for k in sorted(want.keys() | got.keys()):
            if k not in want or k not in got:
                yield f"{path}/{k}: only in one"
            else:
                yield from differences(want[k], got[k], f"{path}/{k}")
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for i, (w, g) in enumerate(zip(want, got)):
            yield from differences(w, g, f"{path}[{i}]")
    elif isinstance(want, torch.Tensor):
        if want.shape != got.shape or want.dtype != got.dtype:
            yield f"{path}: {want.dtype}{list(want.shape)} and {got.dtype}{list(got.shape)}"
        elif want.numel() and (gap := (want.double() - got.double()).abs().max()) > 1e-6 * max(1.0, want.double().abs().max()):
            yield f"{path}: differs by {gap:.3g}"
    elif isinstance(want, float) and isinstance(got, float):
        if not math.isclose(want, got, rel_tol=1e-6, abs_tol=1e-6):
            yield f"{path}: {want} and {got}"
    elif want != got:
        yield f"{path}: {want} and {got}"


def read(folder):
    out = {}
    for p in sorted(folder.rglob("*")):
        if p.suffix == ".json":
            out[p.relative_to(folder).as_posix()] = json.loads(p.read_text())
        elif p.suffix == ".safetensors":
            out[p.relative_to(folder).as_posix()] = load_file(p)
    for config in ("config.json", "adapter/adapter_config.json"):
        for k in ("transformers_version", "peft_version"):
            out[config].pop(k, None)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true")
    p.add_argument("--only", nargs="+", choices=sorted(FAMILIES), default=sorted(FAMILIES))
    args = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # PEFT draws before the values are set
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    if not args.check:
        for name in args.only:
            make(name, GOLDEN / name)
            print("wrote", GOLDEN / name)
        return 0
    bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name in args.only:
            make(name, pathlib.Path(tmp) / name)
            found = list(differences(read(GOLDEN / name), read(pathlib.Path(tmp) / name)))
            bad += len(found)
            print(f"{name}: {'the same' if not found else ''}", *found[:20], sep="\n  " if found else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
