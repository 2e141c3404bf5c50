"""Pickles as this reader and as Python's own unpickler understand them.

Admitted pickles go out byte for byte, so whatever is accepted without oddity must mean the
same to both. Python's gets classes that only note what is done to them.
"""

import io
import pickle
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_archive.dtypes import STORAGES
from fl_archive.errors import ArchiveError
from fl_archive.pickles import read_pickle
from fl_archive.records import UNSET, Call, Global, Pairs, Storage

from . import zoo


class Noted:
    """What an object was made with and filled with; subclasses are named after what they mimic."""

    def __new__(cls, *args):
        self = super().__new__(cls)
        self.args, self.items, self.state = args, {}, UNSET
        return self

    def __setstate__(self, state):
        self.state = state

    def __setitem__(self, key, value):
        self.items[key] = value


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        return type("Named", (Noted,), {"pair": (module, name)})

    def persistent_load(self, pid):
        kind, storage_class, key, location, numel = pid
        assert kind == "storage"
        return Storage(STORAGES[storage_class.pair[1]], key, location, int(numel))


def described(value, seen=None):
    """The value as nested tuples, things met before by number."""
    seen = {} if seen is None else seen
    if isinstance(value, (Storage, str, int, float, bytes)) or value is None or value is UNSET:
        return repr(value)
    if isinstance(value, Global):
        return ("name", value.pair)
    if isinstance(value, type):
        return ("name", value.pair)
    if not isinstance(value, tuple):
        if id(value) in seen:
            return ("again", seen[id(value)])
        seen[id(value)] = len(seen)
    if isinstance(value, (Call, Noted)):
        args, state = described(value.args, seen), described(value.state, seen)
        return ("made", value.pair, args, state, *entries(value.items or {}, seen))
    if isinstance(value, (Pairs, dict)):
        return ("dict", *entries(value, seen))
    return (type(value).__name__, *(described(part, seen) for part in value))


def entries(filled, seen):
    pairs = dict(filled).items()
    return [(described(key, seen), described(value, seen)) for key, value in pairs]


def real_pickle(folder, name, saver):
    path = folder / "m"
    zoo.TORCH_SAVERS[saver](zoo.build(name), path)
    with zipfile.ZipFile(path) as file:
        member = next(n for n in file.namelist() if n.endswith("/data.pkl"))
        return file.read(member)


def python_reads(data):
    # Without fix_imports: names are compared as they are spelt.
    return Unpickler(io.BytesIO(data), fix_imports=False).load()


SAVERS = ["module", "state_dict", "torchscript"]


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("name", ["net", "tied", "encoder"])
def test_torchs_pickles_mean_the_same(name, saver, tmp_path):
    data = real_pickle(tmp_path, name, saver)
    found = read_pickle(data)
    assert found.oddity is None
    assert described(found.root) == described(python_reads(data))


@pytest.mark.parametrize("saver", SAVERS)
def test_accepted_mutants_mean_the_same(saver, tmp_path):
    original = real_pickle(tmp_path, "tied", saver)
    agreed = 0

    @given(st.integers(2, len(original) - 2), st.sampled_from(sorted(set(original))), st.booleans())
    @settings(max_examples=500)
    def check(position, byte, inserted):
        nonlocal agreed
        data = original[:position] + bytes([byte]) + original[position + (not inserted) :]
        try:
            found = read_pickle(data)
        except ArchiveError:
            return
        if found.oddity is not None or found.scripted is not None:
            return
        try:
            expected = python_reads(data)
        except TypeError as error:  # a list as a key: nobody's unpickler takes it
            assert "unhashable" in str(error)  # noqa: PT017 - not expected, but allowed
            return
        assert described(found.root) == described(expected)
        agreed += 1

    check()
    assert agreed > 20
