"""Moving a model's tensors to the processor, by the names of devices in its pickle.

What torch saves from a GPU says so with each storage, and can't be loaded where there is none.
"""

import re
from dataclasses import replace

from fl_archive.errors import ArchiveError, Refused
from fl_archive.pickles import read_pickle
from fl_archive.records import Call, Pickle, Storage

PLACED = re.compile(
    # Text of some letters, behind which comes all that follows a location in a storage's tuple:
    # the memo, a number, the tuple's end, the memo, and the opcode that makes it a storage.
    rb"X.\0\0\0(?:cuda|mps|xpu|hpu)(?::\d{1,3})?"
    rb"(?=(?:q.|r....)?(?:K.|M..|J....|\x8a.{1,17}?)t(?:q.|r....)?Q)",
    re.DOTALL,
)
CPU = b"X\3\0\0\0cpu"


def move_to_cpu(data: bytes, pickle: Pickle) -> bytes:
    """Return the pickle's bytes with every storage on the processor.

    They are read again: `Refused` if they don't say the same but for the storages' location.
    """
    abroad = [storage.location for storage in pickle.storages if storage.location != "cpu"]
    if not abroad:
        return data
    moved = PLACED.sub(CPU, data)
    if not _alike(pickle, moved):
        raise Refused(f"A tensor lies on device {abroad[0][:40]!a}: save the model from cpu.")
    return moved


def _alike(before: Pickle, moved: bytes) -> bool:
    """Whether both are the same but for locations, which are the processor's afterwards."""
    try:
        pending = [(before.root, read_pickle(moved).root)]
    except ArchiveError:  # what was replaced was no location
        return False
    seen = set()
    while pending:
        one, two = pending.pop()
        if type(one) is not type(two):
            return False
        if isinstance(one, Call | list | tuple):
            if id(one) in seen:
                continue
            seen.add(id(one))
            parts, others = _parts(one), _parts(two)
            if len(parts) != len(others):
                return False
            pending += zip(parts, others, strict=True)
        elif isinstance(one, Storage):
            if replace(one, location="cpu") != two:
                return False
        elif repr(one) != repr(two):  # a NaN is the same, too
            return False
    return True


def _parts(record: object) -> list[object]:
    if isinstance(record, Call):
        state = [record.callee, record.args, record.new, record.state]
        return [*state, record.items, record.elements]
    return list(record) if isinstance(record, list | tuple) else []
