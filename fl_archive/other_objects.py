"""Files that torch wrote, of something else than a model or a state dict."""

from collections import deque
from collections.abc import Iterator
from itertools import islice

from fl_archive.errors import UNEXPECTED, NotAModel, shown
from fl_archive.records import Call, Pairs, text_items
from fl_archive.views import is_tensor

MAX_LOOKED = 10_000
MAX_DEPTH = 4
MAX_KEY = 60


def explain(root: object) -> NotAModel:
    """The error for a root that is neither a module nor a dict of tensors by name."""
    entries = text_items(root) or {}
    own = sum(map(is_tensor, entries.values()))
    sizes = dict(islice(_inside(root), MAX_LOOKED))
    inside = max(sizes, key=lambda where: sizes[where], default="")
    if sizes.get(inside, 0) > own:
        return NotAModel(
            f"The file is a checkpoint, which holds more than its state dict, {inside}. "
            f"Send that state dict alone: torch.save({inside}, file). A new model that is to make "
            "predictions is the module with it loaded, saved by torch.jit.trace(model, "
            "example_input)."
        )
    if own:
        strange = next(name for name, value in entries.items() if not is_tensor(value))
        return NotAModel(f"Entry {shown(strange)} is no tensor: send model.state_dict() without.")
    return NotAModel(
        UNEXPECTED,
        "An update, or a model's weights alone, is torch.save(model.state_dict(), file).",
    )


def _inside(root: object) -> Iterator[tuple[str, int]]:
    """How Python would name what is in the root, with the number of tensors right in it.

    A module counts as a large state dict.
    """
    pending, seen = deque([("checkpoint", root, 0)]), {id(root)}
    while pending:
        where, record, depth = pending.popleft()
        for key, value in _entries(record) if depth < MAX_DEPTH else ():
            if id(value) in seen:  # one large value may be referred to a thousand times
                continue
            seen.add(id(value))
            inner = f"{where}[{key!a}]"
            state = text_items(value.state) if isinstance(value, Call) else None
            if state is not None and "_modules" in state:
                yield f"{inner}.state_dict()", MAX_LOOKED
                continue
            tensors = (text_items(value) or {}).values()
            yield inner, sum(map(is_tensor, tensors))
            pending.append((inner, value, depth + 1))


def _entries(record: object) -> Iterator[tuple[str | int, object]]:
    """What a list or a dict with short names holds; numbered keys are an optimizer's."""
    if isinstance(record, Call):
        record = record.items
    if isinstance(record, Pairs):
        for key, value in record:
            if isinstance(key, str) and len(key) <= MAX_KEY:
                yield key, value
    elif isinstance(record, list | tuple):
        yield from enumerate(record)
