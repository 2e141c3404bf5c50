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
    class Color(Enum):
      RED = 1

A line that only torch understands does no harm: the attribute that it declares is missing here,
so that an object which has it is refused.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fl_archive.errors import NotAModel, Refused

CLASS = re.compile(r"class (\w+)(?:\((\w+)\))?:")
LISTED = re.compile(r"  (__parameters__|__buffers__) = \[(.*)\]")
QUOTED = re.compile(r'"([^"\\]*)", ')
# With a value behind its type it is a constant.
ATTRIBUTE = re.compile(r'  (?:(\w+) : |__annotations__\["([^"\\]+)"\] = )([^=]+)')
ENUM_VALUE = re.compile(r"  \w+ = ([^\\]{1,1000})")  # torch reads escapes otherwise than Python
ASSIGNS = re.compile(r"\s+\S*\.\w+ = ")  # to an attribute
# In-place operators, those of statistics, and functions of the model's own, which may use them.
WRITES = re.compile(
    r"[^\W_]_\(|__i(?:and|or|xor|lshift|rshift)__\(|(?:batch|instance)_norm|\bout="
    r"|__torch__\.(?!torch\.nn\.functional\.)"
)
IN_WRITES = ("_(", "_norm", "out=", "__torch__.")
"""One of these is in whatever `WRITES` finds; to look for them first is much faster."""

METHOD = re.compile(r"\s+def (\w+)\(")


@dataclass(slots=True)
class Declared:
    """A class: the names of its attributes in torch's order, each with its type.

    `base` is Module, NamedTuple, Enum, Interface, ModuleInterface or nothing; `values` are those
    of an enum. `writes`: its methods may change its buffers.
    """

    base: str
    attributes: dict[str, str] = field(default_factory=dict)
    parameters: set[str] = field(default_factory=set)
    buffers: set[str] = field(default_factory=set)
    values: list[object] = field(default_factory=list)
    writes: bool = False


def read_classes(sources: Mapping[str, bytes]) -> dict[str, Declared]:
    """The classes by qualified name, from members such as `code/__torch__/a/b.py`."""
    classes: dict[str, Declared] = {}
    for member, source in sources.items():
        scope = member.removeprefix("code/").removesuffix(".py").replace("/", ".")
        try:
            lines = source.decode().split("\n")
        except UnicodeDecodeError as error:
            raise NotAModel(f"Member '{member:.80}' is not text.") from error
        for name, declared in _scan(lines):
            if classes.setdefault(f"{scope}.{name}", declared) is not declared:
                raise Refused(f"Class '{name:.80}' of the model is declared twice.")
    return classes


def _scan(lines: Iterable[str]) -> Iterable[tuple[str, Declared]]:
    declared: Declared | None = None
    owner = Declared("")  # of the methods' lines
    for line in lines:
        if line and not line[0].isspace():
            heading = CLASS.fullmatch(line)
            declared = Declared(heading[2] or "") if heading else None
            owner = declared or Declared("")
            if heading and declared is not None:
                yield heading[1], declared
        elif method := METHOD.match(line):
            if method[1] in ("__setstate__", "__getstate__"):
                raise Refused("A module of the model saves itself in its own way (__setstate__).")
            declared = None
        elif declared is not None:
            _read_line(line, declared)
        elif owner.buffers and not owner.writes:
            owner.writes = _writes(line)


def _writes(line: str) -> bool:
    """Whether a method's line may change a tensor of its module."""
    if ASSIGNS.match(line):
        return True
    return any(part in line for part in IN_WRITES) and WRITES.search(line) is not None


def _read_line(line: str, declared: Declared) -> None:
    if listed := LISTED.fullmatch(line):
        names = declared.parameters if listed[1] == "__parameters__" else declared.buffers
        names.update(QUOTED.findall(listed[2]))
    elif (attribute := ATTRIBUTE.fullmatch(line)) is not None:
        declared.attributes[attribute[1] or attribute[2]] = attribute[3]
    elif declared.base == "Enum" and (member := ENUM_VALUE.fullmatch(line)):
        declared.values.append(_literal(member[1]))


def _literal(text: str) -> object:
    """The number or text of an enum's member."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise NotAModel("An Enum of the model has a value that can't be read.") from error
