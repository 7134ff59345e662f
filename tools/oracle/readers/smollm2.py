"""SmolLM2-135M, the demo's model, with a random adapter large enough to change the text: every format to its reader."""

import json
import logging
import pathlib
import re
import sys
import types

from common import load, off

PROMPT = "The capital of France is"
TOKENS = 24
SIZES = {"self_attn.q_proj": (576, 576), "self_attn.k_proj": (192, 576), "self_attn.v_proj": (192, 576), "self_attn.o_proj": (576, 576),
         "mlp.gate_proj": (1536, 576), "mlp.up_proj": (1536, 576), "mlp.down_proj": (576, 1536)}


def adapter(folder):
    """A rank-stabilised adapter with one module of another rank: what GGUF and vLLM have no field for."""
    import torch
    from safetensors.torch import save_file

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


def folders(run):
    """transformers and PEFT."""
    import torch
    from peft import PeftModel
    from transformers import AutoTokenizer

    base, peft, merged = (run.work / n for n in ("base", "peft", "hf"))
    ids = AutoTokenizer.from_pretrained(merged)(PROMPT + " Paris, na\u00efve x**2\n\n  1928 \u6d4b\u8bd5", return_tensors="pt").input_ids
    with torch.no_grad():
        plain = load(base)(ids).logits
        adapted = PeftModel.from_pretrained(load(base), peft).eval()(ids).logits
        original = PeftModel.from_pretrained(load(base), run.work / "adapter").eval()(ids).logits
        joined = load(merged)(ids).logits
    run.verdict("PEFT, exported adapter", torch.equal(adapted, original), f"logits equal to the original adapter's: {torch.equal(adapted, original)}; the adapter moves them by {off(plain, adapted):.3g}")
    run.verdict("transformers, merged folder", off(joined, adapted) < 1e-4, f"logits off base + adapter by {off(joined, adapted):.2g} (relative)")
    index = json.loads((merged / "model.safetensors.index.json").read_text())
    tied = "lm_head.weight" not in index["weight_map"] and load(merged).config.tie_word_embeddings
    run.verdict("transformers, tied head", tied, f"of {len(set(index['weight_map'].values()))} files none has the head, which is tied: {tied}")


def gguf(run, demo):
    """llama.cpp: the greedy text."""
    from llama_cpp import Llama

    generate = lambda *base: run("generate", *base, "--dtype", "f32", "--prompt", PROMPT, "--max-tokens", TOKENS, "--no-stream").rstrip("\n")  # noqa: E731
    base, lora = run.work / "gguf-base" / "model.gguf", run.work / "gguf-adapter" / "adapter.gguf"
    plain, want = generate("--base", demo), generate("--base", run.work / "hf")
    cases = {"base": (base, None, plain), "base + adapter": (base, lora, want)}
    cases |= {f"merged {t}": (run.work / f"gguf-{t}" / "model.gguf", None, want) for t in ("f32", "f16", "bf16")}
    # llama.cpp rounds activations to 8 bits where weights are quantised: its text may part from the exact one's.
    cases |= {"quantised base + adapter": (demo, lora, None), "merged q8_0": (run.work / "gguf-q8_0" / "model.gguf", None, None)}
    for name, (model, adapter, expected) in cases.items():
        llm = Llama(str(model), lora_path=adapter and str(adapter), n_ctx=256, n_threads=2, verbose=False)
        text = llm(PROMPT, max_tokens=TOKENS, temperature=0)["choices"][0]["text"]
        same = "" if expected is None else "the same greedy text as gorun's, " if text == expected else f"not gorun's {expected!r}, "
        run.verdict(f"llama.cpp, {name}", expected in (None, text), f"{same}{text!r}")


def vllm(run, source, line):
    """vLLM's own file, with stand-ins for what it imports: the exported adapter, and the launch line's --max-lora-rank."""
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


def main(run, demo, peft_helper):
    adapter(run.work / "adapter")
    both = ["--base", demo, "--adapter", run.work / "adapter"]
    run("merge", "--base", demo, "--dtype", "f32", "--out", run.work / "base")
    run("merge", *both, "--dtype", "f32", "--max-shard-size", "200000000", "--out", run.work / "hf")
    run("export", "--format", "peft", *both, "--out", run.work / "peft")
    line = run("export", "--format", "vllm", *both, "--out", run.work / "vllm")
    run("export", "--format", "gguf", "--adapter-only", *both, "--out", run.work / "gguf-adapter")
    run("export", "--format", "gguf", "--dtype", "f32", "--base", demo, "--out", run.work / "gguf-base")
    for t in ("f32", "f16", "bf16", "q8_0"):
        run("export", "--format", "gguf", "--dtype", t, *both, "--out", run.work / f"gguf-{t}")
    folders(run)
    gguf(run, demo)
    vllm(run, peft_helper, line)
