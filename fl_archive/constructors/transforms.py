"""Rules of torchvision's transforms, of which preprocessing is made."""

from math import inf

from fl_archive.constructors.constraints import (
    COUNT,
    DTYPE,
    FLAG,
    GROWTH,
    MOST,
    NOTHING,
    NUMBER,
    PROBABILITY,
    SIZE,
    TENSOR,
    TEXT,
    WIDTH,
    Constraint,
    between,
    by_type,
    each,
    enum_of,
    one_of,
    transforms,
    whole,
)
from fl_archive.constructors.rules import Facts, Law, Rule
from fl_archive.records import Global

PAIR = each(NUMBER, [2], most=inf)
POSITIVE = each(between(0, 256), [2], most=inf)
NUMBERS = each(NUMBER, most=inf)
SIDE = whole(1, 1 << 13)
SIDES = each(SIDE, [1, 2], most=MOST)
FILL = NUMBER | NUMBERS | NOTHING
FILLS = {"fill": FILL | by_type(FILL), "_fill": by_type(FILL)}
RESIZING = {
    "interpolation": enum_of("InterpolationMode") | TEXT | whole(0, 9),
    "antialias": FLAG | NOTHING,
}
MOVING = {"interpolation": RESIZING["interpolation"], **FILLS}
BORDERS = {"padding_mode": one_of("constant", "edge", "reflect", "symmetric"), **FILLS}
BORDER = each(WIDTH, [1, 2, 4], most=inf)
P = {"p": PROBABILITY}
BINS = {"num_magnitude_bins": whole(2, 10_000)}
CENTER = {"center": PAIR | NOTHING}
FEW = whole(0, 64)
TRANSFORMS = transforms(range(1, 1000))
LABELS = {
    "labels_getter": TEXT | NOTHING,
    "_labels_getter": Constraint(
        "the function that looks for labels",
        lambda value: isinstance(value, Global) and value.name == "_find_labels_default_heuristic",
    ),
}
POLICIES = each(each(each(TEXT | NUMBER | NOTHING, [3], most=inf), [2]), range(1, 100))


def _may_stop(m: Facts) -> bool:
    """Whether RandomIoUCrop must end: it tries until it finds a crop or draws such an option."""
    return any(option >= 1 for option in m.options)


def _in_order(*names: str) -> Law:
    low, high = names
    return Law(low, f"must be at most {high}", lambda m: getattr(m, low) <= getattr(m, high))


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        [
            "ClampKeyPoints",
            "PILToTensor",
            "RGB",
            "RandomChannelPermutation",
            "ToImage",
            "ToPureTensor",
            "ToTensor",
            "Transform",
        ],
        Rule(),
    ),
    **dict.fromkeys(
        [
            "RandomAutocontrast",
            "RandomEqualize",
            "RandomGrayscale",
            "RandomHorizontalFlip",
            "RandomInvert",
            "RandomVerticalFlip",
        ],
        Rule(P),
    ),
    # Containers.
    **dict.fromkeys(("Compose", "RandomOrder"), Rule({"transforms": TRANSFORMS})),
    "RandomApply": Rule(
        {"transforms": TRANSFORMS, **P}, children={"transforms": ("ModuleList", "None")}
    ),
    "RandomChoice": Rule({"transforms": TRANSFORMS, "p": each(PROBABILITY, range(1, 1000))}),
    # Of colours.
    "ColorJitter": Rule(
        dict.fromkeys(("brightness", "contrast", "saturation", "hue"), PAIR | NOTHING)
    ),
    "RandomPhotometricDistort": Rule(
        {**dict.fromkeys(("brightness", "contrast", "saturation", "hue"), PAIR), **P}
    ),
    "Grayscale": Rule({"num_output_channels": one_of(1, 3)}),
    "RandomAdjustSharpness": Rule({"sharpness_factor": NUMBER, **P}),
    "RandomPosterize": Rule({"bits": whole(0, 8), **P}),
    "RandomSolarize": Rule({"threshold": NUMBER, **P}),
    # Of places.
    **dict.fromkeys(("CenterCrop", "FiveCrop"), Rule({"size": SIDES})),
    "TenCrop": Rule({"size": SIDES, "vertical_flip": FLAG}),
    "ElasticTransform": Rule(
        {**dict.fromkeys(("alpha", "sigma"), each(between(0, 1 << 10), [2], most=inf)), **MOVING}
    ),
    "Pad": Rule({"padding": WIDTH | BORDER, **BORDERS}),
    "RandomCrop": Rule(
        {
            "size": SIDES,
            "padding": BORDER | WIDTH | NOTHING,
            "pad_if_needed": FLAG,
            **BORDERS,
        }
    ),
    "RandomAffine": Rule(
        {
            "degrees": PAIR,
            "translate": PAIR | NOTHING,
            "scale": PAIR | NOTHING,
            "shear": each(NUMBER, [2, 4], most=inf) | NOTHING,
            **MOVING,
            **CENTER,
        }
    ),
    "RandomRotation": Rule({"degrees": PAIR, "expand": FLAG, **MOVING, **CENTER}),
    "RandomPerspective": Rule({"distortion_scale": PROBABILITY, **MOVING, **P}),
    "RandomZoomOut": Rule({"side_range": each(between(1, 256), [2]), **FILLS, **P}),
    "RandomIoUCrop": Rule(
        {
            **dict.fromkeys(
                ("min_scale", "max_scale", "min_aspect_ratio", "max_aspect_ratio"), NUMBER
            ),
            "options": NUMBERS,
            "trials": whole(1, 10_000),
        },
        laws=(
            Law("options", "must hold one of at least 1.0, or it may try without end", _may_stop),
        ),
    ),
    "RandomResize": Rule(
        {"min_size": SIDE, "max_size": SIDE, **RESIZING}, laws=(_in_order("min_size", "max_size"),)
    ),
    "RandomResizedCrop": Rule(
        {"size": SIDES, "scale": POSITIVE, "ratio": POSITIVE, "_log_ratio": TENSOR, **RESIZING}
    ),
    "RandomShortestSize": Rule(
        {
            "min_size": each(SIDE, range(1, 1000), most=inf),
            "max_size": SIDE | NOTHING,
            **RESIZING,
        }
    ),
    "Resize": Rule({"size": SIDES | SIDE | NOTHING, "max_size": SIDE | NOTHING, **RESIZING}),
    "ScaleJitter": Rule({"target_size": SIDES, "scale_range": POSITIVE, **RESIZING}),
    # Several at once.
    "AugMix": Rule(
        {
            "_PARAMETER_MAX": one_of(10).since(),
            "severity": whole(1, 10),
            "mixture_width": FEW,
            "chain_depth": whole(-1, 64),
            "alpha": NUMBER,
            "all_ops": FLAG,
            **MOVING,
        }
    ),
    "AutoAugment": Rule({"policy": enum_of("AutoAugmentPolicy"), "_policies": POLICIES, **MOVING}),
    "RandAugment": Rule({"num_ops": FEW, "magnitude": COUNT, **BINS, **MOVING}),
    "TrivialAugmentWide": Rule({**BINS, **MOVING}),
    # Others.
    "ClampBoundingBoxes": Rule({"clamping_mode": (TEXT | NOTHING).since()}),
    "SetClampingMode": Rule({"clamping_mode": TEXT | NOTHING}),
    "ConvertBoundingBoxFormat": Rule({"format": enum_of("BoundingBoxFormat") | TEXT}),
    "ConvertImageDtype": Rule({"dtype": DTYPE}),
    "ToDtype": Rule({"dtype": DTYPE | by_type(DTYPE | NOTHING), "scale": FLAG}),
    "GaussianBlur": Rule({"kernel_size": each(SIZE, [1, 2], most=GROWTH), "sigma": PAIR}),
    "GaussianNoise": Rule({"mean": NUMBER, "sigma": NUMBER, "clip": FLAG}),
    "JPEG": Rule({"quality": each(whole(1, 100), [2])}),
    "LinearTransformation": Rule(dict.fromkeys(("transformation_matrix", "mean_vector"), TENSOR)),
    "Normalize": Rule({"mean": NUMBERS, "std": NUMBERS, "inplace": FLAG}),
    "RandomErasing": Rule(
        {
            "scale": PAIR,
            "ratio": PAIR,
            "value": NUMBERS | NOTHING,
            "inplace": FLAG,
            "_log_ratio": TENSOR,
            **P,
        }
    ),
    "SanitizeBoundingBoxes": Rule({"min_size": NUMBER, "min_area": NUMBER, **LABELS}),
    "SanitizeKeyPoints": Rule(LABELS),
    "ToPILImage": Rule({"mode": TEXT | NOTHING}),
    "UniformTemporalSubsample": Rule({"num_samples": whole(1, GROWTH)}),
}
