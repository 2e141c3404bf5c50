"""Rules of torch.nn's activations, dropouts, distances, losses and containers."""

from itertools import pairwise
from math import inf, prod

from fl_archive.constructors.constraints import (
    AXIS,
    COUNT,
    FLAG,
    FUNCTION,
    INTEGER,
    NAMES,
    NOTHING,
    NUMBER,
    PROBABILITY,
    SIZE,
    Constraint,
    each,
    one_of,
)
from fl_archive.constructors.rules import Law, Rule, Sized

PLAIN = Rule()
"""Of classes without attributes of their own; children may be any."""

# --- Activations -------------------------------------------------------------------------------

INPLACE = {"inplace": FLAG.since()}
AXIS_OR_NONE = Rule({"dim": (AXIS | NOTHING).since()})


def _numbers(*names: str) -> Rule:
    return Rule({**dict.fromkeys(names, NUMBER), **INPLACE})


ACTIVATIONS: dict[str, Rule] = {
    "CELU": _numbers("alpha"),
    "ELU": _numbers("alpha"),
    "GELU": Rule({"approximate": one_of("none", "tanh").since()}),
    "GLU": Rule({"dim": AXIS}),
    "Hardshrink": Rule({"lambd": NUMBER}),
    "Hardsigmoid": Rule(INPLACE),
    "Hardswish": Rule(INPLACE),
    "Hardtanh": _numbers("min_val", "max_val"),
    "LeakyReLU": _numbers("negative_slope"),
    "LogSoftmax": AXIS_OR_NONE,
    "Mish": Rule(INPLACE),
    "PReLU": Rule(
        {"num_parameters": SIZE, "init": NUMBER.since()},
        {"weight": lambda m: (m.num_parameters,)},
    ),
    "RReLU": _numbers("lower", "upper"),
    "ReLU": Rule(INPLACE),
    "ReLU6": _numbers("min_val", "max_val"),
    "SELU": Rule(INPLACE),
    "SiLU": Rule(INPLACE),
    "Softmax": AXIS_OR_NONE,
    "Softmin": AXIS_OR_NONE,
    "Softplus": Rule({"beta": NUMBER, "threshold": NUMBER}),
    "Softshrink": Rule({"lambd": NUMBER}),
    "Threshold": _numbers("threshold", "value"),
    **dict.fromkeys(
        ("Identity", "LogSigmoid", "Sigmoid", "Softmax2d", "Softsign", "Tanh", "Tanhshrink"), PLAIN
    ),
}
DROPOUT = Rule({"p": PROBABILITY, **INPLACE})
DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
DISTANCES = {
    "CosineSimilarity": Rule({"dim": AXIS, "eps": NUMBER}),
    "PairwiseDistance": Rule({"norm": NUMBER, "eps": NUMBER, "keepdim": FLAG}),
}

# --- Losses ------------------------------------------------------------------------------------

REDUCTION = one_of("none", "mean", "sum", "batchmean", "elementwise_mean")


def _loss(*numbers: str, weights: tuple[str, ...] = (), **more: Constraint) -> Rule:
    attributes = {"reduction": REDUCTION, **dict.fromkeys(numbers, NUMBER), **more}
    return Rule(attributes, optional={name: _as_it_is(name) for name in weights})


def _as_it_is(name: str) -> Sized:
    """Of any shape, because the kernels check it against the input's."""
    return lambda m: m.shape(name)


WEIGHT = ("weight",)
SMOOTHING = PROBABILITY.since()
LOSSES: dict[str, Rule] = {
    "BCELoss": _loss(weights=WEIGHT),
    "BCEWithLogitsLoss": _loss(weights=("weight", "pos_weight")),
    "CTCLoss": _loss(blank=COUNT, zero_infinity=FLAG),
    "CosineEmbeddingLoss": _loss("margin"),
    "CrossEntropyLoss": _loss(weights=WEIGHT, ignore_index=INTEGER, label_smoothing=SMOOTHING),
    "GaussianNLLLoss": _loss("eps", full=FLAG),
    "HingeEmbeddingLoss": _loss("margin"),
    "HuberLoss": _loss("delta"),
    "KLDivLoss": _loss(log_target=FLAG.since()),
    "L1Loss": _loss(),
    "MSELoss": _loss(),
    "MarginRankingLoss": _loss("margin"),
    "MultiLabelMarginLoss": _loss(),
    "MultiLabelSoftMarginLoss": _loss(weights=WEIGHT),
    "MultiMarginLoss": _loss("margin", weights=WEIGHT, p=one_of(1, 2)),
    "NLLLoss": _loss(weights=WEIGHT, ignore_index=INTEGER),
    "PoissonNLLLoss": _loss("eps", log_input=FLAG, full=FLAG),
    "SmoothL1Loss": _loss(beta=NUMBER.since()),
    "SoftMarginLoss": _loss(),
    "TripletMarginLoss": _loss("margin", "p", "eps", swap=FLAG),
    "TripletMarginWithDistanceLoss": Rule(
        {"reduction": REDUCTION, "margin": NUMBER, "swap": FLAG, "distance_function": FUNCTION},
        children={"distance_function": ("",)},
    ),
    "LinearCrossEntropyLoss": Rule(
        {
            "reduction": REDUCTION,
            "num_classes": SIZE,
            "out_features": each(SIZE),
            "ignore_index": INTEGER | NOTHING,
            "label_smoothing": PROBABILITY,
            "options": NOTHING,
        },
        optional={"weight": lambda m: (m.num_classes,)},
        children={"linear": ("Linear",)},
        laws=(
            Law(
                "out_features",
                "must be how many rows linear has for each class",
                lambda m: (
                    m.child("linear").out_features == prod(m.out_features, start=m.num_classes)
                ),
            ),
        ),
    ),
    "AdaptiveLogSoftmaxWithLoss": Rule(
        {
            "in_features": SIZE,
            "n_classes": SIZE,
            "cutoffs": each(SIZE, range(2, 1000), most=inf),
            "div_value": NUMBER,
            "head_bias": FLAG,
            "shortlist_size": SIZE,
            "n_clusters": SIZE,
            "head_size": SIZE,
        },
        children={"head": ("Linear",), "tail": ("ModuleList",)},
        laws=(
            Law("cutoffs", "must grow, up to n_classes", lambda m: _grows(m.cutoffs, m.n_classes)),
            Law(
                "shortlist_size",
                "must be the first cutoff",
                lambda m: m.shortlist_size == m.cutoffs[0],
            ),
            Law(
                "n_clusters",
                "must be the number of cutoffs behind the first",
                lambda m: m.n_clusters == len(m.cutoffs) - 1,
            ),
            Law(
                "head_size",
                "must be shortlist_size and n_clusters together",
                lambda m: m.head_size == m.shortlist_size + m.n_clusters,
            ),
            Law(
                "head",
                "must have in_features and head_size",
                lambda m: m.child("head").shape("weight") == (m.head_size, m.in_features),
            ),
            Law(
                "tail",
                "must hold a Sequential for each cluster",
                lambda m: len(m.child("tail").modules) == m.n_clusters,
            ),
        ),
    ),
}


def _grows(cutoffs: list[int], classes: int) -> bool:
    return cutoffs[-1] == classes and all(a < b for a, b in pairwise(cutoffs))


# --- Containers, and all of them ---------------------------------------------------------------

PARAMETERS = Law(
    "_size",
    "must be the number of its parameters",
    lambda m: (m._size or 0) <= len(m.tensors) + len(m.state),
)
RULES: dict[str, Rule] = {
    **dict.fromkeys(("Module", "ModuleDict", "ModuleList", "Sequential"), PLAIN),
    "ParameterDict": Rule({"_keys": NAMES.since()}),
    "ParameterList": Rule({"_size": COUNT.since()}, laws=(PARAMETERS,)),
    **ACTIVATIONS,
    **dict.fromkeys(DROPOUTS, DROPOUT),
    **DISTANCES,
    **LOSSES,
}
