"""Golden values of model: kinds of adapters beside plain LoRA, on bases of golden.py, from PEFT in float32.

    python tools/oracle/kinds.py                  write model/testdata/kinds
    python tools/oracle/kinds.py --only KIND...   write some kinds
    python tools/oracle/kinds.py --check          make them again elsewhere and compare, write nothing

A kind's folder holds adapter/, as golden.py's families do, and
  golden.safetensors   of the base's case padded: logits [N,V] at its supervised positions, logits_merged [N,V] of the
                       merged base, and grad.TENSOR; final.TENSOR after ten steps on the base's steps_ids
  curves.json          the base, the sum of the case's losses, the LoRA+ ratio, and the ten steps' losses and norms
"""

import argparse
import json
import logging
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import load_file, save_file

import golden

KINDS = golden.ROOT / "model" / "testdata" / "kinds"
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FUSED = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]

# name: base, modules, LoRA+ ratio, what the configuration has besides
ALL = {
    "patterns": ("llama2", LINEARS, 4.0, {"rank_pattern": {"q_proj": 2, "layers.1.mlp.down_proj": 6}, "alpha_pattern": {"v_proj": 16}, "use_rslora": True}),
    "dora": ("qwen2", LINEARS, 1.0, {"use_dora": True}),
    "dora_fused": ("phi3", FUSED, 1.0, {"use_dora": True}),
    "saved": ("llama2", ["q_proj", "v_proj"], 1.0, {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "saved_tied": ("qwen2", ["q_proj", "v_proj"], 1.0, {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}),
}


def values(rng, name, p):
    """Other values than those PEFT starts from, so that every part of the adapter is at work."""
    if "magnitude" in name:
        return p.detach() * torch.from_numpy(np.exp(rng.standard_normal(p.shape) * 0.2).astype(np.float32))
    if "modules_to_save" in name:
        return p.detach() + golden.draw(rng, p.shape, 0.1)
    return golden.draw(rng, p.shape, 0.3 if "lora_A" in name else 0.1)


def load(base, folder):
    return PeftModel.from_pretrained(golden.load(golden.GOLDEN / base), folder / "adapter", is_trainable=True).eval()


def make_adapter(name, folder):
    base, modules, _, more = ALL[name]
    rng = np.random.default_rng([8, list(ALL).index(name)])
    model = get_peft_model(golden.load(golden.GOLDEN / base), LoraConfig(r=4, lora_alpha=8, target_modules=modules, task_type="CAUSAL_LM", **more))
    with torch.no_grad():
        for n, p in sorted(model.named_parameters()):
            if p.requires_grad:
                p.copy_(values(rng, n, p))
    golden.save_adapter(model, folder)


def key(name):
    """A parameter's name in PEFT's file, without its prefix."""
    return golden.key(name).replace(".modules_to_save", "").replace("magnitude_vector.weight", "magnitude_vector")


def make(name, folder):
    base, _, ratio, _ = ALL[name]
    folder.mkdir(parents=True, exist_ok=True)
    make_adapter(name, folder)
    given = load_file(golden.GOLDEN / base / "golden.safetensors")
    ids, labels = given["padded.ids"].long(), given["padded.labels"].long()
    out = {}
    with torch.no_grad():
        out["logits"] = golden.losses(load(base, folder), ids, labels)[0]
        out["logits_merged"] = golden.losses(load(base, folder).merge_and_unload(), ids, labels)[0]
    model = load(base, folder)
    _, loss = golden.losses(model, ids, labels)
    loss.backward()
    for n, p in model.named_parameters():
        if p.requires_grad:
            out["grad." + key(n)] = p.grad.clone()
    tuned = load(base, folder)
    opt = create_loraplus_optimizer(tuned, torch.optim.AdamW, loraplus_lr_ratio=ratio, **golden.ADAMW)
    for group in opt.param_groups:  # gorun decays all alike
        group["weight_decay"] = 0.01
    curve = golden.train(tuned, given["steps_ids"].long(), given["steps_labels"].long(), opt if ratio != 1 else None)
    for n, p in tuned.named_parameters():
        if p.requires_grad:
            out["final." + key(n)] = p.detach()
    assert (out["logits"] - out["logits_merged"]).abs().max() < 1e-4, name
    assert all(torch.isfinite(t).all() for t in out.values()), name
    save_file({k: v.contiguous() for k, v in out.items()}, folder / "golden.safetensors")
    curves = {"base": base, "adapter": golden.exact(out["logits"], labels, loss), "loraplus_lr_ratio": ratio, "lora": curve}
    (folder / "curves.json").write_text(json.dumps(curves, indent=1) + "\n")
    for p in folder.rglob("*.safetensors"):
        p.chmod(0o644)


def read(folder):
    out = {}
    for p in sorted(folder.rglob("*")):
        if p.suffix == ".json":
            out[p.relative_to(folder).as_posix()] = json.loads(p.read_text())
        elif p.suffix == ".safetensors":
            out[p.relative_to(folder).as_posix()] = load_file(p)
    out["adapter/adapter_config.json"].pop("peft_version", None)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true")
    p.add_argument("--only", nargs="+", choices=sorted(ALL), default=sorted(ALL))
    args = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    bad = 0
    with tempfile.TemporaryDirectory() as tmp:
        for name in args.only:
            make(name, (pathlib.Path(tmp) if args.check else KINDS) / name)
            if args.check:
                found = list(golden.differences(read(KINDS / name), read(pathlib.Path(tmp) / name)))
                bad += len(found)
                print(f"{name}: {'the same' if not found else ''}", *found[:20], sep="\n  " if found else "")
            else:
                print("wrote", KINDS / name)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
