import pickle
import pickletools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_archive import pickles
from fl_archive.errors import ArchiveError, NotAModel, Refused
from fl_archive.pickles import read_pickle
from fl_archive.records import Call, Pairs, text_items

from . import forge

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(0, 300), inner)
    ),
    max_leaves=30,
)


def plain(record):
    """Records turned back into what was pickled, floats as their own text to compare NaN."""
    if isinstance(record, Pairs):
        return {plain(key): plain(value) for key, value in record}
    if isinstance(record, list | tuple):
        return type(record)(map(plain, record))
    return repr(record) if isinstance(record, float) else record


def floats_as_text(value):
    if isinstance(value, dict):
        return {floats_as_text(key): floats_as_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(floats_as_text, value))
    return repr(value) if isinstance(value, float) else value


@given(VALUES, st.integers(2, 5))
def test_reads_what_python_pickles(value, protocol):
    found = read_pickle(pickle.dumps(value, protocol))
    assert plain(found.root) == floats_as_text(value)
    assert found.protocol == protocol
    assert found.oddity is None


@given(st.binary(max_size=60), st.sampled_from([b"\x80\x02", b"\x80\x04"]))
def test_reads_or_refuses_any_bytes(data, head):
    try:
        read_pickle(head + data)
    except ArchiveError:
        return


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_pickle_cut_off_anywhere_is_refused(cut):
    data = pickle.dumps({"a": [1, (2, 3.5)], "bcd": {"e": "f" * 300}}, 2)
    with pytest.raises(NotAModel):
        read_pickle(data[: len(data) * cut // 60])


def test_classes_and_calls_stay_names():
    found = read_pickle(b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.")
    assert isinstance(found.root, Call)
    assert found.root.pair == ("os", "system")
    assert found.root.args == ("ls",)
    assert found.globals == {("os", "system")}
    assert found.calls == [found.root]


def test_a_value_that_contains_itself_is_read():
    value: list[object] = []
    value.append((value, {"me": value}))
    for protocol in (2, 4):
        root = read_pickle(pickle.dumps(value, protocol)).root
        [(first, _)] = root
        assert first is root


HOSTILE = {
    "a memo index of 2^31": b"Nr\x00\x00\x00\x80.",
    "a memo index that jumps": b"Nq\x05.",
    "a memo slot written twice": b"Nq\x00Nq\x00\x86.",
    "an unknown memo index": b"h\x07.",
    "a mark never closed": b"(.",
    "values below the mark": b"N(0.",
    "a tuple from nothing": b"\x85.",
    "nothing": b".",
    "two values": b"NN.",
    "bytes after the end": b"N.N",
    "a second protocol": b"\x80\x02N.",
    "a number of four gigabytes": b"\x8b\xff\xff\xff\x7f.",
    "a long number": b"\x8a\x11" + b"\x01" * 17 + b".",
    "text beyond the end": b"X\xff\xff\xff\xffabc.",
    "text that is no UTF-8": b"X\x01\x00\x00\x00\xff.",
    "text with half a surrogate": b"X\x03\x00\x00\x00\xed\xa0\x80.",
    "an endless name": b"c" + b"a" * 600 + b"\nb\n.",
    "a name cut off": b"cos\nsystem",
    "old text opcodes": b"I1\n.",
    "an instance": b"(ios\nsystem\n.",
    "an object": b"(cos\nsystem\no.",
    "an extension": b"\x82\x01.",
    "a persistent id as text": b"P0\n.",
    "a persistent id of another form": b"K\x00Q.",
    "half a pair": b"}(Nu.",
    "entries of a list": b"]NNs.",
    "elements of a dict": b"}Na.",
    "elements of a number": b"K\x01Na.",
    "a dict from a mark": b"(NNd.",
    "opcodes of a later protocol": b"\x8c\x01a.",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_refuses(body):
    with pytest.raises(NotAModel):
        read_pickle(b"\x80\x02" + body)


@pytest.mark.parametrize("head", [b"", b"\x80", b"\x80\x01N.", b"\x80\x06N.", b"N.", b"(lp0\n."])
def test_refuses_other_protocols(head):
    with pytest.raises(NotAModel):
        read_pickle(head)


def test_refuses_a_frame_longer_than_the_file():
    with pytest.raises(NotAModel):
        read_pickle(b"\x80\x04\x95" + (1 << 62).to_bytes(8, "little") + b"N.")


def test_refuses_quantized_storages_by_name():
    body = forge.storage(kind="QInt8Storage") + b"."
    with pytest.raises(Refused, match="QInt8Storage"):
        read_pickle(b"\x80\x02" + body)


SYSTEM, SET = b"cos\nsystem\n", b"cbuiltins\nset\n"
ODD = {
    "a name with a dot": b"cos\npath.join\n.",
    "calling what was returned": SYSTEM + b")R)R.",
    "calling text": b"X\x01\x00\x00\x00a)R.",
    "a state given twice": SYSTEM + b")R}b}b.",
    "a state for a list": b"]}b.",
    "a state that changes afterwards": SYSTEM + b")R}q\x00bh\x00NNs0.",
    "entries of an unknown object": SYSTEM + b")RNNs.",
    "elements of an unknown object": SET + b")RNa.",
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_notes_as_odd(body):
    assert read_pickle(b"\x80\x02" + body).oddity


@pytest.mark.parametrize(
    "body",
    [
        b"\x8c\x02os\x8c\x09path.join\x93.",
        b"\x8c\x02os\x8c\x04path\x93)}\x92.",
    ],
    ids=["a dotted name", "keyword arguments"],
)
def test_notes_as_odd_in_later_protocols(body):
    assert read_pickle(b"\x80\x04" + body).oddity


def test_nesting_is_bounded():
    depth = pickles.MAX_DEPTH
    read_pickle(b"\x80\x02" + b"(" * depth + b"t" * depth + b".")
    with pytest.raises(NotAModel, match="deep"):
        read_pickle(b"\x80\x02" + b"(" * (depth + 1) + b"t" * (depth + 1) + b".")


def test_nesting_without_marks_is_harmless():
    found = read_pickle(b"\x80\x02N" + b"\x85" * 900_000 + b".")
    assert isinstance(found.root, tuple)


def test_the_number_of_opcodes_is_bounded():
    with pytest.raises(NotAModel, match="opcodes"):
        read_pickle(b"\x80\x02" + b"]0" * (pickles.MAX_OPCODES // 2) + b"N.")


def test_the_size_is_bounded():
    with pytest.raises(NotAModel, match="large"):
        read_pickle(bytes(pickles.MAX_BYTES + 1))


def test_every_opcode_that_is_known_means_what_python_says():
    names = {ord(op.code): op.name for op in pickletools.opcodes}
    assert {names[code] for code in pickles.PROTOCOL_2} == {
        *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
        *("BINUNICODE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "TUPLE", "MARK", "EMPTY_LIST"),
        *("APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS", "GLOBAL", "REDUCE", "NEWOBJ"),
        *("BUILD", "BINPERSID", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "POP"),
        "POP_MARK",
    }


def test_the_last_of_equal_keys_counts_in_the_first_ones_place():
    a, b = forge.text("a"), forge.text("b")
    root = read_pickle(b"\x80\x02}(" + a + b"K\x01" + b + b"K\x02" + a + b"K\x03u.").root
    assert list(text_items(root).items()) == [("a", 3), ("b", 2)]


def test_keys_with_equal_hashes_cost_no_more_than_others():
    step = (1 << 61) - 1
    keys = b"".join(b"\x8a\x10" + (i * step).to_bytes(16, "little") + b"N" for i in range(200_000))
    root = read_pickle(b"\x80\x02}(" + keys + b"u.").root
    assert text_items(root) is None
