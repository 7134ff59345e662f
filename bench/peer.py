# What the peers of 'gorun bench' on GPUs share: Hugging Face's Llama of a known shape with random weights, and how steps
# are timed. "tiny" is for a look at a script on a CPU.
import statistics
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {
    "8b": dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=False),
    "1b": dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, head_dim=64, tie_word_embeddings=True),
    "tiny": dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False),
}
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WARMUP, STEPS = 4, 10


def llama(which: str, dtype: torch.dtype) -> LlamaForCausalLM:
    """A model of one of SHAPES, its weights of this dtype; what is made later is float32."""
    config = LlamaConfig(vocab_size=128256, max_position_embeddings=8192, rope_theta=500000.0, **SHAPES[which])
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device(DEVICE):
        model = LlamaForCausalLM._from_config(config, attn_implementation="sdpa")
    torch.set_default_dtype(torch.float32)
    model.config.use_cache = False
    return model.train()


def trained(model: torch.nn.Module) -> list:
    """The parameters that an optimizer is to have."""
    return [p for p in model.parameters() if p.requires_grad]


def autocast() -> torch.autocast:
    return torch.autocast(DEVICE, dtype=torch.bfloat16)


def measure(what: str, rows: int, tokens: int, loss_of, optimizer, most: float = 0) -> str:
    """Trains on one batch of random ids, again and again, and says how fast. loss_of takes the ids; gradients are clipped to
    the norm most, 0 = not."""
    ids = torch.randint(0, 128000, (rows, tokens), device=DEVICE)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def step() -> float:
        begin = time.time()
        loss = loss_of(ids)
        loss.backward()
        if most:
            torch.nn.utils.clip_grad_norm_(parameters, most)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        times.append(time.time() - begin)
        return loss.item()

    times = []
    for _ in range(WARMUP):
        step()
    times.clear()
    for _ in range(STEPS):
        loss = step()
    median, peak = statistics.median(times), torch.cuda.max_memory_allocated() / 2**30 if DEVICE == "cuda" else 0
    return (
        f"{what} {rows}x{tokens}: median {median * 1e3:.1f} ms ({min(times) * 1e3:.1f}-{max(times) * 1e3:.1f}), "
        f"{rows * tokens / median:.0f} tok/s, loss {loss:.3f}, peak {peak:.1f} GiB"
    )
