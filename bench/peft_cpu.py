"""One LoRA training run with transformers and PEFT on CPU: the peer of `gorun bench` (bench/cpu.py runs both).

usage: peft_cpu.py MODEL_DIR f32|bf16 ROWS SEQ eager|compile
Random ids, every token supervised, dim 16 on all projections, AdamW; prints one JSON line.
"""
import json, resource, statistics, sys, time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

path, dtype, rows, seq, how = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = AutoModelForCausalLM.from_pretrained(path, dtype={"f32": torch.float32, "bf16": torch.bfloat16}[dtype])
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules=projections))
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
if how == "compile":
    model = torch.compile(model)
ids = torch.randint(0, 49000, (rows, seq))


def step():
    begin = time.time()
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    loss.item()
    return time.time() - begin


first, _ = step(), step()
median = statistics.median(step() for _ in range(5))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"tok_s": rows * seq / median, "first_step_s": first, "rss_gib": peak}))
