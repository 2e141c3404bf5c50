"""The values in a TorchScript archive, held against the types that its code declares.

Torch believes the declarations: it reads the attributes of an object of another class past the
object's end. So every value must be of its type, in the form in which torch writes it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from fl_archive.declared import Declared
from fl_archive.errors import Refused
from fl_archive.records import Bare, Call, Pairs, text_items
from fl_archive.script_types import ANY, ScriptType, parse_type
from fl_archive.views import TENSOR_CALLS

MAX_DEPTH = 100
"""Objects within each other; torch reads and frees them by recursion."""

MAX_VISITS = 1_000_000

DEVICE = re.compile(r"[a-z]{1,20}(:\d{1,3})?", re.ASCII)
PICKLE = "torch.jit._pickle"
BUILDERS = {"bool": "boollist", "float": "doublelist", "int": "intlist", "Tensor": "tensorlist"}
BUILT = {
    (PICKLE, f"build_{builder}"): ScriptType("List", (ScriptType(name),))
    for name, builder in BUILDERS.items()
}
KEYS = frozenset({"Tensor", "bool", "complex", "float", "int", "str"})


def called(value: object, module: str, name: str) -> tuple[object, ...]:
    """The arguments, if the value is what this function returns and nothing more; else none."""
    if not isinstance(value, Call) or value.pair != (module, name):
        return ()
    return () if value.new or value.filled or isinstance(value.args, Bare) else value.args


class TypeCheck:
    """One walk over a model's values; what is referred to twice is looked at twice."""

    def __init__(self, classes: Mapping[str, Declared]) -> None:
        self.classes = classes
        self.types: dict[str, ScriptType] = {}
        self.tagged: dict[int, object] = {}
        self.visits = 0

    def check(self, root: object, constants: object) -> None:
        """Raise `Refused` unless attributes and constants are of their types.

        For pickles that hold nothing aside (`Pickle.unscripted`): all is reached from here.
        """
        if type(constants) is not tuple or not all(self.fits(ANY, value) for value in constants):
            raise Refused("The model's constants hold something that torch doesn't write there.")
        if not isinstance(root, Call) or not self.fits(ScriptType(_class(root)), root):
            raise Refused("The model's class is not declared in its code.")

    def fits(self, expected: ScriptType, value: object, depth: int = 0) -> bool:
        """Whether the value is of the type; raises `Refused` if an object's attribute isn't."""
        self.visits += 1
        if depth > MAX_DEPTH or self.visits > MAX_VISITS:
            raise Refused("The model's attributes hold too much, or are nested too deeply.")
        if simple := SIMPLE.get(expected.name):
            return not expected.of and simple(value)
        if generic := GENERIC.get(expected.name):
            return generic(self, expected, value, depth + 1)
        return self._is_instance(expected, value, depth + 1)

    def _type(self, text: str) -> ScriptType:
        """The type by that name, parsed once."""
        if text not in self.types:
            self.types[text] = parse_type(text)
        return self.types[text]

    # --- The model's own classes ------------------------------------------------------------

    def _is_instance(self, expected: ScriptType, value: object, depth: int) -> bool:
        declared = self.classes.get(expected.name)
        if declared is None:
            return False
        if declared.base == "NamedTuple":
            fields = tuple(map(self._type, declared.attributes.values()))
            return self._is_tuple(ScriptType("Tuple", fields), value, depth)
        if not isinstance(value, Call) or _class(value) != expected.name:
            return False
        if declared.base == "Enum":
            return _is_enum_value(declared, value)
        if declared.base not in ("", "Module"):
            return False
        self._check_attributes(declared, value, depth)
        return True

    def _check_attributes(self, declared: Declared, made: Call, depth: int) -> None:
        owner = _class(made)[:120]
        if not (made.new and made.args == () and isinstance(made.state, Pairs)):
            raise Refused(f"A {owner} is not built as torch does.")
        entries = text_items(made.state) or {}
        if entries.keys() != declared.attributes.keys() or len(entries) != len(made.state):
            raise Refused(f"A {owner} has other attributes than its code declares.")
        for name, text in declared.attributes.items():
            if not self.fits(self._type(text), entries[name], depth):
                raise Refused(f"Attribute {name[:80]!a} of {owner} is not of its type {text:.120}.")

    # --- Types of types ---------------------------------------------------------------------

    def _is_tuple(self, expected: ScriptType, value: object, depth: int) -> bool:
        if type(value) is not tuple or len(value) != len(expected.of):
            return False
        return all(self.fits(*pair, depth) for pair in zip(expected.of, value, strict=True))

    def _is_optional(self, expected: ScriptType, value: object, depth: int) -> bool:
        return value is None or self._is_one_of(expected.of, value, depth)

    def _is_union(self, expected: ScriptType, value: object, depth: int) -> bool:
        return self._is_one_of(expected.of, value, depth)

    def _is_one_of(self, types: Iterable[ScriptType], value: object, depth: int) -> bool:
        return any(self.fits(expected, value, depth) for expected in types)

    def _is_list(self, expected: ScriptType, value: object, depth: int) -> bool:
        [item, *more] = expected.of or [ANY]
        match self._contents(expected, value):
            case [list(elements)] if type(elements) is list and not more:
                return all(self.fits(item, element, depth) for element in elements)
        return False

    def _is_dict(self, expected: ScriptType, value: object, depth: int) -> bool:
        match expected.of, self._contents(expected, value):
            case (key, item), [Pairs() as pairs] if key.name in KEYS:
                return all(
                    self.fits(key, name, depth) and self.fits(item, element, depth)
                    for name, element in pairs
                )
        return False

    def _contents(self, expected: ScriptType, value: object) -> list[object]:
        """The list or dict that is tagged as, or built into, one of this type and no other."""
        if isinstance(value, Call) and BUILT.get(value.pair) == expected:
            return list(called(value, *value.pair))
        match called(value, PICKLE, "restore_type_tag"):
            case (contents, str(text)) if text == str(expected):
                return [contents] if self._is_alone(contents, value) else []
        return []

    def _is_alone(self, contents: object, value: object) -> bool:
        """Torch writes the tag into the contents, so that a second tag would change their type."""
        return self.tagged.setdefault(id(contents), value) is value

    def _is_any(self, expected: ScriptType, value: object, depth: int) -> bool:
        """Whether it is of the type that it says itself."""
        if type(value) is tuple:
            return all(self.fits(expected, element, depth) for element in value)
        return self._is_one_of([*map(ScriptType, SIMPLE), *self._said(value)], value, depth)

    def _said(self, value: object) -> Iterator[ScriptType]:
        if not isinstance(value, Call):
            return
        yield BUILT.get(value.pair) or ScriptType(_class(value))
        match called(value, PICKLE, "restore_type_tag"):
            case (_, str(text)):
                yield self._type(text)


def _class(made: Call) -> str:
    return ".".join(made.pair)


def _is_enum_value(declared: Declared, value: Call) -> bool:
    """By type and value; torch's reader leaves its stack in disorder if there is no such member."""
    if value.new or value.filled or not isinstance(value.args, Bare):
        return False
    [given] = value.args
    return any(type(given) is type(known) and given == known for known in declared.values)


def _is_complex(value: object) -> bool:
    return [type(part) for part in called(value, "builtins", "complex")] == [float, float]


def _is_device(value: object) -> bool:
    match called(value, "torch", "device"):
        case (str(text),):
            return DEVICE.fullmatch(text) is not None
    return False


def _is_tensor(value: object) -> bool:
    """Where its bytes lie is checked with all the calls of its pickle."""
    return any(called(value, *pair) for pair in TENSOR_CALLS)


SIMPLE: dict[str, Callable[[object], bool]] = {
    "NoneType": lambda value: value is None,
    "bool": lambda value: type(value) is bool,
    "int": lambda value: type(value) is int and -(1 << 63) <= value < 1 << 63,
    "float": lambda value: type(value) is float,
    "complex": _is_complex,
    "str": lambda value: type(value) is str,
    "Device": _is_device,
    "Tensor": _is_tensor,
}
GENERIC: dict[str, Callable[[TypeCheck, ScriptType, object, int], bool]] = {
    "Any": TypeCheck._is_any,
    "Dict": TypeCheck._is_dict,
    "List": TypeCheck._is_list,
    "Optional": TypeCheck._is_optional,
    "Tuple": TypeCheck._is_tuple,
    "Union": TypeCheck._is_union,
}
