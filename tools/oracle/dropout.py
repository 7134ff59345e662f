"""Golden values of dropout in adapters, before A (PEFT's, "pre") and behind B (AutoModel's, "post"): losses and gradients
of golden.py's tiny model and adapter, with masks that are drawn here as model/dropout.go says. All is float32.

    python tools/oracle/dropout.py            write model/testdata/dropout
    python tools/oracle/dropout.py --check    make it again and compare, write nothing

golden.safetensors holds, for the case padded of the base's golden.safetensors, the samples' keys [B] and, for pre and post,
the sum of the losses (POSITION.loss) and the gradients (POSITION.grad.MODULE.lora_A.weight).
"""

import argparse
import sys

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import golden

DROPOUT = golden.ROOT / "model" / "testdata" / "dropout"
BASE = "llama2"
P = 0.3
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
FIRST_A = 6  # a block's parameters are 2 norms and 4 fused weights, then A and B of each linear
U32 = 0xFFFFFFFF


def mix(x):
    """MurmurHash3's 32-bit finalizer, of uint64 arrays that hold 32 bits."""
    x = (x ^ (x >> 16)) * 0x85EBCA6B & U32
    x = (x ^ (x >> 13)) * 0xC2B2AE35 & U32
    return x ^ (x >> 16)


def mask(keys, seq, width, layer, linear):
    """[B,S,width]: 1/(1-P) where a number stays, else 0."""
    salt = FIRST_A + 2 * LINEARS.index(linear)
    drop_key = mix(keys + layer * 0x9E3779B1 & U32)
    key = mix(drop_key + salt * 0x9E3779B9 & U32)[:, None, None]
    place = (np.arange(seq, dtype=np.uint64)[:, None] * width + np.arange(width, dtype=np.uint64))[None]
    bits = mix(mix(place + key & U32) ^ key)
    return torch.from_numpy((bits >= int(P * 2**32)).astype(np.float32) / np.float32(1 - P))


def drop(model, position, keys):
    """Lays the masks on what goes into every A, or comes out of every B."""
    for name, module in model.named_modules():
        at, _, side = name.rpartition(".lora_" + ("A" if position == "pre" else "B"))
        if side != ".default":
            continue
        parts = at.split(".")
        layer, linear = int(parts[parts.index("layers") + 1]), parts[-1]
        if position == "pre":
            module.register_forward_pre_hook(lambda m, x, layer=layer, linear=linear: x[0] * mask(keys, *x[0].shape[1:], layer, linear))
        else:
            module.register_forward_hook(lambda m, x, y, layer=layer, linear=linear: y * mask(keys, *y.shape[1:], layer, linear))
    return model


def make():
    folder = golden.GOLDEN / BASE
    given = load_file(folder / "golden.safetensors")
    ids, labels = given["padded.ids"].long(), given["padded.labels"].long()
    keys = np.random.default_rng(31).integers(0, 2**32, len(ids), dtype=np.uint64)
    out = {"keys": torch.from_numpy(keys.astype(np.uint32).view(np.int32))}
    for position in ("pre", "post"):
        model = drop(golden.load_adapter(folder), position, keys)
        out[position + ".loss"] = golden.losses(model, ids, labels)[1].detach().reshape(1)
        for k, g in golden.gradients(model, ids, labels).items():
            out[f"{position}.grad.{k}"] = g.contiguous()
    assert out["pre.loss"] != out["post.loss"]
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true")
    args = p.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    path = DROPOUT / "golden.safetensors"
    made = make()
    if not args.check:
        DROPOUT.mkdir(parents=True, exist_ok=True)
        save_file(made, path)
        path.chmod(0o644)
        print("wrote", path)
        return 0
    found = list(golden.differences(load_file(path), made))
    print(f"dropout: {'the same' if not found else ''}", *found[:20], sep="\n  " if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
