"""What `/metrics/` may tell: each metric's type, labels and words, by the name without suffix."""

import re
from typing import Any

from fl_server import gauges
from fl_server_core.counters import COUNTED


def exported() -> dict[str, tuple[str, list[str], str]]:
    """Needs the database."""
    found: dict[str, Any] = {}
    for family in gauges.Gauges().collect():
        found[family.name] = (family.type, list(family._labelnames), family.documentation)
    for collector in COUNTED._collector_to_names:
        name = f"{collector._name}_total" if collector._type == "counter" else collector._name
        labels = list(collector._labelnames)
        found[name] = (collector._type, labels, collector._documentation)
    return found


def names_in(expression: str, known: dict[str, Any]) -> set[str]:
    """Return the metrics that an expression of PromQL names, without a histogram's suffixes."""
    names = set(re.findall(r"\bfl_\w+", expression))
    return {
        base if known.get(base := re.sub("_(bucket|count|sum)$", "", name)) else name
        for name in names
    }
