"""Gives what gorun exports to the programs that it is for, and compares.

    python tools/oracle/readers.py --gorun bin/gorun --gguf SMOLLM2.gguf [--peft-helper vllm/lora/peft_helper.py]

gguf is a GGUF of SmolLM2-135M (the demo model). A random adapter, large enough to change the text, is put on it; gorun
writes every format; then
  transformers   loads the merged folder, PEFT the adapter on the base's folder: logits against each other and the merge
  llama.cpp      loads base + adapter, and the merged files: the greedy text against gorun's
  vLLM           PEFTHelper's rules (the file itself, from vLLM's wheel) for the exported adapter and its launch line
  lm-eval        a HellaSwag task on the merged folder: acc and acc_norm against gorun eval's
and the tiny models of model/testdata/golden go through transformers and llama.cpp, logits against PEFT's.
Beside requirements.txt it needs llama-cpp-python 0.3.36 and lm-eval 0.4.13. docs/export.md has the outcome.
"""

import argparse
import json
import logging
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import types

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402
from peft import PeftModel  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

PROMPT = "The capital of France is"
TOKENS = 24
SIZES = {"self_attn.q_proj": (576, 576), "self_attn.k_proj": (192, 576), "self_attn.v_proj": (192, 576), "self_attn.o_proj": (576, 576),
         "mlp.gate_proj": (1536, 576), "mlp.up_proj": (1536, 576), "mlp.down_proj": (576, 1536)}


def adapter(folder):
    """A rank-stabilised adapter with one module of another rank: what GGUF and vLLM have no field for."""
    torch.manual_seed(3)
    folder.mkdir()
    tensors = {}
    for layer in range(30):
        for name, (out, inner) in SIZES.items():
            r = 8 if name == "self_attn.o_proj" else 16
            key = f"base_model.model.model.layers.{layer}.{name}"
            tensors[key + ".lora_A.weight"] = torch.randn(r, inner) * inner**-0.5
            tensors[key + ".lora_B.weight"] = torch.randn(out, r) * 0.02
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "base", "r": 16, "lora_alpha": 8, "use_rslora": True, "bias": "none",
              "rank_pattern": {"o_proj": 8}, "target_modules": [n.split(".")[1] for n in SIZES], "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(config))


class Run:
    def __init__(self, gorun, work):
        self.gorun, self.work, self.bad = gorun, work, 0

    def __call__(self, *args):
        out = subprocess.run([self.gorun, *map(str, args)], capture_output=True, text=True)
        if out.returncode:
            sys.exit(f"gorun {' '.join(map(str, args))}\n{out.stderr}")
        return out.stdout

    def verdict(self, what, good, detail):
        self.bad += not good
        print(f"{'ok ' if good else 'BAD'} {what}: {detail}", flush=True)


def close(a, b):
    return ((a - b).square().mean() / (b - b.mean()).square().mean()).sqrt().item()


def readers_of_folders(run):
    base, peft, merged = (run.work / n for n in ("base", "peft", "hf"))
    tok = AutoTokenizer.from_pretrained(merged)
    ids = tok(PROMPT + " Paris, na\u00efve x**2\n\n  1928 \u6d4b\u8bd5", return_tensors="pt").input_ids
    load = lambda path: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()  # noqa: E731
    with torch.no_grad():
        plain = load(base)(ids).logits
        adapted = PeftModel.from_pretrained(load(base), peft).eval()(ids).logits
        original = PeftModel.from_pretrained(load(base), run.work / "adapter").eval()(ids).logits
        joined = load(merged)(ids).logits
    run.verdict("PEFT, exported adapter", torch.equal(adapted, original), f"logits equal to the original adapter's: {torch.equal(adapted, original)}; the adapter moves them by {close(plain, adapted):.3g}")
    run.verdict("transformers, merged folder", close(joined, adapted) < 1e-4, f"logits off base + adapter by {close(joined, adapted):.2g} (relative)")
    tied = "lm_head.weight" not in json.dumps(sorted(p.name for p in merged.iterdir())) and load(merged).config.tie_word_embeddings
    run.verdict("transformers, tied head", tied, f"tie_word_embeddings {tied}")


def readers_of_gguf(run, gguf):
    from llama_cpp import Llama

    generate = lambda *base: run("generate", *base, "--dtype", "f32", "--prompt", PROMPT, "--max-tokens", TOKENS, "--no-stream").rstrip("\n")  # noqa: E731
    base, lora = run.work / "gguf-base" / "model.gguf", run.work / "gguf-adapter" / "adapter.gguf"
    plain, want = generate("--base", gguf), generate("--base", run.work / "hf")
    cases = {"base": (base, None, plain), "base + adapter": (base, lora, want)}
    cases |= {f"merged {t}": (run.work / f"gguf-{t}" / "model.gguf", None, want) for t in ("f32", "f16", "bf16")}
    # llama.cpp rounds activations to 8 bits where weights are quantised: its text may part from the exact one's.
    cases |= {"quantised base + adapter": (gguf, lora, None), "merged q8_0": (run.work / "gguf-q8_0" / "model.gguf", None, None)}
    for name, (model, adapter, expected) in cases.items():
        llm = Llama(str(model), lora_path=adapter and str(adapter), n_ctx=256, n_threads=2, verbose=False)
        text = llm(PROMPT, max_tokens=TOKENS, temperature=0)["choices"][0]["text"]
        same = "" if expected is None else "the same greedy text as gorun's, " if text == expected else f"not gorun's {expected!r}, "
        run.verdict(f"llama.cpp, {name}", expected in (None, text), f"{same}{text!r}")


def tokenizer(folder):
    """The goldens have none, and gorun asks for one: 97 bytes of the byte-level alphabet."""
    from tokenizers import pre_tokenizers

    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet())[:97])}
    (folder / "tokenizer.json").write_text(json.dumps({
        "version": "1.0", "added_tokens": [], "normalizer": None, "post_processor": None, "decoder": {"type": "ByteLevel"},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": vocab, "merges": []}}))


# Families of which gorun writes no GGUF files.
NO_GGUF = ("gemma2", "gemma3", "granite", "mixtral", "olmo2", "qwen3_moe")


def families(run, only):
    """Every tiny golden model: the adapter that gorun writes by PEFT, the merged folder by transformers, the merged GGUF by
    llama.cpp, logits of base + adapter."""
    import numpy as np
    from llama_cpp import Llama

    for golden in sorted((pathlib.Path(__file__).resolve().parents[2] / "model" / "testdata" / "golden").iterdir()):
        if only and golden.name not in only:
            continue
        work = run.work / golden.name
        shutil.copytree(golden, work)
        tokenizer(work)
        both = ["--base", work, "--adapter", work / "adapter", "--dtype", "f32"]
        run("merge", *both, "--out", work / "hf")
        run("export", "--format", "peft", *both, "--out", work / "peft")
        gguf = golden.name not in NO_GGUF
        if gguf:
            run("export", "--format", "gguf", *both, "--out", work / "gguf")
            run("export", "--format", "gguf", "--base", work, "--dtype", "f32", "--out", work / "gguf-base")
            run("export", "--format", "gguf", "--adapter-only", *both, "--out", work / "lora")
        # Within every window; but beyond Phi-3's original length, since llama.cpp takes the long factors for any context over it.
        vocab = json.loads((golden / "config.json").read_text())["vocab_size"]
        ids = [(7 * i + 3) % (vocab - 3) + 3 for i in range(20 if golden.name == "phi3_longrope" else 7)]
        load = lambda path: AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()  # noqa: E731
        with torch.no_grad():
            want = PeftModel.from_pretrained(load(work), work / "adapter").eval()(torch.tensor([ids])).logits[0]
            again = PeftModel.from_pretrained(load(work), work / "peft").eval()(torch.tensor([ids])).logits[0]
            gaps = [close(again, want), close(load(work / "hf")(torch.tensor([ids])).logits[0], want)]
        for model, lora in ((work / "gguf", None), (work / "gguf-base", work / "lora" / "adapter.gguf"))[: 2 * gguf]:
            llm = Llama(str(model / "model.gguf"), lora_path=lora and str(lora), n_ctx=64, n_threads=1, logits_all=True, verbose=False)
            llm.eval(ids)
            gaps.append(close(torch.from_numpy(np.array(llm.scores[: len(ids)])), want))
        names = ("PEFT", "transformers merged", "llama.cpp merged", "llama.cpp base + adapter")
        detail = ", ".join(f"{name} {gap:.1g}" for name, gap in zip(names, gaps))
        run.verdict(f"golden {golden.name}", max(gaps) < 2e-3, f"logits off base + adapter (relative): {detail}")


def vllm_rules(run, source, line):
    """Executes vLLM's own file with stand-ins for what it imports."""
    for name in ("vllm", "vllm.config", "vllm.config.lora", "vllm.logger"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["regex"] = re
    sys.modules["vllm.config.lora"].LoRAConfig = types.SimpleNamespace
    logger = logging.getLogger("vllm")
    logger.info_once = logger.info
    sys.modules["vllm.logger"].init_logger = lambda _: logger
    scope = types.ModuleType("peft_helper")
    sys.modules["peft_helper"] = scope
    exec(compile(pathlib.Path(source).read_text(), source, "exec"), scope.__dict__)
    rank = int(re.search(r"--max-lora-rank (\d+)", line).group(1))
    helper = scope.PEFTHelper.from_local_dir(str(run.work / "vllm"), 8192)
    helper.validate_legal(types.SimpleNamespace(max_lora_rank=rank))
    run.verdict("vLLM, PEFTHelper", helper.rank_pattern == {}, f"accepts it: r {helper.r}, scaling {helper.vllm_lora_scaling_factor:g}, --max-lora-rank {rank}")


def hellaswag(path):
    """HellaSwag's format with what its preparation must handle."""
    rng = random.Random(5)
    things = ["a dog", "the old man", "Zo\u00eb", "A TALL WOMAN", "the chef"]
    acts = ["runs down the street", "cuts the bread [step] slowly", "opens the door.  It is cold", "plays na\u00efve songs", "sleeps", "washes the car [title] Dry it well"]
    ends = ["smiles", "goes on with it for a very long time", "stops", "\u6d4b\u8bd5"]
    with path.open("w") as f:
        for i in range(40):
            endings = [f"{rng.choice(acts)} and {rng.choice(ends)}." for _ in range(4)]
            a = f"{rng.choice(things)} {rng.choice(acts)}."
            f.write(json.dumps({"ind": i, "activity_label": rng.choice(["Cooking", "Home and Garden"]), "ctx_a": a, "ctx_b": rng.choice(["then he", "She THEN", ""]),
                                "endings": endings, "label": str(rng.randrange(4))}) + "\n")


def lm_eval_task(run):
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    data, tasks = run.work / "hellaswag.jsonl", run.work / "tasks"
    hellaswag(data)
    tasks.mkdir()
    utils = pathlib.Path(lm_eval.__file__).parent / "tasks" / "hellaswag" / "utils.py"
    (tasks / "utils.py").write_text(utils.read_text())
    (tasks / "local.yaml").write_text(
        f"task: local_hellaswag\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    validation: {data}\noutput_type: multiple_choice\nvalidation_split: validation\n"
        "process_docs: !function utils.process_docs\ndoc_to_text: '{{query}}'\ndoc_to_target: '{{label}}'\ndoc_to_choice: choices\n"
        "metric_list:\n  - metric: acc\n  - metric: acc_norm\n  - metric: acc_bytes\n")
    lm = HFLM(pretrained=str(run.work / "hf"), dtype="float32", device="cpu", batch_size=8)
    got = lm_eval.simple_evaluate(model=lm, tasks=["local_hellaswag"], task_manager=TaskManager(include_path=str(tasks), include_defaults=False))["results"]["local_hellaswag"]
    want = [round(got[f"{m},none"], 4) for m in ("acc", "acc_norm", "acc_bytes")]
    for base in (["--base", run.work / "hf"], ["--base", run.work / "base", "--adapter", run.work / "adapter"]):
        out = run("eval", "--task", "hellaswag", "--data", data, "--dtype", "f32", *base).splitlines()[-1]
        ours = [float(x) for x in re.findall(r"([\d.]+) \+-", out)]
        run.verdict("lm-eval, HellaSwag", ours == want, f"acc, acc_norm, acc_bytes {want}, gorun {ours}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--gorun", required=True)
    p.add_argument("--gguf", required=True)
    p.add_argument("--peft-helper")
    p.add_argument("--goldens", nargs="*", metavar="FAMILY", help="only the tiny models, all or these")
    args = p.parse_args()
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as tmp:
        run = Run(args.gorun, pathlib.Path(tmp))
        families(run, args.goldens)
        if args.goldens is not None:
            return 1 if run.bad else 0
        adapter(run.work / "adapter")
        both = ["--base", args.gguf, "--adapter", run.work / "adapter"]
        run("merge", "--base", args.gguf, "--dtype", "f32", "--out", run.work / "base")
        run("merge", *both, "--dtype", "f32", "--max-shard-size", "200000000", "--out", run.work / "hf")
        run("export", "--format", "peft", *both, "--out", run.work / "peft")
        line = run("export", "--format", "vllm", *both, "--out", run.work / "vllm")
        run("export", "--format", "gguf", "--adapter-only", *both, "--out", run.work / "gguf-adapter")
        run("export", "--format", "gguf", "--dtype", "f32", "--base", args.gguf, "--out", run.work / "gguf-base")
        for t in ("f32", "f16", "bf16", "q8_0"):
            run("export", "--format", "gguf", "--dtype", t, *both, "--out", run.work / f"gguf-{t}")
        readers_of_folders(run)
        readers_of_gguf(run, args.gguf)
        if args.peft_helper:
            vllm_rules(run, args.peft_helper, line)
        lm_eval_task(run)
    return 1 if run.bad else 0


if __name__ == "__main__":
    sys.exit(main())
