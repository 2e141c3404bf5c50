"""Pickles that torch would never write, in archives as it writes them."""

import pytest
import torch

from fl_archive import trees
from fl_archive.errors import NotAModel

from . import forge
from .forge import admit, expect_refused

ONE = forge.module({"w": forge.tensor()})


def test_the_forged_archive_is_fine_when_nothing_is_wrong_with_it(tmp_path):
    path = forge.archive(tmp_path / "m", ONE)
    assert list(admit(path).tensors) == ["w"]
    assert torch.load(tmp_path / "admitted", weights_only=False).state_dict().keys() == {"w"}


HALF = forge.storage(kind="HalfStorage", numel=8)
BYTES = forge.storage(kind="UntypedStorage", numel=16)
TENSORS = {
    "a block that is missing": forge.tensor(forge.storage(key="1")),
    "a block smaller than claimed": forge.tensor(forge.storage(numel=5)),
    "a block larger than claimed": forge.tensor(forge.storage(numel=3), shape=(3,)),
    "a block of elements of another size": forge.tensor(forge.storage(kind="HalfStorage")),
    "a block outside its folder": forge.tensor(forge.storage(key="../data/0")),
    "a block by a full-width digit": forge.tensor(forge.storage(key="\uff10")),
    "a block of negative size": forge.tensor(forge.storage(numel=-4)),
    "a storage on the meta device": forge.tensor(forge.storage(where="meta")),
    "a storage on a made-up device": forge.tensor(forge.storage(where="cpu; rm")),
    "an end outside the block": forge.tensor(shape=(5,)),
    "an offset outside the block": forge.tensor(offset=1),
    "a huge offset": forge.tensor(offset=1 << 63),
    "a negative offset": forge.tensor(offset=-1),
    "a negative size": forge.tensor(shape=(-4,)),
    "a negative stride": forge.tensor(offset=3, stride=(-1,)),
    "a stride outside the block": forge.tensor(stride=(2,)),
    "a huge stride": forge.tensor(shape=(2,), stride=(1 << 62,)),
    "sizes whose product wraps": forge.tensor(shape=(1 << 40, 1 << 40), stride=(0, 0)),
    "more sizes than strides": forge.tensor(shape=(2, 2)),
    "too many dimensions": forge.tensor(shape=(1,) * 65, stride=(1,) * 65),
    "an expanded tensor": forge.tensor(shape=(4, 4), stride=(0, 1)),
    "overlapping windows": forge.tensor(shape=(2, 2), stride=(1, 1)),
    "hooks": forge.tensor(hooks=forge.dict_of({"hook": forge.NONE})),
    "hooks added to an empty dict": forge.tensor(
        hooks=forge.name("collections", "OrderedDict") + b")R" + forge.text("h") + b"Ns"
    ),
    "a conjugate view": forge.tensor(more=(forge.dict_of({"conj": forge.TRUE}),)),
    "an unknown argument": forge.tensor(more=(forge.NONE,)),
    "too many arguments": forge.tensor(more=(forge.dict_of({}), forge.dict_of({}))),
    "an unknown dtype": forge.tensor(
        BYTES, rebuild="_rebuild_tensor_v3", more=(forge.name("torch", "quint8"),)
    ),
    "a dtype in a number's place": forge.tensor(
        BYTES, rebuild="_rebuild_tensor_v3", more=(forge.NONE,)
    ),
    "a state for a tensor": forge.tensor() + forge.dict_of({"a": forge.NONE}) + b"b",
    "no storage at all": forge.tensor(forge.text("storage")),
    "a text in its place": forge.text("w"),
    "a sparse tensor": forge.call(forge.name("torch._utils", "_rebuild_sparse_tensor")),
    "a meta tensor": forge.call(forge.name("torch._utils", "_rebuild_meta_tensor_no_storage")),
    "a lazy parameter": forge.call(forge.name("torch.nn.parameter", "UninitializedParameter")),
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_refuses_a_parameter_with(tensor, tmp_path):
    expect_refused(forge.archive(tmp_path / "m", forge.module({"w": tensor})))


@pytest.mark.parametrize("what", sorted(TENSORS.keys() - {"a text in its place"}))
def test_refuses_it_also_where_it_is_no_state(what, tmp_path):
    expect_refused(forge.archive(tmp_path / "m", forge.module(plain=TENSORS[what])))


def test_refuses_tensors_that_share_a_part(tmp_path):
    low, high = forge.tensor(shape=(3,)), forge.tensor(shape=(3,), offset=1)
    path = forge.archive(tmp_path / "m", forge.module({"a": low, "b": high}))
    expect_refused(path, "overlaps")


def test_refuses_tensors_of_two_types_that_share_a_part(tmp_path):
    path = forge.archive(
        tmp_path / "m",
        forge.module({"a": forge.tensor(), "b": forge.tensor(HALF, offset=7, shape=(1,))}),
    )
    expect_refused(path, "overlaps")


def test_tensors_that_interleave_share_nothing(tmp_path):
    even = forge.tensor(shape=(2,), stride=(2,))
    odd = forge.tensor(shape=(2,), stride=(2,), offset=1)
    admit(forge.archive(tmp_path / "m", forge.module({"a": even, "b": odd})))


# --- Trees of modules --------------------------------------------------------------------


def test_doubling_references_end_at_a_limit(tmp_path):
    """40 levels, each twice in the next: 2^40 names from 6 kB."""
    body, inner = b"", forge.module({"w": forge.tensor()})
    for level in range(40):
        body += inner + b"q" + bytes([level]) + b"0"
        reference = b"h" + bytes([level])
        inner = forge.module(modules={"a": reference, "b": reference})
    expect_refused(forge.archive(tmp_path / "m", body + inner), "too many")


def test_doubling_references_without_tensors_end_at_a_limit(tmp_path):
    body, inner = b"", forge.module()
    for level in range(40):
        body += inner + b"q" + bytes([level]) + b"0"
        inner = forge.module(modules=dict.fromkeys("ab", b"h" + bytes([level])))
    expect_refused(forge.archive(tmp_path / "m", body + inner), "too many")


def test_modules_that_share_a_dict_of_nothing_end_at_a_limit(tmp_path, monkeypatch):
    """A long dict that thousands of modules have would be gone through as often."""
    monkeypatch.setattr(trees, "MAX_ENTRIES", 999)
    parts = [forge.module(_buffers=b"h\x00") for _ in range(10)]
    shared = forge.dict_of({f"b{number}": b"N" for number in range(100)}) + b"q\x000"
    model = forge.module(modules={str(number): part for number, part in enumerate(parts)})
    path = forge.archive(tmp_path / "m", shared + model)
    expect_refused(path, "too many")
    monkeypatch.setattr(trees, "MAX_ENTRIES", 2000)
    admit(path)


def test_a_module_inside_itself_is_refused(tmp_path):
    children = b"}q\x00" + forge.text("me")
    loop = forge.module(_modules=b"h\x00")
    path = forge.archive(tmp_path / "m", children + loop + b"s0" + loop)
    expect_refused(path, "too long")


def test_a_tensor_name_may_not_be_endless(tmp_path):
    name = "n" * (trees.MAX_NAME + 1)
    expect_refused(forge.archive(tmp_path / "m", forge.module({name: forge.tensor()})), "too long")


@pytest.mark.parametrize("root", [b"N", b"]", forge.dict_of({}), forge.tensor()])
def test_what_is_no_model_is_not_of_expected_type(root, tmp_path):
    with pytest.raises(NotAModel, match=r"^Loaded torch object is not of expected type\.$"):
        admit(forge.archive(tmp_path / "m", root))


@pytest.mark.parametrize(
    "body",
    [
        forge.module(x=forge.call(forge.name("os", "system"), forge.text("ls"))),
        forge.module(x=forge.name("os", "system")),
        forge.module(x=forge.call(forge.name("torch.nn.modules.linear", "Linear"), forge.NONE)),
        forge.module(x=b"ctorch.nn.modules\nlinear.Linear\n"),
        forge.module(__class__=forge.NONE),
        forge.name("os", "system") + b"0" + ONE,
        forge.module() + b"}b",
        forge.module() + b"NNs",
        forge.module(x=forge.name("torch", "Size") + b"]R"),
    ],
    ids=[
        *("a call", "a name", "an argument", "a dotted name", "a dunder", "a name thrown away"),
        *("a second state", "an entry", "a call without a tuple"),
    ],
)
def test_refuses_pickles_that_do_more_than_build_modules(body, tmp_path):
    expect_refused(forge.archive(tmp_path / "m", body))


# --- What loading would do with them --------------------------------------------------------

DEEP = b")" + b"\x85" * 100_000
WIDE = (
    b"("
    + b")" * 1000
    + b"t"
    + b"".join(
        b"q" + bytes([level]) + b"0(" + (b"h" + bytes([level])) * 1000 + b"t" for level in range(4)
    )
)
SET = forge.name("__builtin__", "set")


@pytest.mark.parametrize("key", [DEEP, WIDE], ids=["deep", "wide"])
@pytest.mark.parametrize("kind", ["set", "dict", "OrderedDict"])
def test_refuses_keys_whose_hash_takes_all_of_the_stack_or_an_age(key, kind, tmp_path):
    filled = {
        "set": SET + b"](" + key + b"e\x85R",
        "dict": b"}" + key + b"Ns",
        "OrderedDict": forge.name("collections", "OrderedDict") + b")R" + key + b"Ns",
    }[kind]
    expect_refused(forge.archive(tmp_path / "m", forge.module(x=filled)), "keys")


def test_keys_may_be_tuples(tmp_path):
    key = forge.tuple_of(forge.text("a"), forge.tuple_of(forge.number(1), forge.NONE))
    filled = forge.tuple_of(b"}" + key + b"Ns", SET + b"](" + key + b"e\x85R")
    admit(forge.archive(tmp_path / "m", forge.module(x=filled)))
    assert torch.load(tmp_path / "admitted", weights_only=False).x[1] == {("a", (1, None))}


ORDERED = forge.name("collections", "OrderedDict") + b")R"
RELU = forge.name("torch.nn.functional", "relu")


@pytest.mark.parametrize(
    "body",
    [
        forge.module(forward=RELU),
        forge.module(state_dict=forge.name("torch", "Size")),
        forge.module(_forward_hooks=ORDERED + forge.number(0) + RELU + b"s"),
        forge.module(_load_state_dict_pre_hooks=forge.dict_of({"a": RELU})),
        forge.module(_state_dict_hooks=RELU),
        forge.module(_modules=ORDERED + forge.dict_of({"items": RELU}) + b"b"),
        forge.module(_non_persistent_buffers_set=forge.text("abc")),
        forge.module(x=forge.name("torch.nn.modules.transformer", "Transformer") + b")R"),
        forge.module(
            x=forge.call(
                forge.name("torch._utils", "_rebuild_parameter_with_state"),
                *(forge.tensor(), forge.TRUE, ORDERED, forge.dict_of({"data": forge.tensor()})),
            )
        ),
    ],
    ids=[
        *("a method replaced", "its state replaced", "a hook", "a hook by name", "no hooks"),
        *("a dict's method replaced", "a text as a set", "a constructor", "a parameter's data"),
    ],
)
def test_refuses_objects_that_mean_more_than_their_tensors(body, tmp_path):
    expect_refused(forge.archive(tmp_path / "m", body))


def test_a_parameter_may_have_a_note(tmp_path):
    weight = forge.call(
        forge.name("torch._utils", "_rebuild_parameter_with_state"),
        *(forge.tensor(), forge.TRUE, ORDERED, forge.dict_of({"note": forge.text("a")})),
    )
    admit(forge.archive(tmp_path / "m", forge.module({"w": weight})))
    assert torch.load(tmp_path / "admitted", weights_only=False)._parameters["w"].note == "a"
