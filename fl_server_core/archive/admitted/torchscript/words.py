"""The words of TorchScript that are admitted, and small readers of its syntax trees."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

# Names are short: torch takes the mangled ones apart by std::regex, which recurses over them.
TOKENS = re.compile(
    r"""(?:
      (?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?j?(?![A-Za-z0-9_])
    | [A-Za-z_][A-Za-z0-9_]{0,254}(?![A-Za-z0-9_])
    | ""(?!") | ''(?!')
    | "(?:[^"\\\n]|\\[^\n])++" | '(?:[^'\\\n]|\\[^\n])++'
    | -> | [()\[\]{},:.=+-]
    | [ \n]
    )*+""",
    re.VERBOSE,
)
MEMBER = re.compile(r"(?:code/)?(__torch__(?:/[A-Za-z_][A-Za-z0-9_]{0,254})*)\.py")
BOUND_IN_C = "__torch__.torch.classes"  # looked up before the archive's own classes
REPLACED = "_packed_params"  # of some classes by name, whatever type the code declares

NUMBERS = frozenset({"inf", "infj", "nan", "nanj"})
SPACES = frozenset({"CONSTANTS", "__torch__", "ops", "torch"})
FORMS = frozenset({"annotate", "getattr", "isinstance", "unchecked_cast", "uninitialized"})
PLAIN = frozenset({"bool", "complex", "float", "fork", "int", "print", "range", "sorted", "str"})
RESERVED = SPACES | FORMS | NUMBERS | {"awaitable", "fork"}
TYPES = frozenset(
    {"Any", "AnyEnumType", "Device", "Generator", "NoneType", "Stream", "Tensor", "bool"}
    | {"complex", "float", "int", "number", "str"}
)
GENERICS = frozenset({"Dict", "Final", "Future", "List", "Optional", "Tuple", "Union"})
BASES = frozenset({"Enum", "Interface", "Module", "ModuleInterface", "NamedTuple"})
NAME_LISTS = frozenset(
    {"__buffers__", "__forward_hooks__", "__forward_pre_hooks__", "__parameters__"}
)
OF_ANY_VALUE = frozenset({"name", "tolist", "value"})  # enum members and tensors
AT_LOAD = frozenset({"__getstate__", "__setstate__"})
RENAMED = {"torch.autograd.backward": "torch.backward", "torch.autograd.grad": "torch.grad"}


class Denied(Exception):
    """The code holds something that is not admitted; the message is the sentence."""


def listed(name: str) -> frozenset[str]:
    """The lines of a checked-in list."""
    return frozenset((Path(__file__).parent.parent / name).read_text("ascii").split())


def dotted(node: ast.expr) -> str:
    """`a.b.c` as it stands, or nothing where it does not begin with a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def starts(path: str, name: str) -> bool:
    """Whether the dotted path is the name or begins with it."""
    return f"{path}.".startswith(f"{name}.")


def plain_text(node: ast.expr) -> str:
    """A string that both lexers read alike (one literal, no escapes), or nothing."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        width = (node.end_col_offset or 0) - node.col_offset
        if width == len(node.value) + 2 and re.fullmatch(r"[^\"'\\:]+", node.value):
            return node.value
    return ""


def stored_names(function: ast.FunctionDef) -> Iterator[str]:
    """The names that the body binds, with those of inner functions and their arguments."""
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.FunctionDef) and node is not function:
            yield node.name
        elif isinstance(node, ast.arg) and node not in function.args.args:
            yield node.arg


def stray(text: str) -> str:
    """The first character that is no part of a token that both lexers read alike."""
    match = TOKENS.match(text)
    return text[match.end() :][:1] if match else text[:1]
