"""What the code of a TorchScript archive says about its classes.

Read line by line, as torch prints them, because parsing Python costs hundreds of times the
text's size:

    class Linear(Module):
      __parameters__ = ["weight", "bias", ]
      __buffers__ = []
      weight : Tensor
      __annotations__["0"] = Tensor
      in_features : Final[int] = 2
      def forward(self: ...
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fl_server_core.archive.errors import NotAModel, Refused

CLASS = re.compile(r"class (\w+)\((\w+)\):")
LISTED = re.compile(r"  (__parameters__|__buffers__) = \[(.*)\]")
QUOTED = re.compile(r'"([^"\\]*)", ')
ATTRIBUTE = re.compile(r'  (?:(\w+) : |__annotations__\["([^"\\]+)"\] = )(.+)')
METHOD = re.compile(r"\s+def (\w+)\(")


@dataclass(slots=True)
class Declared:
    """A module class: the names of its attributes in torch's order, each with its type."""

    attributes: dict[str, str] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    buffers: set[str] = field(default_factory=set)


def read_classes(sources: Mapping[str, bytes]) -> dict[str, Declared]:
    """The module classes by qualified name, from members such as `code/__torch__/a/b.py`."""
    classes: dict[str, Declared] = {}
    for member, source in sources.items():
        scope = member.removeprefix("code/").removesuffix(".py").replace("/", ".")
        try:
            lines = source.decode().split("\n")
        except UnicodeDecodeError as error:
            raise NotAModel(f"Member '{member:.80}' is not text.") from error
        for name, declared in _scan(lines):
            classes[f"{scope}.{name}"] = declared
    return classes


def _scan(lines: Iterable[str]) -> Iterable[tuple[str, Declared]]:
    declared: Declared | None = None
    for line in lines:
        if line and not line[0].isspace():
            heading = CLASS.fullmatch(line)
            declared = Declared() if heading and heading[2] == "Module" else None
            if heading and declared is not None:
                yield heading[1], declared
        elif method := METHOD.match(line):
            if method[1] in ("__setstate__", "__getstate__"):
                raise Refused("A module of the model saves itself in its own way (__setstate__).")
            declared = None
        elif declared is not None:
            _read_line(line, declared)


def _read_line(line: str, declared: Declared) -> None:
    if listed := LISTED.fullmatch(line):
        names = declared.parameters if listed[1] == "__parameters__" else declared.buffers
        names.update(QUOTED.findall(listed[2]))
    elif (attribute := ATTRIBUTE.fullmatch(line)) and not attribute[3].startswith("Final["):
        declared.attributes[attribute[1] or attribute[2]] = attribute[3]
