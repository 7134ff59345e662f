# HF transformers + PEFT LoRA sharded by torch's FSDP2, on random-init Llama-3-8B / 3.2-1B shapes, for comparison with
# 'gorun bench --gpus N'. Each block is compiled and sharded on its own, as torchtitan does.
#   python3 -m torch.distributed.run --standalone --nproc-per-node N fsdp2_gpu.py 8b|1b ROWS TOKENS
import os
import sys
import time

import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from transformers import LlamaConfig, LlamaForCausalLM

which, rows, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rank = int(os.environ["LOCAL_RANK"])
torch.cuda.set_device(rank)
dist.init_process_group("nccl")
shapes = {
    "8b": dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_key_value_heads=8, tie_word_embeddings=False),
    "1b": dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True),
}
config = LlamaConfig(num_attention_heads=32, vocab_size=128256, max_position_embeddings=8192, rope_theta=500000.0, **shapes[which])
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16)
with torch.device("cuda"):
    model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa")
torch.set_default_dtype(torch.float32)
model.config.use_cache = False
names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=names, lora_dropout=0.0, task_type="CAUSAL_LM"))
model.train()
policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
if dist.get_world_size() > 1:
    for layer in model.base_model.model.model.layers:
        layer.compile()
        fully_shard(layer, mp_policy=policy)
    fully_shard(model, mp_policy=policy)
else:
    model.to(torch.bfloat16)  # as the policy would
    for layer in model.base_model.model.model.layers:
        layer.compile()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
ids = torch.randint(0, 128000, (rows, tokens), device="cuda")


def step():
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


for _ in range(4):
    loss = step()
torch.cuda.synchronize()
times = []
for _ in range(8):
    begin = time.time()
    loss = step()
    torch.cuda.synchronize()
    times.append(time.time() - begin)
times.sort()
if rank == 0:
    print(f"FSDP2 + PEFT {which} {rows}x{tokens} on {dist.get_world_size()} GPU: median {times[4] * 1e3:.1f} ms ({times[0] * 1e3:.1f}-{times[-1] * 1e3:.1f}), "
          f"{rows * tokens / times[4]:.0f} tok/s/GPU, loss {loss.item():.3f}, peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB", flush=True)
dist.destroy_process_group()
