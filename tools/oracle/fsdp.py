"""Losses of torch's FSDP2 on two CPU ranks (gloo), for rank's test of the same run.

    python tools/oracle/fsdp.py            write rank/testdata/fsdp2
    python tools/oracle/fsdp.py --check    train again and compare, write nothing

The folder holds a tiny Llama (config.json, model.safetensors in bfloat16), a PEFT adapter on all of its projections
(adapter/), texts (data.jsonl), and losses.json: per step the mean loss over the valid tokens of both ranks and the norm of
the mean gradient before clipping, for LoRA and for full fine-tuning. Blocks and root are sharded by fully_shard; a step is
two micro-batches of two texts on each rank, the first without gradient reduction. All is float32, on one thread.
"""

import argparse
import json
import math
import pathlib
import sys
import tempfile

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "rank" / "testdata" / "fsdp2"
TOKENIZER = ROOT / "model" / "tokenizer" / "testdata" / "gpt2_tokenizer.json"

RANKS, MICRO, ROWS, STEPS, EOS, IGNORED = 2, 2, 2, 10, 2, -100
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 900, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": EOS,
}
RATES = {"lora": 1e-3, "full": 1e-4}


def write(folder):
    """The base, the adapter and the texts."""
    torch.manual_seed(7)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    model = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in CONFIG.items() if k not in ("architectures", "model_type")}))
    tensors = {}
    for name, p in model.named_parameters():
        tensors[name] = (torch.randn_like(p) * 0.15 + (p.dim() == 1)).to(torch.bfloat16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    peft = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, task_type="CAUSAL_LM"))
    for name, p in peft.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(p, std=0.1)
    peft.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    texts = [f"The sum of {i} and {i * 7 % 10} is {i + i * 7 % 10}" + ", which is more than ten." * (i % 3) for i in range(16)]
    (folder / "data.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))


def samples(folder):
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    lines = (folder / "data.jsonl").read_text().splitlines()
    return [tokenizer.encode(json.loads(line)["text"]).ids + [EOS] for line in lines]


def batch(rows):
    """ids, labels and attention mask, right-padded; labels[t] is what position t predicts."""
    longest = max(len(r) for r in rows) - 1
    ids, labels, mask = (torch.full((len(rows), longest), v) for v in (0, IGNORED, 0))
    for i, r in enumerate(rows):
        n = len(r) - 1
        ids[i, :n], labels[i, :n], mask[i, :n] = torch.tensor(r[:-1]), torch.tensor(r[1:]), 1
    return ids, labels, mask


def train(rank, folder, scheme, port, out):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    mesh = init_device_mesh("cpu", (RANKS,))
    config = LlamaConfig(**{k: v for k, v in CONFIG.items() if k not in ("architectures", "model_type")}, attn_implementation="eager")
    model = LlamaForCausalLM(config)
    tensors = {k: v.float() for k, v in load_file(folder / "model.safetensors").items()}
    missing = model.load_state_dict(tensors, strict=False)
    assert not missing.unexpected_keys and missing.missing_keys in ([], ["lm_head.weight"]), missing
    model.tie_weights()
    if scheme == "lora":
        model = PeftModel.from_pretrained(model, folder / "adapter", is_trainable=True)
    layers = (model.base_model.model if scheme == "lora" else model).model.layers
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATES[scheme], betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    data, losses, norms = samples(folder), [], []
    each = MICRO * ROWS
    for step in range(STEPS):
        first = step * RANKS * each % len(data)
        mine = data[first + rank * each : first + (rank + 1) * each]
        valid = sum(len(r) - 1 for r in data[first : first + RANKS * each])
        total = torch.zeros(())
        for i in range(MICRO):
            model.set_requires_gradient_sync(i == MICRO - 1)
            ids, labels, mask = batch(mine[i * ROWS : (i + 1) * ROWS])
            logits = model(input_ids=ids, attention_mask=mask).logits
            loss = cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="sum")
            (loss * RANKS / valid).backward()  # FSDP2 takes the mean over ranks
            total += loss.detach()
        dist.all_reduce(total)
        norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(total) / valid)
        norms.append(float(norm.full_tensor()))
    if rank == 0:
        pathlib.Path(out).write_text(json.dumps({"loss": losses, "grad_norm": norms}))
    dist.destroy_process_group()


def curves(folder):
    result = {}
    with tempfile.TemporaryDirectory() as tmp:
        for i, scheme in enumerate(RATES):
            out = pathlib.Path(tmp) / scheme
            mp.spawn(train, args=(folder, scheme, 29611 + i, str(out)), nprocs=RANKS)
            result[scheme] = json.loads(out.read_text())
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    if not parser.parse_args().check:
        write(GOLDEN)
        (GOLDEN / "losses.json").write_text(json.dumps(curves(GOLDEN), indent=1) + "\n")
        return
    want, got = json.loads((GOLDEN / "losses.json").read_text()), curves(GOLDEN)
    for scheme in want:
        for kind in want[scheme]:
            for step, (a, b) in enumerate(zip(got[scheme][kind], want[scheme][kind], strict=True)):
                if not math.isclose(a, b, rel_tol=1e-5):
                    sys.exit(f"{scheme}: {kind} of step {step + 1} is {a}, was {b}")
    print(f"{GOLDEN}: the same losses")


if __name__ == "__main__":
    main()
