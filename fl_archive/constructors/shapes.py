"""Rules of what changes shapes in torch.nn: pooling, padding, upsampling, folding."""

from math import prod

from fl_archive.constructors.constraints import (
    AXIS,
    COUNT,
    FLAG,
    GROWTH,
    INTEGER,
    LARGEST,
    MOST,
    NOTHING,
    NUMBER,
    SIZE,
    TEXT,
    WIDTH,
    Constraint,
    between,
    each,
    one_of,
    spread,
    whole,
)
from fl_archive.constructors.rules import Facts, Law, Rule


def _pool(dimensions: int, **more: Constraint) -> Rule:
    return Rule(
        {
            "kernel_size": spread(SIZE, dimensions),
            "stride": spread(SIZE, dimensions) | NOTHING,
            **more,
        }
    )


def _max_pool(dimensions: int) -> Rule:
    return _pool(
        dimensions,
        padding=spread(WIDTH, dimensions, most=GROWTH),
        dilation=spread(SIZE, dimensions),
        return_indices=FLAG,
        ceil_mode=FLAG,
    )


def _average_pool(dimensions: int) -> Rule:
    return _pool(
        dimensions,
        padding=spread(WIDTH, dimensions, most=GROWTH).since(),
        ceil_mode=FLAG.since(),
        count_include_pad=FLAG.since(),
        divisor_override=(whole(-LARGEST, -1) | SIZE | NOTHING).since(),
    )


def _unpool(dimensions: int) -> Rule:
    growing = spread(SIZE, dimensions, most=GROWTH)
    return Rule(
        {
            "kernel_size": growing,
            "stride": growing,
            "padding": spread(WIDTH, dimensions, most=GROWTH),
        }
    )


def _adaptive_pool(dimensions: int, **more: Constraint) -> Rule:
    return Rule({"output_size": spread(COUNT | NOTHING, dimensions), **more})


def _fractional_pool(dimensions: int) -> Rule:
    def samples(m: Facts) -> tuple[int, ...] | None:
        given = m.shape("_random_samples") or ()
        return (*given[:2], dimensions) if len(given) == 3 else None

    return Rule(
        {
            "kernel_size": spread(SIZE, dimensions),
            "return_indices": FLAG,
            "output_size": spread(SIZE, dimensions) | NOTHING,
            "output_ratio": spread(between(0, 1), dimensions) | NOTHING,
        },
        optional={"_random_samples": samples},
        laws=(
            Law(
                "output_size",
                "must be given, or output_ratio instead",
                lambda m: (m.output_size is None) != (m.output_ratio is None),
            ),
        ),
    )


def _pad(dimensions: int, **more: Constraint) -> Rule:
    return Rule(
        {"padding": each(INTEGER, [2 * dimensions], most=1 << 62), **more},
        laws=(
            Law(
                "padding",
                f"must make at most {1 << 20} of one element",
                lambda m: _padded(m.padding) <= 1 << 20,
            ),
        ),
    )


def _padded(widths: tuple[int, ...]) -> int:
    pairs = zip(widths[::2], widths[1::2], strict=True)
    return prod(1 + abs(before) + abs(after) for before, after in pairs)


WINDOWS = {
    "kernel_size": spread(SIZE, 2),
    "dilation": spread(SIZE, 2),
    "padding": spread(WIDTH, 2, most=GROWTH),
    "stride": spread(SIZE, 2),
}
MODES = (
    "nearest",
    "linear",
    "bilinear",
    "bicubic",
    "trilinear",
    "area",
    "nearest-exact",
    "lanczos",
)
SCALE = between(2**-16, GROWTH)
UPSAMPLE = Rule(
    {
        "name": TEXT,
        "size": each(SIZE, range(1, 4), most=MOST) | SIZE | NOTHING,
        "scale_factor": each(SCALE, range(1, 4), most=GROWTH) | SCALE | NOTHING,
        "mode": one_of(*MODES),
        "align_corners": FLAG | NOTHING,
        "recompute_scale_factor": (FLAG | NOTHING).since(),
    },
    laws=(
        Law("size", f"must be at most {MOST} in all dimensions together", lambda m: _area(m.size)),
        Law(
            "scale_factor",
            "must be given, or size instead",
            lambda m: (m.size is None) != (m.scale_factor is None),
        ),
    ),
)


def _area(size: object) -> bool:
    """One number is the size in each of at most three dimensions."""
    return not isinstance(size, int) or size <= 1 << 12


NAMED = each(each(TEXT | INTEGER, [2]))
PADS: dict[str, dict[str, Constraint]] = {
    "CircularPad": {},
    "ReflectionPad": {},
    "ReplicationPad": {},
    "ConstantPad": {"value": NUMBER},
    "ZeroPad": {"value": NUMBER.since()},
}
RULES: dict[str, Rule] = {
    **{f"MaxPool{d}d": _max_pool(d) for d in (1, 2, 3)},
    **{f"AvgPool{d}d": _average_pool(d) for d in (1, 2, 3)},
    **{f"LPPool{d}d": _pool(d, norm_type=NUMBER, ceil_mode=FLAG) for d in (1, 2, 3)},
    **{f"MaxUnpool{d}d": _unpool(d) for d in (1, 2, 3)},
    **{f"AdaptiveAvgPool{d}d": _adaptive_pool(d) for d in (1, 2, 3)},
    **{f"AdaptiveMaxPool{d}d": _adaptive_pool(d, return_indices=FLAG) for d in (1, 2, 3)},
    **{f"FractionalMaxPool{d}d": _fractional_pool(d) for d in (2, 3)},
    **{f"{kind}{d}d": _pad(d, **more) for kind, more in PADS.items() for d in (1, 2, 3)},
    "Fold": Rule({"output_size": spread(SIZE, 2), **WINDOWS}),
    "Unfold": Rule(WINDOWS),
    "Flatten": Rule({"start_dim": AXIS, "end_dim": AXIS}),
    "Unflatten": Rule({"dim": AXIS | TEXT, "unflattened_size": each(whole(-1)) | NAMED}),
    "PixelShuffle": Rule({"upscale_factor": SIZE}),
    "PixelUnshuffle": Rule({"downscale_factor": SIZE}),
    "ChannelShuffle": Rule({"groups": SIZE}),
    **dict.fromkeys(("Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"), UPSAMPLE),
}
