"""The words of TorchScript that are admitted, and small readers of its syntax trees."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

# ruff: noqa: SIM905 - lists of words read better as lines of words

# Names are short, because torch takes mangled ones apart by std::regex, which recurses over them.
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
SOURCE_PATH = re.compile(r"(?:code/)?(__torch__(?:/[A-Za-z_][A-Za-z0-9_]{0,254})*)\.py")
CHECKED = "__torch__.fl_checked"  # the functions of checked.txt
DIVISIONS = frozenset({"torch.divmod", "torch.floordiv", "torch.remainder"})
"""With integers these crash the process if the divisor is 0, or -1 and the number the smallest."""
DTYPES: dict[str, tuple[int, ...]] = {
    "torch.addmm": (3,),
    "torch.baddbmm": (3,),
    "torch.bmm": (2,),
    "torch.log_softmax": (2,),
    "torch.mm": (2,),
    "torch.softmax": (2,),
    "torch.to": (1, 2),
    "torch.view": (1,),
}
"""Positions of a dtype that is not passed by name: a number, which torch doesn't check."""
NUMBERED = frozenset({"dtype", "layout", "memory_format", "out_dtype"})  # when passed by name
KNOWN_DTYPES = frozenset({*range(12), 15})
NO_ENUM = frozenset({"ops.prim.device", "ops.prim.dtype", "torch.device", "torch.size"})
FORMATS: dict[str, tuple[int, ...]] = {"torch.is_contiguous": (1,), "torch.to": (4, 5)}
"""Positions of a memory format, likewise."""
LAYERS = frozenset({"torch.gru", "torch.lstm", "torch.rnn_relu", "torch.rnn_tanh"})
GUARDED = frozenset(path.rpartition(".")[2] for path in (*DIVISIONS, *DTYPES, *FORMATS, *LAYERS))
REPEATABLE = frozenset(
    "int torch.__getitem__ torch.add torch.dim torch.len torch.mul torch.neg torch.numel "
    "torch.pow torch.select torch.size torch.sub".split()
)  # calls that may be written twice
OUTPUTS = frozenset(
    "L LD LU M P Q R S U V Vh X a bin_edges buffer eigenvalues eigenvectors eigvals eigvecs "
    "exponent hist indices info inverse is_target logabsdet mantissa max max_values min "
    "min_indices out out0 out1 out2 output pivots rank residuals result sign singular_values "
    "solution tau total_weight values".split()
)  # names by which an operator is given what it writes into
WRITES = "torch.div"  # may do so: torch.nn.functional.normalize has it
BOUND_IN_C = "__torch__.torch.classes"  # looked up before the archive's own classes
TAKEN = (BOUND_IN_C, CHECKED)
REPLACED = "_packed_params"  # has a type of its own in some classes, whatever the code declares

NUMBERS = frozenset({"inf", "infj", "nan", "nanj"})
SPACES = frozenset({"CONSTANTS", "__torch__", "ops", "torch"})
FORMS = frozenset({"annotate", "getattr", "isinstance", "unchecked_cast", "uninitialized"})
# Without fork: another thread could change a tensor between its check and its use.
PLAIN = frozenset({"bool", "complex", "float", "int", "print", "range", "sorted", "str"})
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


def checked() -> frozenset[str]:
    """The functions of checked.txt, which stand for operators that don't check their arguments."""
    text = (Path(__file__).parent.parent / "checked.txt").read_text("ascii")
    return frozenset(re.findall(r"^def (\w+)\(", text, re.MULTILINE))


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
