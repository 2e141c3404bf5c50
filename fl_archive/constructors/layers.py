"""Rules of torch.nn's layers with weights: linear ones, embeddings, convolutions, norms."""

from fl_archive.constructors.constraints import (
    COUNT,
    FLAG,
    GROWTH,
    MOST,
    NOTHING,
    NUMBER,
    SIZE,
    WIDTH,
    Constraint,
    each,
    one_of,
    spread,
    whole,
)
from fl_archive.constructors.rules import Facts, Law, Rule

# --- Linear layers and embeddings ----------------------------------------------------------

LINEAR = Rule(
    {"in_features": COUNT, "out_features": COUNT},
    {"weight": lambda m: (m.out_features, m.in_features)},
    {"bias": lambda m: (m.out_features,)},
)
BILINEAR = Rule(
    {"in1_features": SIZE, "in2_features": COUNT, "out_features": COUNT},
    {"weight": lambda m: (m.out_features, m.in1_features, m.in2_features)},
    {"bias": lambda m: (m.out_features,)},
)


def _embedding(**more: Constraint) -> Rule:
    return Rule(
        {
            "num_embeddings": COUNT,
            "embedding_dim": COUNT,
            "padding_idx": COUNT | NOTHING.since(),
            "max_norm": NUMBER | NOTHING,
            "norm_type": NUMBER,
            "scale_grad_by_freq": FLAG,
            "sparse": FLAG,
            **more,
        },
        {"weight": lambda m: (m.num_embeddings, m.embedding_dim)},
        laws=(
            Law(
                "padding_idx",
                "must be less than num_embeddings",
                lambda m: m.padding_idx is None or m.padding_idx < m.num_embeddings,
            ),
        ),
    )


# --- Convolutions ----------------------------------------------------------------------------


def _conv(dimensions: int, *, transposed: bool) -> Rule:
    def weight(m: Facts) -> tuple[int, ...]:
        channels = [m.out_channels, m.in_channels]
        first, second = reversed(channels) if transposed else channels
        return (first, second // m.groups, *m.kernel_size)

    return Rule(
        {
            "groups": SIZE,
            "in_channels": SIZE,
            "out_channels": SIZE,
            "kernel_size": each(SIZE, [dimensions], most=MOST),
            "stride": spread(SIZE, dimensions, most=GROWTH),
            "padding": one_of("same", "valid") | spread(WIDTH, dimensions, most=GROWTH),
            "dilation": spread(SIZE, dimensions),
            "transposed": one_of(transposed),
            "output_padding": spread(WIDTH, dimensions, most=GROWTH),
            "padding_mode": one_of("zeros", "reflect", "replicate", "circular").since(),
            "_reversed_padding_repeated_twice": each(WIDTH, [2 * dimensions]).since(),
        },
        {"weight": weight},
        {"bias": lambda m: (m.out_channels,)},
        laws=(
            Law(
                "groups",
                "must divide in_channels and out_channels",
                lambda m: m.in_channels % m.groups == m.out_channels % m.groups == 0,
            ),
            Law(
                "padding_mode", "must be 'zeros' there", lambda m: not transposed or _pads_zeros(m)
            ),
            Law(
                "_reversed_padding_repeated_twice",
                "must be made of padding, kernel_size and dilation as the constructor does",
                lambda m: _pads_zeros(m) or _widths(m) == _expected_widths(m, dimensions),
            ),
        ),
    )


def _pads_zeros(m: Facts) -> bool:
    return m.padding_mode in (None, "zeros")


def _widths(m: Facts) -> list[int]:
    return list(m._reversed_padding_repeated_twice or ())


def _expected_widths(m: Facts, dimensions: int) -> list[int]:
    if m.padding == "valid":
        return [0] * (2 * dimensions)
    if m.padding == "same":
        pairs = zip(_all(m.dilation, dimensions), m.kernel_size, strict=True)
        totals = [dilation * (size - 1) for dilation, size in pairs]
        return [part for total in reversed(totals) for part in (total // 2, total - total // 2)]
    return [width for width in reversed(_all(m.padding, dimensions)) for _ in range(2)]


def _all(value: int | tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    return (value,) * dimensions if isinstance(value, int) else tuple(value)


# --- Normalisation -----------------------------------------------------------------------------

EPS = {"eps": NUMBER}
FEATURES = ("weight", "bias", "running_mean", "running_var")
BATCH_NORM = Rule(
    {
        "num_features": SIZE,
        "momentum": NUMBER | NOTHING,
        "affine": FLAG,
        "track_running_stats": FLAG,
        **EPS,
    },
    optional={
        **dict.fromkeys(FEATURES, lambda m: (m.num_features,)),
        "num_batches_tracked": lambda _: (),
    },
)
GROUP_NORM = Rule(
    {"num_groups": SIZE, "num_channels": SIZE, "affine": FLAG, **EPS},
    optional=dict.fromkeys(("weight", "bias"), lambda m: (m.num_channels,)),
    laws=(
        Law("num_groups", "must divide num_channels", lambda m: m.num_channels % m.num_groups == 0),
    ),
)
LAYER_NORM = Rule(
    {
        "normalized_shape": each(COUNT),
        "eps": NUMBER | NOTHING,
        "elementwise_affine": FLAG,
    },
    optional=dict.fromkeys(("weight", "bias"), lambda m: tuple(m.normalized_shape)),
)
RESPONSE_NORM = Rule({"size": whole(1, 1 << 12), "alpha": NUMBER, "beta": NUMBER, "k": NUMBER})

RULES: dict[str, Rule] = {
    "Linear": LINEAR,
    "NonDynamicallyQuantizableLinear": LINEAR,
    "Bilinear": BILINEAR,
    "Embedding": _embedding(),
    "EmbeddingBag": _embedding(mode=one_of("sum", "mean", "max"), include_last_offset=FLAG.since()),
    **{f"Conv{d}d": _conv(d, transposed=False) for d in (1, 2, 3)},
    **{f"ConvTranspose{d}d": _conv(d, transposed=True) for d in (1, 2, 3)},
    **{f"{kind}Norm{d}d": BATCH_NORM for kind in ("Batch", "Instance") for d in (1, 2, 3)},
    "GroupNorm": GROUP_NORM,
    "LayerNorm": LAYER_NORM,
    "RMSNorm": LAYER_NORM,
    "LocalResponseNorm": RESPONSE_NORM,
    "CrossMapLRN2d": RESPONSE_NORM,
}
