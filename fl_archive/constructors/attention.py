"""Rules of torch.nn's attention and transformers, which in evaluation don't check their parts."""

from collections.abc import Callable

from fl_archive.constructors.constraints import (
    COUNT,
    FLAG,
    FUNCTION,
    PROBABILITY,
    SIZE,
    Constraint,
    one_of,
)
from fl_archive.constructors.rules import Facts, Law, Rule, is_of
from fl_archive.views import Shape

LINEAR = ("Linear", "NonDynamicallyQuantizableLinear")
NORM = ("LayerNorm",)
ATTENTIONS = ("MultiheadAttention",)


def _same(m: Facts) -> bool:
    """Whether queries, keys and values are projected by one weight."""
    return bool(m._qkv_same_embed_dim is None or m._qkv_same_embed_dim)


def _together(m: Facts) -> Shape | None:
    return (3 * m.embed_dim, m.embed_dim) if _same(m) else None


def _apart(width: str) -> Callable[[Facts], Shape | None]:
    return lambda m: None if _same(m) else (m.embed_dim, getattr(m, width))


ATTENTION = Rule(
    {
        "embed_dim": SIZE,
        "kdim": SIZE,
        "vdim": SIZE,
        "num_heads": SIZE,
        "head_dim": SIZE,
        "dropout": PROBABILITY,
        "batch_first": FLAG.since(),
        "add_zero_attn": FLAG,
        "_qkv_same_embed_dim": FLAG.since(),
    },
    {
        "in_proj_weight": _together,
        "q_proj_weight": _apart("embed_dim"),
        "k_proj_weight": _apart("kdim"),
        "v_proj_weight": _apart("vdim"),
    },
    {
        "in_proj_bias": lambda m: (3 * m.embed_dim,),
        **dict.fromkeys(("bias_k", "bias_v"), lambda m: (1, 1, m.embed_dim)),
    },
    {"out_proj": LINEAR},
    (
        Law(
            "num_heads",
            "must divide embed_dim into heads of head_dim",
            lambda m: m.num_heads * m.head_dim == m.embed_dim,
        ),
        Law(
            "_qkv_same_embed_dim",
            "must say whether kdim and vdim are embed_dim",
            lambda m: _same(m) == (m.kdim == m.vdim == m.embed_dim),
        ),
        Law(
            "out_proj",
            "must have embed_dim inputs and outputs",
            lambda m: m.child("out_proj").shape("weight") == (m.embed_dim,) * 2,
        ),
        Law("its weights", "must all be of one dtype", lambda m: len(_dtypes(m, "out_proj")) == 1),
    ),
)


def _dtypes(m: Facts, *children: str) -> set[str]:
    return m.dtypes.union(*(m.child(name).dtypes for name in children))


# --- Layers of transformers ----------------------------------------------------------------------


def _are_as_wide(m: Facts) -> bool:
    """Whether all parts work on vectors as wide as self_attn's."""
    width, parts = m.child("self_attn").embed_dim, [m.child(name) for name in m.modules]
    norms = [tuple(part.normalized_shape) for part in parts if part.pair[1] in NORM]
    heads = [part.embed_dim for part in parts if part.pair[1] in ATTENTIONS]
    first, second = (m.child(name).shape("weight") or () for name in ("linear1", "linear2"))
    return (
        {(width,)}.issuperset(norms)
        and {width}.issuperset(heads)
        and first[1:] == (width,)
        and second == first[::-1]
    )


def _layer(attentions: tuple[str, ...], norms: tuple[str, ...], **more: Constraint) -> Rule:
    parts = {
        **dict.fromkeys(attentions, ATTENTIONS),
        **dict.fromkeys(("linear1", "linear2"), LINEAR),
        **dict.fromkeys(norms, NORM),
    }
    dropouts = ("dropout", *(f"dropout{norm[4:]}" for norm in norms))

    def is_stock(m: Facts) -> bool:
        """An operator's own classes may have parts of other sizes."""
        return all(m.child(name).pair[1] in classes for name, classes in parts.items())

    def are_of_one_dtype(m: Facts) -> bool:
        return len(_dtypes(m, *parts) | _dtypes(m.child("self_attn"), "out_proj")) == 1

    return Rule(
        {"norm_first": FLAG.since(), "activation": FUNCTION.since(), **more},
        children={**parts, **dict.fromkeys(dropouts, ("",)), "activation": ("", "None")},
        laws=(
            Law(
                "self_attn.embed_dim",
                "must be the width of all its parts",
                lambda m: not is_stock(m) or _are_as_wide(m),
            ),
            Law(
                "its weights",
                "must all be of one dtype",
                lambda m: not is_stock(m) or are_of_one_dtype(m),
            ),
        ),
    )


def _stack(layer: str, **more: Constraint) -> Rule:
    return Rule(
        {"num_layers": COUNT, **more},
        children={"layers": ("ModuleList",), "norm": ("", "None")},
        laws=(
            Law(
                "num_layers",
                "must be the number of its layers",
                lambda m: m.num_layers == len(m.child("layers").modules),
            ),
            Law(
                "layers",
                f"must all be of class {layer}",
                lambda m: all(is_of(pair, [layer]) for pair in m.child("layers").classes),
            ),
        ),
    )


RULES: dict[str, Rule] = {
    "MultiheadAttention": ATTENTION,
    "TransformerEncoderLayer": _layer(
        ("self_attn",), ("norm1", "norm2"), activation_relu_or_gelu=one_of(0, 1, 2).since()
    ),
    "TransformerDecoderLayer": _layer(("self_attn", "multihead_attn"), ("norm1", "norm2", "norm3")),
    "TransformerEncoder": _stack(
        "TransformerEncoderLayer",
        enable_nested_tensor=FLAG.since(),
        use_nested_tensor=FLAG.since(),
        mask_check=FLAG.since(),
    ),
    "TransformerDecoder": _stack("TransformerDecoderLayer"),
    "Transformer": Rule(
        {"d_model": SIZE, "nhead": SIZE, "batch_first": FLAG.since()},
        children={"encoder": ("",), "decoder": ("",)},
    ),
}
