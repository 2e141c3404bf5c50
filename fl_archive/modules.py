"""The modules of an eager model's pickle, held against what their constructors leave in them."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from itertools import chain

from fl_archive.admitted import Pair, shown
from fl_archive.constructors import NONE, RULES, Complaint, Facts
from fl_archive.constructors.constraints import FLAG
from fl_archive.errors import Refused
from fl_archive.measured import Measured, is_module
from fl_archive.records import UNSET, Call, Pickle, text_items
from fl_archive.views import is_tensor

MAX_CALLS = 50_000
"""Of modules in one call of the model; one that is there twice is called twice."""

MAX_DEPTH = 100
"""Modules within each other: Python calls them by recursion."""

MAX_ATTRIBUTES = 1000
MAX_HELD = 1_000_000
"""Values in one attribute, counted as often as they are referred to."""

MAX_NESTING = 50
MAX_ENTRIES = 2_000_000
"""Attributes, tensors and children of all modules: each takes an opcode, unless they are shared."""

ANEW = (
    "Make that module anew by its class, load the old one's weights into it "
    "(new.load_state_dict(old.state_dict())), and save the model with it."
)
PARTS = ("_parameters", "_buffers", "_modules")


def check_modules(pickle: Pickle, extra: Collection[Pair]) -> None:
    """Raise `Refused` for a module that its class' constructor could not have made.

    Of the classes in `extra`, which nothing is known about, only the size of their attributes is
    checked. For pickles whose tensors were read before, by `read_view`.
    """
    measured = Measured([pickle.root, *pickle.calls])
    known: dict[int, Facts] = {}
    entries = 0
    for module in measured.modules:  # children before what they are in
        facts = known[id(module)] = Facts(module, known)
        entries += len(facts.state) + len(facts.tensors) + len(facts.modules)
        if entries > MAX_ENTRIES:
            raise Refused("The model's modules share what they hold.")
        complaint = next(_complaints(module, facts, measured, extra), None)
        if complaint is not None:
            path = _paths(pickle.root, known).get(id(module))
            raise Refused(_sentence(module, path, complaint))


def _complaints(
    module: Call, facts: Facts, measured: Measured, extra: Collection[Pair]
) -> Iterator[Complaint]:
    yield from _excesses(module, facts, measured)
    if module.pair in extra:
        return
    if module.pair[1] not in RULES:
        raise Refused(f"The file makes an object of {shown(module.pair)} as torch doesn't.")
    if id(module) in measured.cyclic:
        yield Complaint("it", "is a part of itself")
    yield from _structure(module, facts)
    rule = RULES[module.pair[1]]
    for name, value in facts.state.items():
        if name not in (*PARTS, *rule.attributes) and measured.of(value).acts:
            yield Complaint(name, "holds something that can be called")
    yield from rule.complaints(facts)


def _excesses(module: Call, facts: Facts, measured: Measured) -> Iterator[Complaint]:
    whole = measured.of(module)
    if whole.calls > MAX_CALLS or whole.depth > MAX_DEPTH:
        yield Complaint("_modules", "holds too many modules, or modules nested too deeply")
    if len(facts.state) > MAX_ATTRIBUTES:
        yield Complaint("__dict__", f"has more than {MAX_ATTRIBUTES} attributes")
    for name, value in facts.state.items():
        extent = measured.of(value)
        if extent.values > MAX_HELD or extent.nesting > MAX_NESTING:
            yield Complaint(name, "holds too much, or is nested too deeply")
        if extent.huge:
            yield Complaint(name, "holds a number of more than 64 bits")


def _structure(module: Call, facts: Facts) -> Iterator[Complaint]:
    """What `Module.__init__` makes."""
    for name in PARTS:
        if module.state is UNSET or text_items(facts.state.get(name)) is None:
            yield Complaint(name, "must be a dict of names")
    if not FLAG.holds(facts.training):
        yield Complaint("training", f"must be {FLAG.words}")
    for name, tensor in facts.tensors.items():
        if tensor is not None and not is_tensor(tensor):
            yield Complaint(name, "must be a tensor")
    for name, child in facts.modules.items():
        if child is not None and not is_module(child):
            yield Complaint(name, "must be a module")
    places = (facts.state, facts.parameters, facts.buffers, facts.modules)
    for name, count in Counter(chain.from_iterable(places)).items():
        if count > 1:  # Python looks in one place, and in another for what has the same name
            yield Complaint(name, "is there twice, as an attribute, parameter, buffer or child")


# --- What is said ------------------------------------------------------------------------------


def _paths(root: object, known: Mapping[int, Facts]) -> dict[int, str]:
    """The modules' names as `named_modules()` has them, of those that were looked at."""
    paths = {id(root): ""}
    pending = [root]
    while pending:
        module = pending.pop()
        facts = known.get(id(module)) or (Facts(module) if isinstance(module, Call) else NONE)
        for name, child in facts.modules.items():
            if id(child) not in paths:
                paths[id(child)] = f"{paths[id(module)]}.{name}".lstrip(".")[:200]
                pending.append(child)
    return paths


def _sentence(module: Call, path: str | None, complaint: Complaint) -> str:
    where = "The model" if not path else f"Module {path!a}"
    where = "A module in an attribute" if path is None else where
    given = _shown((text_items(module.state) or {}).get(complaint.subject))
    subject = ascii(complaint.subject[:80])[1:-1]
    return f"{where} (a {module.pair[1][:80]}): {subject} {complaint.words}{given}. {ANEW}"


def _shown(value: object) -> str:
    return f"; it is {value!a:.40}" if isinstance(value, int | float | str) else ""
