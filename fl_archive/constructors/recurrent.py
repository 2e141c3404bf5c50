"""Rules of torch.nn's recurrent networks, whose kernels don't check the weights' shapes."""

from collections.abc import Callable, Iterator

from fl_archive.constructors.constraints import (
    COUNT,
    FLAG,
    LIST,
    NOTHING,
    PROBABILITY,
    SIZE,
    Constraint,
    one_of,
)
from fl_archive.constructors.rules import Facts, Law, Rule
from fl_archive.views import Shape

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def weights(m: Facts) -> Iterator[dict[str, Shape]]:
    """Names and shapes as `RNNBase.__init__` makes them, those of a direction of a layer at a time.

    Of no more layers than the file has tensors, because `num_layers` may be any number.
    """
    directions = ("", "_reverse") if m.bidirectional else ("",)
    rows, output = GATES[m.mode] * m.hidden_size, m.proj_size or m.hidden_size
    for layer in range(min(m.num_layers, len(m.tensors) + 1)):
        width = output * len(directions) if layer else m.input_size
        for direction in directions:
            shapes: dict[str, Shape] = {"weight_ih": (rows, width), "weight_hh": (rows, output)}
            if m.bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if m.proj_size:
                shapes["weight_hr"] = (m.proj_size, m.hidden_size)
            yield {f"{name}_l{layer}{direction}": shape for name, shape in shapes.items()}


def _shapes(m: Facts) -> dict[str, Shape]:
    return {name: shape for part in weights(m) for name, shape in part.items()}


def _are_its_own(m: Facts) -> bool:
    """Whether `_flat_weights`, which is calculated with, are the parameters in their order."""
    own = [m.tensors.get(name) for name in _shapes(m)]
    given = m._flat_weights
    return len(given) == len(own) and all(a is b for a, b in zip(given, own, strict=True))


LAWS = (
    Law(
        "num_layers",
        "must be the number of layers that have weights",
        lambda m: m.num_layers <= len(m.tensors),
    ),
    Law("proj_size", "must be less than hidden_size", lambda m: (m.proj_size or 0) < m.hidden_size),
    Law("proj_size", "must be 0 in all but LSTM", lambda m: not m.proj_size or m.mode == "LSTM"),
    Law(
        "num_layers, input_size, hidden_size, proj_size, bias and bidirectional",
        "must say which weights there are and of which shapes",
        lambda m: _shapes(m) == {name: m.shape(name) for name in m.tensors},
    ),
    Law("its weights", "must all be of one dtype", lambda m: len(m.dtypes) == 1),
    Law(
        "_flat_weights_names",
        "must name the weights in the constructor's order",
        lambda m: m._flat_weights_names == list(_shapes(m)),
    ),
    Law(
        "_all_weights",
        "must name the weights of each layer",
        lambda m: m._all_weights == [list(part) for part in weights(m)],
    ),
    Law("_flat_weights", "must hold the weights in the constructor's order", _are_its_own),
)


def _recurrent(mode: Constraint, **more: Constraint) -> Rule:
    return Rule(
        {
            "mode": mode,
            "input_size": SIZE,
            "hidden_size": SIZE,
            "num_layers": SIZE,
            "bias": FLAG,
            "batch_first": FLAG,
            "dropout": PROBABILITY,
            "bidirectional": FLAG,
            "proj_size": COUNT.since(),
            "_flat_weights_names": LIST,
            "_all_weights": LIST,
            "_flat_weights": LIST,
            "all_weights": NOTHING.since(),  # from before torch 1.0; it would replace the property
            **more,
        },
        laws=LAWS,
    )


def _cell(gates: int, **more: Constraint) -> Rule:
    def weight(width: str) -> Callable[[Facts], Shape]:
        return lambda m: (gates * m.hidden_size, getattr(m, width))

    def bias(m: Facts) -> Shape | None:
        return (gates * m.hidden_size,) if m.bias else None

    return Rule(
        {"input_size": SIZE, "hidden_size": SIZE, "bias": FLAG, **more},
        {
            "weight_ih": weight("input_size"),
            "weight_hh": weight("hidden_size"),
            "bias_ih": bias,
            "bias_hh": bias,
        },
    )


RELU_OR_TANH = one_of("tanh", "relu")
RULES: dict[str, Rule] = {
    "RNNBase": _recurrent(one_of(*GATES)),
    "LSTM": _recurrent(one_of("LSTM")),
    "GRU": _recurrent(one_of("GRU")),
    "RNN": _recurrent(one_of("RNN_TANH", "RNN_RELU"), nonlinearity=RELU_OR_TANH.since()),
    "RNNCellBase": Rule({"input_size": SIZE, "hidden_size": SIZE, "bias": FLAG}),
    "RNNCell": _cell(1, nonlinearity=RELU_OR_TANH),
    "GRUCell": _cell(3),
    "LSTMCell": _cell(4),
}
