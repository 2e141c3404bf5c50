"""Hugging Face's models from tiny configurations."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from benchmarks.families.torch_nn import real
from benchmarks.families.trying import Family

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 99,
}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99}
TEXT: dict[str, dict[str, Any]] = {
    "albert": TINY | {"embedding_size": 16},
    "bert": TINY,
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99},
    "camembert": TINY,
    "deberta-v2": TINY,
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "vocab_size": 99},
    "electra": TINY | {"embedding_size": 16},
    "gemma": TINY | {"num_key_value_heads": 2, "head_dim": 8},
    "gpt2": GPT,
    "gpt_neox": TINY,
    "llama": TINY | {"num_key_value_heads": 2},
    "longformer": TINY | {"attention_window": 4},
    "mistral": TINY | {"num_key_value_heads": 2},
    "mobilebert": TINY | {"embedding_size": 16, "intra_bottleneck_size": 32},
    "mpnet": TINY,
    "opt": {**TINY, "ffn_dim": 64, "word_embed_proj_dim": 32},
    "phi": TINY,
    "qwen2": TINY | {"num_key_value_heads": 2},
    "roberta": TINY,
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64, "vocab_size": 99},
}
BOTH: dict[str, dict[str, Any]] = {
    "bart": {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "vocab_size": 99,
    },
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4, "vocab_size": 99},
}
PATCHES = TINY | {"image_size": 32, "patch_size": 8}
STAGES = {"depths": [1, 1], "hidden_sizes": [8, 16]}
IMAGES: dict[str, dict[str, Any]] = {
    "beit": PATCHES,
    "convnext": STAGES | {"num_stages": 2},
    "deit": PATCHES,
    "dinov2": PATCHES,
    "mobilevit": {"image_size": 32},
    "resnet": STAGES | {"embedding_size": 8},
    "segformer": {},
    "swin": {
        "image_size": 32,
        "embed_dim": 16,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 2,
    },
    "vit": PATCHES,
}


def families() -> Iterator[Family]:
    """Models without heads; `use_cache=False`, because tracing knows no caches."""
    for name, options in TEXT.items():
        yield Family(name, _maker(name, options), lambda: (torch.randint(5, 90, (1, 8)),))
    for name, options in BOTH.items():
        yield Family(name, _maker(name, options), _source_and_target)
    for name, options in IMAGES.items():
        yield Family(name, _maker(name, options), real((1, 3, 32, 32)))
    audio = TINY | {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
    yield Family("wav2vec2", _maker("wav2vec2", audio), real((1, 4000)))


def _maker(name: str, options: dict[str, Any]) -> Callable[[], nn.Module]:
    return lambda: AutoModel.from_config(AutoConfig.for_model(name, **options, use_cache=False))


def _source_and_target() -> tuple[torch.Tensor, ...]:
    """By position: tokens, their mask, and the tokens of the decoder."""
    tokens = torch.randint(5, 90, (1, 8))
    return tokens, torch.ones_like(tokens), tokens[:, :5]
