"""The compose file, read as docker compose reads it, as far as ours goes."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?::([-?])([^}]*))?\})")


def read_compose(*overlays: str, **variables: str) -> dict[str, Any]:
    """Return docker-compose.yml with these files over it, the variables filled in."""
    merged: dict[str, Any] = {}
    for name in ("docker-compose.yml", *overlays):
        document = yaml.safe_load((ROOT / name).read_text())
        merged = _merged(merged, _filled(document, variables))
    return merged


def _filled(node: Any, variables: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, variables) for value in node]
    if isinstance(node, str):
        return VARIABLE.sub(lambda found: _value(found, variables), node)
    return node


def _value(found: re.Match[str], variables: dict[str, str]) -> str:
    name, kind, default = found.groups()
    if name is None:
        return "$"
    assert name in variables or kind == "-", f"{name} has no default"
    return variables.get(name) or default


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        names = below | above
        return {name: _merged(below.get(name), above.get(name)) for name in names}
    if isinstance(below, list) and isinstance(above, list):
        return below + above
    return below if above is None else above
