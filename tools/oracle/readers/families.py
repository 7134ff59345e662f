"""The tiny models of model/testdata: what gorun writes of them, read by transformers, PEFT and llama.cpp."""

import json
import shutil

from common import GOLDEN, KINDS, byte_tokenizer, load, off

RECIPE = """
[model]
pretrained_model_name_or_path = "{base}"
dtype = "f32"
[peft]
{peft}
dim = 4
[dataset]
kind = "mock"
seq_length = 12
num_samples = 8
[dataloader]
batch_size = 4
[optimizer]
lr = 0.05
[checkpoint]
dir = "{run}"
"""
ALL = 'target_modules = ["*_proj"]'

# What is trained beside plain LoRA, and on which model.
TRAINED = {
    "DoRA": ("qwen2", ALL + "\nuse_dora = true"),
    "fused DoRA": ("phi3", ALL + "\nuse_dora = true"),
    "rank_pattern": ("llama2", ALL + '\nuse_rslora = true\ndim_pattern = { "*.q_proj" = 2 }\nalpha_pattern = { "*.v_proj" = 16 }'),
    "modules_to_save": ("llama2", 'target_modules = ["*.q_proj", "*.v_proj"]\nmodules_to_save = ["embed_tokens", "lm_head"]'),
    "modules_to_save, tied": ("qwen2", 'target_modules = ["*.q_proj", "*.v_proj"]\nmodules_to_save = ["embed_tokens"]'),
}


def prompt(work):
    """Ids within every window; but beyond Phi-3's original length, since llama.cpp takes the long factors for any
    context over it."""
    vocab = json.loads((work / "config.json").read_text())["vocab_size"]
    return [(7 * i + 3) % (vocab - 3) + 3 for i in range(20 if "longrope" in work.name else 7)]


def logits(model, ids):
    import torch

    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def adapted(base, adapter, ids):
    from peft import PeftModel

    return logits(PeftModel.from_pretrained(load(base), adapter).eval(), ids)


def in_llama_cpp(model, ids, lora=None):
    import numpy as np
    import torch
    from llama_cpp import Llama

    llm = Llama(str(model), lora_path=lora and str(lora), n_ctx=64, n_threads=1, logits_all=True, verbose=False)
    llm.eval(ids)
    return torch.from_numpy(np.array(llm.scores[: len(ids)]))


def exported(run, name, base, adapter):
    """An adapter that PEFT wrote: merged for transformers, written again for PEFT, and both ways for llama.cpp."""
    import torch

    work = run.work / name
    work.mkdir()
    ids, both = prompt(base), ["--base", base, "--adapter", adapter, "--dtype", "f32"]
    want = adapted(base, adapter, ids)
    run("merge", *both, "--out", work / "hf")
    run("export", "--format", "peft", *both, "--out", work / "peft")
    again, merged = adapted(base, work / "peft", ids), off(logits(load(work / "hf"), ids), want)
    said = [f"transformers {merged:.1g}", "PEFT equal to the bit" if torch.equal(again, want) else f"PEFT {off(again, want):.1g}"]
    gaps = [merged, off(again, want)]
    if run.refused("no GGUF files of a", "export", "--format", "gguf", *both, "--out", work / "gguf"):
        said.append("no GGUF, as gorun says")
    else:
        gaps.append(off(in_llama_cpp(work / "gguf" / "model.gguf", ids), want))
        said.append(f"llama.cpp merged {gaps[-1]:.1g}")
        run("export", "--format", "gguf", "--base", base, "--dtype", "f32", "--out", work / "gguf-base")
        if run.refused("GGUF", "export", "--format", "gguf", "--adapter-only", *both, "--out", work / "lora"):
            said.append("no GGUF adapter, as gorun says")
        else:
            gaps.append(off(in_llama_cpp(work / "gguf-base" / "model.gguf", ids, work / "lora" / "adapter.gguf"), want))
            said.append(f"llama.cpp base + adapter {gaps[-1]:.1g}")
    run.verdict(f"exports of {name}", max(gaps) < 2e-3, "logits off those of PEFT (relative): " + ", ".join(said))


def trained(run, name, base, peft):
    """An adapter that gorun trained: PEFT on the base against transformers on the merged folder."""
    work = run.work / ("trained " + name)
    work.mkdir()
    (work / "recipe.toml").write_text(RECIPE.format(base=base, peft=peft, run=work / "run"))
    run(work / "recipe.toml", "--device", "cpu")
    run("merge", "--base", base, "--adapter", work / "run" / "LATEST", "--dtype", "f32", "--out", work / "hf")
    ids = prompt(base)
    want = adapted(base, work / "run" / "LATEST", ids)
    gap, moved = off(logits(load(work / "hf"), ids), want), off(logits(load(base), ids), want)
    run.verdict(f"checkpoint of {name}", gap < 1e-4 < moved, f"merged, read by transformers, off PEFT's by {gap:.1g}; training has moved the logits by {moved:.1g}")


def main(run):
    bases = {}
    for golden in sorted(GOLDEN.iterdir()):
        bases[golden.name] = base = run.work / "bases" / golden.name
        shutil.copytree(golden, base)
        byte_tokenizer(base)
        exported(run, golden.name, base, base / "adapter")
        trained(run, golden.name, base, ALL)
    for kind in sorted(KINDS.iterdir()):
        name = json.loads((kind / "curves.json").read_text())["base"]
        exported(run, kind.name, bases[name], kind / "adapter")
    for kind, (name, peft) in TRAINED.items():
        trained(run, kind, bases[name], peft)
