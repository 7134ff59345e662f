# Full fine-tuning of HF transformers' Llama on random-init Llama-3.2-1B / 3-8B shapes by compiled torch with fused AdamW, for
# comparison with 'gorun bench --set peft.scheme=none'. Both compute in bfloat16 and clip the gradient to a norm of 1.
#   mixed: parameters, gradients and both moments in float32, products under autocast. gorun keeps the same.
#   bf16: parameters, gradients and both moments in bfloat16: less memory and traffic, and updates that round away.
#   python3 full_gpu.py 1b|8b ROWS TOKENS mixed|bf16
import contextlib
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

which, rows, tokens, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
shapes = {
    "8b": dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_key_value_heads=8, tie_word_embeddings=False),
    "1b": dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True),
}
config = LlamaConfig(num_attention_heads=32, vocab_size=128256, max_position_embeddings=8192, rope_theta=500000.0, **shapes[which])
torch.manual_seed(0)
torch.set_default_dtype(torch.bfloat16 if kind == "bf16" else torch.float32)
with torch.device("cuda"):
    model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa")
torch.set_default_dtype(torch.float32)
model.config.use_cache = False
model.train()
compiled = torch.compile(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)
ids = torch.randint(0, 128000, (rows, tokens), device="cuda")


def step():
    with torch.autocast("cuda", dtype=torch.bfloat16) if kind == "mixed" else contextlib.nullcontext():
        loss = compiled(input_ids=ids, labels=ids).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


for _ in range(4):
    loss = step()
torch.cuda.synchronize()
times = []
for _ in range(10):
    begin = time.time()
    loss = step()
    torch.cuda.synchronize()
    times.append(time.time() - begin)
times.sort()
print(f"full {which} {kind} {rows}x{tokens}: median {times[5] * 1e3:.1f} ms ({times[0] * 1e3:.1f}-{times[-1] * 1e3:.1f}), {rows * tokens / times[5]:.0f} tok/s, "
      f"loss {loss.item():.3f}, peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB", flush=True)
