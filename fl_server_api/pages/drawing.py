"""A prediction as a page draws it: what `POST /api/inference/` answers in JSON, with coordinates.

A drawing is 100 wide. docs/uncertainty.md says what the numbers mean.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MOST_INPUTS = 10
MOST_MARKS = 12
"""Of more classes the likeliest are drawn, of more numbers the first."""
LONGEST_JSON = 20_000

MEASURES = {
    "predictive_entropy": "how unsure the prediction is, for whatever reason",
    "expected_entropy": "how unsure the models are on their own",
    "mutual_info": "how much the models disagree",
}

Numbers = Sequence[float | None]


@dataclass(frozen=True)
class Mark:
    """One class or number with its spread: in words, and where it lies (SVG's numbers)."""

    name: str
    told: str
    at: str = ""
    low: str = ""
    high: str = ""
    is_best: bool = False


@dataclass(frozen=True)
class Drawing:
    """What is drawn of one input; `ends` are those of the scale, `zero` is where 0 lies on it."""

    marks: list[Mark]
    left_out: int = 0
    ends: tuple[str, str] = ("0", "1")
    zero: str = ""
    measures: list[tuple[str, Mark]] = field(default_factory=list)


@dataclass(frozen=True)
class Drawn:
    """A prediction of some inputs; `kind` is `class`, `probabilities`, `numbers` or `json`."""

    kind: str
    inputs: list[Drawing] = field(default_factory=list)
    left_out: int = 0
    text: str = ""


def draw(answer: Mapping[str, Any]) -> Drawn:
    """Return what is drawn of an answer; one of a form that nobody foresaw is shown as JSON.

    It comes from a process that has run the model: nothing in it needs to be what it should.
    """
    try:
        return _draw_known(answer)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return _as_json(answer)


def _as_json(answer: object) -> Drawn:
    return Drawn("json", text=json.dumps(answer, indent=1)[:LONGEST_JSON])


def _draw_known(answer: Mapping[str, Any]) -> Drawn:
    values, uncertainty = answer["inference"], answer["uncertainty"]
    if not uncertainty and _is_flat(values):
        return _drawn("class", [_class_of(value) for value in values[:MOST_INPUTS]], values)
    rows, spreads = _rows(values), _rows(uncertainty.get("std"))
    if not rows or not spreads or list(map(len, rows)) != list(map(len, spreads)):
        return _as_json(answer)
    pairs = list(zip(rows, spreads, strict=True))[:MOST_INPUTS]
    told = {name: uncertainty.get(name) for name in MEASURES}
    if all(_is_flat(value) and len(value) == len(rows) for value in told.values()):
        drawings = [
            _probabilities(*pair, {name: told[name][place] for name in MEASURES})
            for place, pair in enumerate(pairs)
        ]
        return _drawn("probabilities", drawings, rows)
    return _drawn("numbers", [_intervals(*pair) for pair in pairs], rows)


def _drawn(kind: str, drawings: list[Drawing], rows: Sequence[Any]) -> Drawn:
    return Drawn(kind, drawings, left_out=len(rows) - len(drawings))


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_flat(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_number, value))


def _rows(value: Any) -> list[list[float | None]]:
    """Return a row of numbers for each input; none where the answer has another shape."""
    if _is_flat(value):
        return [[number] for number in value]
    is_table = isinstance(value, list) and all(map(_is_flat, value))
    return value if is_table else []


def _class_of(value: float | None) -> Drawing:
    return Drawing([Mark(str(value), "")])


def _probabilities(
    values: Numbers, spreads: Numbers, measures: Mapping[str, float | None]
) -> Drawing:
    order = sorted(range(len(values)), key=lambda place: -(values[place] or 0))
    shown = order[:MOST_MARKS] if len(values) > MOST_MARKS else range(len(values))
    most = math.log(len(values)) if len(values) > 1 else 1.0
    return Drawing(
        [_bar(place, values[place], spreads[place], place == order[0]) for place in shown],
        left_out=len(values) - len(shown),
        measures=[
            (words, _measure(name, measures[name], most)) for name, words in MEASURES.items()
        ],
    )


def _bar(place: int, value: float | None, spread: float | None, is_best: bool) -> Mark:
    name = str(place)
    if value is None or spread is None:
        return Mark(name, "not a number")
    told = f"{100 * value:.1f} % ± {100 * spread:.1f}"
    ends = (max(value - spread, 0), min(value + spread, 1))
    low, high = map(_placed, ends)
    return Mark(name, told, _placed(value), low, high, is_best)


def _measure(name: str, value: float | None, most: float) -> Mark:
    name = name.replace("_", " ").replace("info", "information")
    if value is None:
        return Mark(name, "not a number")
    return Mark(name, f"{max(value, 0):.3f} of {most:.3f}", _placed(min(max(value / most, 0), 1)))


def _intervals(values: Numbers, spreads: Numbers) -> Drawing:
    pairs = list(zip(values, spreads, strict=True))[:MOST_MARKS]
    known = [(value, spread) for value, spread in pairs if value is not None and spread is not None]
    low = min((value - spread for value, spread in known), default=0.0)
    high = max((value + spread for value, spread in known), default=0.0)
    margin = (high - low) / 10 or abs(low) / 10 or 1.0
    low, high = low - margin, high + margin
    drawn = math.isfinite(high - low)
    return Drawing(
        [_interval(place, *pair, low, high if drawn else None) for place, pair in enumerate(pairs)],
        left_out=len(values) - len(pairs),
        ends=(f"{low:.4g}", f"{high:.4g}") if drawn else ("", ""),
        zero=_placed(-low / (high - low)) if drawn and low < 0 < high else "",
    )


def _interval(
    place: int, value: float | None, spread: float | None, low: float, high: float | None
) -> Mark:
    name = str(place)
    if value is None or spread is None:
        return Mark(name, "not a number")
    told = f"{value:.4g} ± {spread:.2g}"
    if high is None:  # the numbers are too far apart for a scale
        return Mark(name, told)
    ends = (value, value - spread, value + spread)
    at, least, most = (_placed((end - low) / (high - low)) for end in ends)
    return Mark(name, told, at, least, most)


def _placed(share: float) -> str:
    return f"{100 * share:.2f}"
