"""What the pickle of a saved `torch.nn.Module` may hold, beyond its tensors, to be handed on."""

from collections.abc import Collection, Iterable, Iterator

from fl_archive.admitted import Called, Pair, check_calls, check_globals, check_state
from fl_archive.errors import Refused
from fl_archive.modules import check_modules
from fl_archive.records import UNSET, Call, Global, Pairs, Pickle, text_items
from fl_archive.views import TYPED_CALL, WRAPPERS

ORDERED_DICT = ("collections", "OrderedDict")
SETS = {("__builtin__", "set"), ("__builtin__", "frozenset")}
OVERLOADS = "__overloads__"
MAX_KEY_DEPTH = 10
MAX_KEY_PARTS = 1_000_000


def check_module(pickle: Pickle, extra: Collection[Pair]) -> None:
    """Raise `Refused` for what a module made of admitted classes and `extra` doesn't hold."""
    if pickle.scripted is not None:
        raise Refused(pickle.scripted)
    check_globals(sorted(pickle.globals), extra=extra)
    check_calls(_calls(pickle), extra=extra)
    _check_keys(pickle)
    for call in pickle.calls:
        _check_states(call, extra)
    check_modules(pickle, extra)


def _calls(pickle: Pickle) -> Iterator[Called]:
    for call in pickle.calls:
        yield Called(call.pair, len(call.args), call.new)
        match call.args:
            case (Global() as callee, _, tuple(args), _) if call.pair == TYPED_CALL:
                yield Called(callee.pair, len(args))  # which is what the rebuild function does


def _check_states(call: Call, extra: Collection[Pair]) -> None:
    if call.pair in WRAPPERS:
        for state in call.args[3:]:
            check_state(_entries(call, state), of="Tensor")
    if call.state is UNSET:
        return
    entries = _entries(call, call.state)
    if call.pair == ORDERED_DICT:
        check_state(entries, of="OrderedDict")
        return
    if _is_left_by_scripting(entries.get(OVERLOADS)):
        del entries[OVERLOADS]
    if call.pair in extra:
        check_state(entries)
    else:
        check_state(entries, of="Module")
        _check_hooks(entries)


def _is_left_by_scripting(overloads: object) -> bool:
    """Whether it names a method's variants as torch.jit.script does; mostly it is empty."""
    names = text_items(overloads) if isinstance(overloads, Pairs) else None
    return names is not None and all(
        type(variants) is list
        and variants == [f"{name}__{number}" for number in range(len(variants))]
        for name, variants in names.items()
    )


def _entries(call: Call, state: object) -> dict[str, object]:
    if state is None:
        return {}
    entries = None if isinstance(state, Call) else text_items(state)
    if entries is None:
        raise Refused(f"The file gives {call.pair[1][:80]!a} a state that is not a dict of names.")
    return entries


def _check_hooks(entries: dict[str, object]) -> None:
    for name, value in entries.items():
        if "_hooks" in name and text_items(value) != {}:
            raise Refused(f"The file holds hooks ({name[:80]!a}): save the module without.")


# --- What is hashed while the file is loaded ------------------------------------------------


def _check_keys(pickle: Pickle) -> None:
    """Python hashes tuples by recursion, without a limit: a deep one ends the process."""
    pending = [(key, 0) for key in _keys(pickle)]
    for _ in range(MAX_KEY_PARTS):
        if not pending:
            return
        key, depth = pending.pop()
        if type(key) is tuple:
            if depth == MAX_KEY_DEPTH:
                break
            pending += [(part, depth + 1) for part in key]
    raise Refused("The file's pickle has keys that are nested too deeply or too large.")


def _keys(pickle: Pickle) -> Iterator[object]:
    yield from pickle.keys
    for call in pickle.calls:
        if call.pair in SETS:
            for elements in call.args:
                yield from elements if isinstance(elements, Iterable) else ()
