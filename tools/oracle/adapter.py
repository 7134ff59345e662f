"""Adapters written by PEFT, as fixtures of model/export, and the check that PEFT loads ours.

    python adapter.py make model/export/testdata     write the fixtures (peft 0.21.2)
    python adapter.py check CASE DIR                 load adapter folder DIR with PEFT: keys and logits
                                                     must be those of fixture CASE
"""

import argparse
import json
import os
import sys
import warnings
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from transformers import LlamaConfig, LlamaForCausalLM  # noqa: E402

CASES = {
    # what most people train: two projections of every layer
    "plain": dict(r=4, lora_alpha=8, lora_dropout=0.05, target_modules=["q_proj", "v_proj"]),
    # everything that varies by module, in half precision, saved under a name that needs escaping
    "patterns": dict(
        r=4,
        lora_alpha=6.5,
        use_rslora=True,
        target_modules=["q_proj", "down_proj", "model.layers.1.self_attn.k_proj"],
        rank_pattern={"^model.layers.1.self_attn.q_proj": 2, "down_proj": 3, r"layers\.\d+\.mlp\.down_proj": 5},
        alpha_pattern={r"layers\.[01]\.self_attn\.k_proj": 12, "q_proj": 3},
    ),
}
DTYPE = {"plain": torch.float32, "patterns": torch.bfloat16}
BASE = {"plain": "gorun/tiny-llama", "patterns": "gorun/tiny-\u00e9\U0001f40d"}


def base():
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


def adapted(case):
    torch.manual_seed(11)
    model = base()
    model.config._name_or_path = model.name_or_path = BASE[case]
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **CASES[case])).eval()
    for name, p in sorted(model.named_parameters()):
        if "lora_" in name:
            p.data = (torch.randn(p.shape) * 0.3).to(DTYPE[case]).float()
    return model


def modules(model):
    for name, m in model.base_model.model.named_modules():
        if hasattr(m, "lora_A") and "default" in m.lora_A:
            yield name, m


def make(out):
    warnings.simplefilter("ignore")
    for case in CASES:
        model = adapted(case)
        where = Path(out) / case
        want = []
        for name, m in modules(model):
            a, b = m.lora_A["default"].weight, m.lora_B["default"].weight
            want.append(
                dict(
                    name=name,
                    dim=m.r["default"],
                    alpha=m.lora_alpha["default"],
                    scaling=m.scaling["default"],
                    a_shape=list(a.shape),
                    b_shape=list(b.shape),
                    a=a.detach().flatten().tolist()[:8],
                    b=b.detach().flatten().tolist()[-8:],
                )
            )
        for m in model.modules():  # save in the case's dtype
            for part in ("lora_A", "lora_B"):
                if hasattr(m, part):
                    getattr(m, part).to(DTYPE[case])
        model.save_pretrained(where)
        (where / "README.md").unlink(missing_ok=True)
        # target_modules is a Python set: give it one order
        path = where / "adapter_config.json"
        config = json.loads(path.read_text())
        config["target_modules"].sort()
        path.write_text(json.dumps(config, indent=2, sort_keys=True))
        (where / "adapter_model.safetensors").chmod(0o644)
        (where / "expect.json").write_text(json.dumps(want, indent=1) + "\n")


def check(case, folder):
    reference, problems = adapted(case), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = PeftModel.from_pretrained(base(), folder)
        loaded = model.load_adapter(folder, adapter_name="again")
    problems += [f"warning: {w.message}" for w in caught if "adapter" in str(w.message).lower()]
    missing = [k for k in loaded.missing_keys if "lora_" in k]
    problems += [f"missing {k}" for k in missing] + [f"unexpected {k}" for k in loaded.unexpected_keys]
    got, want = [n for n, _ in modules(model)], [n for n, _ in modules(reference)]
    if got != want:
        problems.append(f"modules {got}, want {want}")
    ids = torch.arange(1, 33).reshape(2, 16) % 64
    model.set_adapter("default")
    with torch.no_grad():
        x, y, plain = model(ids).logits, reference(ids).logits, base()(ids).logits
    worst = (x - y).abs().max().item()
    print(f"{case}: {len(got)} modules, logits differ by {worst:.3g} at most; the adapter moves them by {(y - plain).abs().max():.3g}")
    if worst != 0:
        problems.append("logits differ")
    print("\n".join(problems) or "ok")
    return 1 if problems else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = parser.add_subparsers(dest="what", required=True)
    sub.add_parser("make").add_argument("out")
    c = sub.add_parser("check")
    c.add_argument("case", choices=CASES)
    c.add_argument("folder")
    args = parser.parse_args()
    sys.exit(make(args.out) if args.what == "make" else check(args.case, args.folder))
