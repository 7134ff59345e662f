# Full fine-tuning of Hugging Face transformers' Llama by compiled torch with fused AdamW, the peer of
# 'gorun bench --set peft.scheme=none'. Both compute in bfloat16 and clip the gradient to a norm of 1.
#   mixed: parameters, gradients and both moments in float32, products under autocast. gorun keeps the same.
#   bf16: parameters, gradients and both moments in bfloat16: less memory and traffic, and updates that round away.
#   python3 full_gpu.py 1b|8b ROWS TOKENS mixed|bf16
import contextlib
import sys

import torch

import peer

which, rows, tokens, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
model = peer.llama(which, torch.bfloat16 if kind == "bf16" else torch.float32)
forward = torch.compile(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0, fused=True)


def loss_of(ids):
    with peer.autocast() if kind == "mixed" else contextlib.nullcontext():
        return forward(input_ids=ids, labels=ids).loss


print(peer.measure(f"full {which} {kind}", rows, tokens, loss_of, optimizer, most=1.0), flush=True)
