"""Golden values for model/spec and model/weights, from transformers.

Writes model/spec/testdata/*.json (what transformers makes of a config.json: sizes, tensor names and
shapes, rotary frequencies, which keys a query sees) and model/weights/testdata/ (tiny checkpoints of
every family with the digest of each tensor in float32 and bfloat16; GGUF files laid out as llama.cpp's
converter does).

Run: python tools/oracle/spec.py [--demo FILE.gguf]
With --demo, nothing is written: tensors of a real GGUF file, as transformers loads them, are printed as
"name sha256" lines for cmd-line comparison with model/weights.
"""

import argparse
import hashlib
import json
import math
import pathlib
import shutil
import tempfile

import gguf
import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

ROOT = pathlib.Path(__file__).resolve().parents[2]
SPEC = ROOT / "model" / "spec" / "testdata"
WEIGHTS = ROOT / "model" / "weights" / "testdata"

LLAMA3 = {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"}


def factors(n, top):
    return [round(1.0 + (top - 1.0) * (i / (n - 1)) ** 2, 4) for i in range(n)]


# config.json as the Hub has it for well-known models (the keys that matter).
HUB = {
    "llama-2-7b": {"architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05, "rope_scaling": None, "tie_word_embeddings": False, "torch_dtype": "float16", "vocab_size": 32000},
    "llama-3-8b": {"architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 128000, "eos_token_id": 128001, "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 128256},
    "llama-3-70b": {"architectures": ["LlamaForCausalLM"], "bos_token_id": 128000, "eos_token_id": 128001, "hidden_size": 8192, "intermediate_size": 28672, "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 64, "num_hidden_layers": 80, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 128256},
    "llama-3.2-1b-instruct": {"architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 64, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192, "max_position_embeddings": 131072, "mlp_bias": False, "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 16, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_scaling": LLAMA3, "rope_theta": 500000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "vocab_size": 128256},
    "smollm2-135m": {"architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 0, "eos_token_id": 0, "hidden_size": 576, "intermediate_size": 1536, "max_position_embeddings": 8192, "model_type": "llama", "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 100000, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "vocab_size": 49152},
    "mistral-7b-v0.1": {"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 32000},
    "mistral-nemo-12b": {"architectures": ["MistralForCausalLM"], "bos_token_id": 1, "eos_token_id": 2, "head_dim": 128, "hidden_size": 5120, "intermediate_size": 14336, "max_position_embeddings": 131072, "model_type": "mistral", "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 131072},
    "qwen2.5-7b": {"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 18944, "max_position_embeddings": 131072, "max_window_layers": 28, "model_type": "qwen2", "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 131072, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_mrope": False, "use_sliding_window": False, "vocab_size": 152064},
    "qwen2.5-32b": {"architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151643, "hidden_size": 5120, "intermediate_size": 27648, "max_position_embeddings": 131072, "max_window_layers": 64, "model_type": "qwen2", "num_attention_heads": 40, "num_hidden_layers": 64, "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": 131072, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_sliding_window": False, "vocab_size": 152064},
    "qwen2.5-0.5b-yarn": {"architectures": ["Qwen2ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151645, "hidden_size": 896, "intermediate_size": 4864, "max_position_embeddings": 32768, "max_window_layers": 21, "model_type": "qwen2", "num_attention_heads": 14, "num_hidden_layers": 24, "num_key_value_heads": 2, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768, "type": "yarn"}, "sliding_window": 32768, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_sliding_window": True, "vocab_size": 151936},
    "qwen3-0.6b": {"architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "bos_token_id": 151643, "eos_token_id": 151645, "head_dim": 128, "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_sliding_window": False, "vocab_size": 151936},
    "smollm3-3b": {"architectures": ["SmolLM3ForCausalLM"], "attention_bias": False, "bos_token_id": None, "eos_token_id": 128012, "hidden_size": 2048, "intermediate_size": 11008, "max_position_embeddings": 65536, "max_window_layers": 28, "mlp_bias": False, "model_type": "smollm3", "no_rope_layer_interval": 4, "num_attention_heads": 16, "num_hidden_layers": 36, "num_key_value_heads": 4, "pad_token_id": 128004, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 5000000.0, "sliding_window": None, "torch_dtype": "bfloat16", "use_sliding_window": False, "vocab_size": 128256},
    "phi-3-mini-4k": {"architectures": ["Phi3ForCausalLM"], "attention_bias": False, "bos_token_id": 1, "embd_pdrop": 0.0, "eos_token_id": 32000, "hidden_act": "silu", "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 4096, "model_type": "phi3", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "original_max_position_embeddings": 4096, "pad_token_id": 32000, "resid_pdrop": 0.0, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 10000.0, "sliding_window": 2047, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 32064},
    "phi-3-mini-128k-su": {"architectures": ["Phi3ForCausalLM"], "bos_token_id": 1, "eos_token_id": 32000, "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 131072, "model_type": "phi3", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "original_max_position_embeddings": 4096, "pad_token_id": 32000, "rms_norm_eps": 1e-05, "rope_scaling": {"long_factor": factors(48, 60), "short_factor": factors(48, 1.9), "original_max_position_embeddings": 4096, "type": "su"}, "rope_theta": 10000.0, "sliding_window": 262144, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 32064},
    "phi-4-mini": {"architectures": ["Phi3ForCausalLM"], "bos_token_id": 199999, "eos_token_id": [200020, 199999], "hidden_size": 3072, "intermediate_size": 8192, "max_position_embeddings": 131072, "model_type": "phi3", "num_attention_heads": 24, "num_hidden_layers": 32, "num_key_value_heads": 8, "original_max_position_embeddings": 4096, "pad_token_id": 199999, "partial_rotary_factor": 0.75, "rms_norm_eps": 1e-05, "rope_scaling": {"long_factor": factors(48, 47), "short_factor": [1.0] * 48, "type": "longrope"}, "rope_theta": 10000.0, "sliding_window": 262144, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "vocab_size": 200064},
    "phi-4": {"architectures": ["Phi3ForCausalLM"], "bos_token_id": 100257, "eos_token_id": 100265, "hidden_size": 5120, "intermediate_size": 17920, "max_position_embeddings": 16384, "model_type": "phi3", "num_attention_heads": 40, "num_hidden_layers": 40, "num_key_value_heads": 10, "original_max_position_embeddings": 16384, "pad_token_id": 100349, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 250000, "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 100352},
    "llama-dynamic": {"model_type": "llama", "hidden_size": 512, "num_attention_heads": 8, "num_hidden_layers": 2, "max_position_embeddings": 2048, "rope_scaling": {"type": "dynamic", "factor": 2.0}},
    "llama-linear": {"model_type": "llama", "hidden_size": 512, "num_attention_heads": 8, "num_hidden_layers": 2, "attention_bias": True, "mlp_bias": True, "rope_scaling": {"rope_type": "linear", "type": "default", "factor": 3.0}},
    "llama-outer-original": {"model_type": "llama", "hidden_size": 512, "num_attention_heads": 8, "num_hidden_layers": 2, "max_position_embeddings": 65536, "original_max_position_embeddings": 4096, "rope_scaling": dict(LLAMA3, rope_theta=700000.0), "rope_theta": 9.0},
    "mistral-yarn-mscale": {"model_type": "mistral", "hidden_size": 512, "num_attention_heads": 8, "num_hidden_layers": 2, "sliding_window": None, "max_position_embeddings": 65536, "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 8.0, "original_max_position_embeddings": 8192, "mscale": 1.0, "mscale_all_dim": 0.5, "beta_fast": 16, "beta_slow": 2, "truncate": False}},
    "qwen3-yarn-attention": {"model_type": "qwen3", "hidden_size": 512, "num_attention_heads": 8, "num_key_value_heads": 8, "num_hidden_layers": 2, "attention_bias": True, "max_position_embeddings": 65536, "rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6, "factor": 2.0, "original_max_position_embeddings": 32768, "attention_factor": 1.25}},
    "llama-longrope-factor": {"model_type": "llama", "hidden_size": 256, "num_attention_heads": 8, "num_hidden_layers": 2, "max_position_embeddings": 8192, "rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 2048, "long_factor": factors(16, 9), "short_factor": factors(16, 1.5)}},
    "defaults-llama": {"model_type": "llama", "num_hidden_layers": 1},
    "defaults-mistral": {"model_type": "mistral", "num_hidden_layers": 1},
    "defaults-qwen2": {"model_type": "qwen2", "num_hidden_layers": 1},
    "defaults-qwen3": {"model_type": "qwen3", "num_hidden_layers": 1},
    "defaults-smollm3": {"model_type": "smollm3", "num_hidden_layers": 1},
    "defaults-phi3": {"model_type": "phi3", "num_hidden_layers": 1},
    "gemma-2-2b": {"architectures": ["Gemma2ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "attn_logit_softcapping": 50.0, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1, "final_logit_softcapping": 30.0, "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "intermediate_size": 9216, "max_position_embeddings": 8192, "model_type": "gemma2", "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4, "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096, "torch_dtype": "float32", "vocab_size": 256000},
    "gemma-3-1b": {"architectures": ["Gemma3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "attn_logit_softcapping": None, "bos_token_id": 2, "cache_implementation": "hybrid", "eos_token_id": 1, "final_logit_softcapping": None, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912, "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1, "pad_token_id": 0, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000, "sliding_window": 512, "sliding_window_pattern": 6, "torch_dtype": "bfloat16", "vocab_size": 262144},
    "gemma3-scaled": {"model_type": "gemma3_text", "hidden_size": 256, "num_attention_heads": 8, "num_hidden_layers": 7, "head_dim": 32, "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5e5}, "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}}},
    "olmo-2-7b": {"architectures": ["Olmo2ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "eos_token_id": 100257, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008, "max_position_embeddings": 4096, "model_type": "olmo2", "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "pad_token_id": 100277, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 500000, "tie_word_embeddings": False, "torch_dtype": "float32", "vocab_size": 100352},
    "granite-3.1-2b": {"architectures": ["GraniteForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "attention_multiplier": 0.015625, "bos_token_id": 0, "embedding_multiplier": 12.0, "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 8192, "logits_scaling": 8.0, "max_position_embeddings": 131072, "mlp_bias": False, "model_type": "granite", "num_attention_heads": 32, "num_hidden_layers": 40, "num_key_value_heads": 8, "pad_token_id": 0, "residual_multiplier": 0.22, "rms_norm_eps": 1e-05, "rope_scaling": None, "rope_theta": 5000000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "vocab_size": 49155},
    "mixtral-8x7b": {"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 32768, "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2, "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8, "output_router_logits": False, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.02, "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "vocab_size": 32000},
    "qwen3-30b-a3b": {"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 151643, "decoder_sparse_step": 1, "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 40960, "max_window_layers": 48, "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 768, "norm_topk_prob": True, "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4, "output_router_logits": False, "rms_norm_eps": 1e-06, "rope_scaling": None, "rope_theta": 1000000.0, "router_aux_loss_coef": 0.001, "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_sliding_window": False, "vocab_size": 151936},
    "qwen3-moe-mixed": {"model_type": "qwen3_moe", "hidden_size": 256, "num_hidden_layers": 5, "num_attention_heads": 8, "num_local_experts": 4, "num_experts_per_tok": 2, "decoder_sparse_step": 2, "mlp_only_layers": [1], "output_router_logits": True, "router_aux_loss_coef": 0.01},
    "defaults-gemma2": {"model_type": "gemma2", "num_hidden_layers": 2},
    "defaults-gemma3": {"model_type": "gemma3_text", "num_hidden_layers": 2},
    "defaults-olmo2": {"model_type": "olmo2", "num_hidden_layers": 1},
    "defaults-granite": {"model_type": "granite", "num_hidden_layers": 1},
    "defaults-mixtral": {"model_type": "mixtral", "num_hidden_layers": 1},
    "defaults-qwen3-moe": {"model_type": "qwen3_moe", "num_hidden_layers": 1},
}


def load_config(raw):
    raw = json.loads(json.dumps(raw))
    return AutoConfig.for_model(**raw)


def rope_goldens(config, model):
    rotary = model.model.rotary_emb
    params, layer = config.rope_parameters, {}
    if "full_attention" in params:
        params, layer = params["full_attention"], {"layer_type": "full_attention"}
    kind = params["rope_type"]
    lengths = [16]
    if kind in ("dynamic", "longrope"):
        # Not the exact border for longrope only: one position beyond it changes the set.
        edge = params.get("original_max_position_embeddings") or config.max_position_embeddings
        lengths += [edge, edge + 1, 3 * edge]
    out = []
    for n in lengths:
        if kind == "default":
            inv, scale = rotary.compute_default_rope_parameters(config, **layer)
        else:
            inv, scale = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=n, **layer)
        out.append({"seq": n, "inv": [float(x) for x in inv.to(torch.float32)], "scale": float(np.float32(scale))})
    return out


def describe(name, raw):
    config = load_config(raw)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    # Rotary functions need real numbers.
    with torch.device("cpu"):
        small = load_config(dict(raw, num_hidden_layers=1, layer_types=None))
        ropes = rope_goldens(small, model)
    tied = bool(config.tie_word_embeddings)
    tensors = published(config, {k: list(v.shape) for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")})
    last = config.num_hidden_layers - 1
    keep = {k: v for k, v in tensors.items() if "layers." not in k or k.startswith((f"model.layers.{last}.",))}
    if mixture := mixtures(config):
        keep = {k: v for k, v in keep.items() if ".experts." not in k or f".experts.{mixture['experts'] - 1}." in k}
    eos = config.eos_token_id
    return {
        "name": name,
        "config": raw,
        "family": config.model_type,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "kv_heads": config.num_key_value_heads,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        "max_positions": config.max_position_embeddings,
        "eps": config.rms_norm_eps,
        "tied": tied,
        "bos": -1 if config.bos_token_id is None else config.bos_token_id,
        "eos": [] if eos is None else eos if isinstance(eos, list) else [eos],
        "pad": -1 if config.pad_token_id is None else config.pad_token_id,
        "dtype": "" if config.dtype is None else str(config.dtype).removeprefix("torch."),
        "tensor_count": len(tensors),
        "tensors": keep,
        "params": sum(math.prod(v) for v in tensors.values()),
        "ropes": ropes,
        **variants(config),
        **({"mixture": mixture} if mixture else {}),
    }


def mixtures(config):
    """Experts in the place of MLPs."""
    if config.model_type not in ("mixtral", "qwen3_moe"):
        return None
    out = {"experts": config.num_local_experts, "per_token": config.num_experts_per_tok, "normalize": getattr(config, "norm_topk_prob", True),
           "balance": config.router_aux_loss_coef if config.output_router_logits else 0}
    if config.model_type == "qwen3_moe":
        step, only = config.decoder_sparse_step, config.mlp_only_layers
        out["plain"] = [(i + 1) % step != 0 or i in only for i in range(config.num_hidden_layers)]
    return out


def published(config, tensors):
    """Names and shapes as checkpoints have them: transformers holds the experts of a layer in one tensor."""
    names = {"mixtral": ("block_sparse_moe", "w1", "w3", "w2"), "qwen3_moe": ("mlp", "gate_proj", "up_proj", "down_proj")}.get(config.model_type)
    if not names:
        return tensors
    module, gate, up, down = names
    out = {}
    for key, shape in tensors.items():
        prefix, _, leaf = key.rpartition(".mlp.experts.")
        if prefix:
            for e in range(shape[0]):
                for name in (gate, up) if leaf == "gate_up_proj" else (down,):
                    out[f"{prefix}.{module}.experts.{e}.{name}.weight"] = [shape[1] // (2 if name == gate or name == up else 1), shape[2]]
        else:
            out[key.replace(".mlp.gate.weight", f".{module}.gate.weight")] = shape
    return out


def variants(config):
    """What only some families have: which layers slide, the theta of those, and numbers that multiply or cap."""
    if config.model_type not in ("gemma2", "gemma3_text", "granite"):
        return {}
    if config.model_type == "granite":
        return {"variants": [config.attention_multiplier, 0, 0, config.embedding_multiplier, config.residual_multiplier, 1 / config.logits_scaling]}
    rope = config.rope_parameters.get("sliding_attention", {})
    return {
        "slides": [t == "sliding_attention" for t in config.layer_types],
        "window": config.sliding_window,
        "local_theta": rope.get("rope_theta", 0),
        "variants": [config.query_pre_attn_scalar**-0.5, config.attn_logit_softcapping or 0, config.final_logit_softcapping or 0, config.hidden_size**0.5, 0, 0],
    }


TINY = dict(vocab_size=48, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)

# name: (model_type, overrides, dtype of the file, shard size)
MODELS = {
    "llama": ("llama", dict(tie_word_embeddings=False, attention_bias=True, mlp_bias=True, rope_scaling=dict(LLAMA3, original_max_position_embeddings=16), rope_theta=5e5, max_position_embeddings=512), torch.float32, None),
    "llama-tied": ("llama", dict(tie_word_embeddings=True), torch.bfloat16, None),
    "mistral": ("mistral", dict(sliding_window=5, head_dim=8), torch.float16, None),
    "qwen2": ("qwen2", dict(use_sliding_window=True, sliding_window=6, max_window_layers=1, tie_word_embeddings=False), torch.bfloat16, "4KB"),
    "qwen3": ("qwen3", dict(head_dim=8, tie_word_embeddings=True), torch.float32, "6KB"),
    "smollm3": ("smollm3", dict(num_hidden_layers=4, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=7), torch.bfloat16, None),
    "phi3": ("phi3", dict(sliding_window=9, hidden_size=32, partial_rotary_factor=0.5, original_max_position_embeddings=32, rope_scaling={"type": "longrope", "long_factor": [2.0, 4.0], "short_factor": [1.0, 1.5]}), torch.bfloat16, None),
}


def digest(t):
    """sha256 of the little-endian float32 and bfloat16 bytes."""
    f32 = t.to(torch.float32).contiguous()
    bf16 = t.to(torch.float32).to(torch.bfloat16).contiguous().view(torch.int16)
    return {
        "shape": list(t.shape),
        "f32": hashlib.sha256(f32.numpy().tobytes()).hexdigest()[:16],
        "bf16": hashlib.sha256(bf16.numpy().tobytes()).hexdigest()[:16],
    }


def tiny(kind, over):
    torch.manual_seed(sum(map(ord, kind)))
    args = dict(TINY, **over)
    config = AutoConfig.for_model(kind, **args)
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    return model


def visible_keys(model, n=24):
    """How many keys the last of n queries sees in each layer, from the attention weights themselves."""
    with torch.no_grad():
        out = model(torch.arange(n)[None] % model.config.vocab_size, output_attentions=True)
    return [int((a[0, 0, -1] > 0).sum()) for a in out.attentions]


def expected(model):
    tied = model.config.tie_word_embeddings
    return {k: digest(v) for k, v in model.state_dict().items() if not (tied and k == "lm_head.weight")}


GGUF_NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.qkv_proj": "attn_qkv",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
}


def gguf_name(name):
    fixed = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in fixed:
        return fixed[name]
    _, _, layer, rest = name.split(".", 3)
    module, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{GGUF_NAMES[module]}.{kind}"


def permute(w, heads):
    """llama.cpp's order of q and k rows: pairs side by side instead of half a head apart."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def write_gguf(path, model, arch):
    c = model.config
    w = gguf.GGUFWriter(str(path), arch)
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(c.rope_parameters["rope_theta"])
    w.add_vocab_size(c.vocab_size)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    if head_dim * c.num_attention_heads != c.hidden_size:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    w.add_rope_dimension_count(int(head_dim * c.rope_parameters.get("partial_rotary_factor", 1.0)))
    kind = c.rope_parameters["rope_type"]
    if kind == "longrope":
        original = c.rope_parameters["original_max_position_embeddings"]
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(c.max_position_embeddings / original) / math.log(original)))
        w.add_tensor("rope_factors_long.weight", np.array(c.rope_parameters["long_factor"], np.float32))
        w.add_tensor("rope_factors_short.weight", np.array(c.rope_parameters["short_factor"], np.float32))
    if kind == "llama3":
        base = 1.0 / (c.rope_parameters["rope_theta"] ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
        scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](c, torch.device("cpu"))
        w.add_tensor("rope_freqs.weight", (base / scaled).numpy())
    if arch == "phi3":
        w.add_sliding_window(c.sliding_window or 0)
    for name, t in model.state_dict().items():
        if name == "lm_head.weight" and c.tie_word_embeddings:
            continue
        a = t.to(torch.float32).numpy()
        if arch in ("llama", "smollm3"):
            if "q_proj" in name:
                a = permute(a, c.num_attention_heads)
            elif "k_proj" in name:
                a = permute(a, c.num_key_value_heads)
        if a.ndim == 2 and "embed" in name:
            a = a.astype(np.float16)
        w.add_tensor(gguf_name(name), np.ascontiguousarray(a))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_weights():
    shutil.rmtree(WEIGHTS, ignore_errors=True)
    WEIGHTS.mkdir(parents=True)
    want = {}
    for name, (kind, over, dtype, shard) in MODELS.items():
        model = tiny(kind, over)
        seen = visible_keys(model)
        model = model.to(dtype)
        folder = WEIGHTS / name
        with tempfile.TemporaryDirectory() as tmp:
            model.save_pretrained(tmp, **({"max_shard_size": shard} if shard else {}))
            folder.mkdir()
            for f in sorted(pathlib.Path(tmp).iterdir()):
                if f.name != "generation_config.json":
                    shutil.copyfile(f, folder / f.name)
        want[name] = {"visible": seen, "queries": 24, "dtype": str(dtype).removeprefix("torch."), "tensors": expected(model)}
    for name, arch in {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "smollm3": "smollm3", "phi3": "phi3"}.items():
        kind, over, _, _ = MODELS[name]
        over = {k: v for k, v in over.items() if "sliding" not in k and "window" not in k and "no_rope" not in k}
        if name == "llama":
            over["rope_scaling"] = LLAMA3
            over["max_position_embeddings"] = 131072
            over["head_dim"] = 16
        if name == "phi3":
            over["sliding_window"] = 9
        model = tiny(kind, over)
        model.model.embed_tokens.weight.data.copy_(model.model.embed_tokens.weight.data.to(torch.float16).float())
        write_gguf(WEIGHTS / f"{name}.gguf", model, arch)
        model.config.save_pretrained(WEIGHTS / "tmp")
        raw = json.loads((WEIGHTS / "tmp" / "config.json").read_text())
        shutil.rmtree(WEIGHTS / "tmp")
        want[f"{name}.gguf"] = {"config": raw, "tensors": expected(model)}
    (WEIGHTS / "want.json").write_text(json.dumps(want, indent=None, separators=(",", ":"), sort_keys=True) + "\n")


def demo(path):
    path = pathlib.Path(path)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    for name, t in model.state_dict().items():
        print(name, "x".join(map(str, t.shape)), digest(t)["f32"])


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("--demo")
    args = args.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    if args.demo:
        demo(args.demo)
        return
    SPEC.mkdir(parents=True, exist_ok=True)
    goldens = [describe(name, raw) for name, raw in HUB.items()]
    lines = ",\n".join(json.dumps(g, separators=(",", ":"), sort_keys=True) for g in goldens)
    (SPEC / "configs.json").write_text("[\n" + lines + "\n]\n")
    write_weights()


if __name__ == "__main__":
    main()
