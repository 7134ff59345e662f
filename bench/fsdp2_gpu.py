# LoRA training by Hugging Face transformers and PEFT, sharded by torch's FSDP2, the peer of 'gorun bench --gpus N'. Each block
# is compiled and sharded on its own, as torchtitan does. Speeds are of one GPU.
#   python3 -m torch.distributed.run --standalone --nproc-per-node N fsdp2_gpu.py 8b|1b ROWS TOKENS
import os
import sys

import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

import peer

which, rows, tokens = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if peer.DEVICE == "cuda":
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("nccl" if peer.DEVICE == "cuda" else "gloo")
model = get_peft_model(peer.llama(which, torch.bfloat16), LoraConfig(r=16, lora_alpha=32, target_modules=peer.PROJECTIONS, task_type="CAUSAL_LM"))
layers = model.base_model.model.model.layers
for layer in layers:
    layer.compile()
if dist.get_world_size() > 1:
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in layers:
        fully_shard(layer, mp_policy=policy)
    fully_shard(model, mp_policy=policy)
else:
    model.to(torch.bfloat16)  # as the policy would
optimizer = torch.optim.AdamW(peer.trained(model), lr=1e-4)
said = peer.measure(f"FSDP2 + PEFT {which} on {dist.get_world_size()} GPU", rows, tokens, lambda ids: model(input_ids=ids, labels=ids).loss, optimizer)
if dist.get_rank() == 0:
    print(said, flush=True)
dist.destroy_process_group()
