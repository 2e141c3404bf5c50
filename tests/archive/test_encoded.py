"""What is sent in fewer bits or as a difference stands for the state that it was made of."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file

from fl_archive.encoded import Encoding, Wire, decode_update, is_encoded
from fl_archive.errors import ArchiveError, Mismatch, Refused
from fl_archive.floats import READ, WRITTEN
from fl_archive.model import read_model
from fl_archive.narrowed import write_narrowed
from fl_archive.part import WHOLE, Part
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_update

DELTA, TOPK = Wire(Encoding.DELTA), Wire(Encoding.TOPK)
TYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


@pytest.fixture
def state():
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(40, 3, 5, generator=generator)
    return {
        "conv.weight": normal * torch.logspace(-3, 3, 40)[:, None, None],
        "bias": torch.tensor([0.25, -1, 3]),
        "double": torch.randn(2, 4, dtype=torch.float64, generator=generator),
        "half": torch.randn(2, 4, dtype=torch.float16, generator=generator),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "zero": torch.zeros(4, 4),
        "count": torch.tensor(7),
        "mask": torch.tensor([0.0, -torch.inf]),
        "wide": torch.linspace(-1, 1, 3 << 19).reshape(2, -1),
    }


@pytest.fixture
def model(tmp_path, state):
    save_file(state, tmp_path / "model")
    with read_model(tmp_path / "model") as archive:
        yield archive


@pytest.fixture
def decoded(tmp_path, model):
    """A function: the state that an update stands for, as it is admitted."""

    def decode(update, wire, part=WHOLE):
        if isinstance(update, dict):
            save_file(update, tmp_path / "update")
        decode_update(tmp_path / "update", model, tmp_path / "decoded", wire, part)
        admit_update(tmp_path / "decoded", model, tmp_path / "numbers", part)
        return load_file(tmp_path / "numbers")

    return decode


@pytest.mark.parametrize("dtype", TYPES)
def test_floats_are_read_and_rounded_as_torch_does_it(dtype):
    bits = np.random.default_rng(0).integers(0, 1 << 32, 100_000, dtype=np.uint32)
    special = np.float32([0, -0.0, np.inf, -np.inf, 3.4e38, 65504, 65520, 1e-45]).view(np.uint32)
    numbers = np.concatenate([bits, special]).view(np.float32)
    numbers = numbers[~np.isnan(numbers)]
    with np.errstate(over="ignore"):
        raw = WRITTEN[dtype](numbers)
    expected = torch.from_numpy(numbers.copy()).to(TYPES[dtype])
    assert raw.tobytes() == expected.view(torch.uint8).numpy().tobytes()
    assert np.array_equal(READ[dtype](raw), expected.double().numpy())
    assert np.isnan(READ[dtype](WRITTEN[dtype](np.float32([np.nan])))).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_in_half_as_many_bits_each_number_is_rounded(dtype, model, tmp_path, state):
    write_narrowed(model, tmp_path / "sent", dtype)
    sent, narrow = load_file(tmp_path / "sent"), getattr(torch, dtype)
    for name, values in state.items():
        stays = name in ("half", "count") or (name == "mask" and dtype == "float16")
        assert torch.equal(sent[name], values if stays or name == "mask" else values.to(narrow))


def test_a_number_too_large_for_float16_leaves_its_tensor_as_it_is(tmp_path):
    large = {"large": torch.tensor([1.0, 65520.0]), "fits": torch.tensor([65504.0])}
    save_file(large, tmp_path / "model")
    with read_model(tmp_path / "model") as model:
        write_narrowed(model, tmp_path / "sent", "float16")
    sent = load_file(tmp_path / "sent")
    assert {name: values.dtype for name, values in sent.items()} == {
        "large": torch.float32,
        "fits": torch.float16,
    }


def test_int8_is_off_by_half_a_level_of_its_channel_at_most(model, tmp_path, state, decoded):
    write_narrowed(model, tmp_path / "update", "int8")
    sent = load_file(tmp_path / "update")
    shapes = {name: tuple(sent[f"{name}.int8_scale"].shape) for name in ("conv.weight", "bias")}
    assert shapes == {"conv.weight": (40,), "bias": ()}
    assert {sent[name].dtype for name in ("conv.weight", "double", "half", "wide")} == {torch.int8}
    assert (sent["mask"].dtype, sent["count"].dtype) == (torch.float32, torch.int64)
    back = decoded(None, Wire(dtype="int8"))
    for name, values in state.items():
        assert (back[name].dtype, back[name].shape) == (values.dtype, values.shape)
        if f"{name}.int8_scale" in sent:
            scale = sent[f"{name}.int8_scale"].double().reshape(-1, *[1] * (values.dim() - 1))
            off = (back[name].double() - values.double()).abs()
            assert (
                off <= 0.501 * scale + values.double().abs() * torch.finfo(values.dtype).eps
            ).all()
        else:
            assert torch.equal(back[name], values)


def test_zero_and_the_largest_of_a_channel_are_met_exactly(tmp_path):
    save_file({"w": torch.tensor([[0.0, -12.7], [2.54, 0.02]])}, tmp_path / "model")
    with read_model(tmp_path / "model") as model:
        write_narrowed(model, tmp_path / "sent", "int8")
    assert load_file(tmp_path / "sent")["w"].tolist() == [[0, -127], [127, 1]]


def test_a_name_that_the_scales_would_get_is_refused(tmp_path):
    save_file({"w": torch.ones(2), "w.int8_scale": torch.ones(1)}, tmp_path / "model")
    with read_model(tmp_path / "model") as model, pytest.raises(Refused, match="rename that"):
        write_narrowed(model, tmp_path / "sent", "int8")


@pytest.mark.parametrize("dtype", ["", "float16", "bfloat16", "int8"])
def test_a_difference_is_added_to_the_model(dtype, tmp_path, state, decoded):
    steps = {name: values * 0.125 for name, values in state.items()}
    steps |= {"count": torch.tensor(9), "mask": torch.zeros(2)}
    save_file(steps, tmp_path / "update")
    if dtype:
        with read_model(tmp_path / "update") as update:
            write_narrowed(update, tmp_path / "narrowed", dtype)
        (tmp_path / "narrowed").replace(tmp_path / "update")
    back = decoded(None, Wire(Encoding.DELTA, dtype))
    assert (back["count"].item(), back["mask"].tolist()) == (9, [0, -torch.inf])
    error = {"": 0, "float16": 2**-11, "bfloat16": 2**-8, "int8": 1 / 254}[dtype] / 8
    for name in ("conv.weight", "bias", "double", "scalar", "wide"):
        values = state[name].double()
        largest = values.abs().amax(dim=tuple(range(1, values.dim())), keepdim=True)
        largest = values.abs().max() if values.dim() < 2 else largest
        off = (back[name].double() - values * 1.125).abs()
        assert (off <= largest * (error + 2e-7)).all()


def test_some_elements_change_and_all_else_stays(state, decoded):
    update = {
        "conv.weight.topk_indices": torch.tensor([0, 17, 599], dtype=torch.int32),
        "conv.weight.topk_values": torch.tensor([1.0, -2.0, 0.5]),
        "wide.topk_indices": torch.tensor([5, (1 << 19) + 1, (3 << 19) - 1]),
        "wide.topk_values": torch.tensor([1, 2, 3], dtype=torch.float16),
        "bias": torch.ones(3),
        "count": torch.tensor(8),
        "zero.topk_indices": torch.zeros(0, dtype=torch.int64),
        "zero.topk_values": torch.zeros(0),
    }
    expected = {name: values.clone() for name, values in state.items()}
    expected["conv.weight"].view(-1)[[0, 17, 599]] += torch.tensor([1.0, -2.0, 0.5])
    expected["wide"].view(-1)[[5, (1 << 19) + 1, (3 << 19) - 1]] += torch.tensor([1.0, 2.0, 3.0])
    expected["bias"] += 1
    expected["count"] = torch.tensor(8)
    back = decoded(update, TOPK)
    assert back.keys() == expected.keys()
    assert [name for name in back if not torch.equal(back[name], expected[name])] == []


@pytest.mark.parametrize("by", ["a", "b"])
@pytest.mark.parametrize("wire", [DELTA, TOPK])
def test_of_tied_weights_one_name_is_enough(by, wire, tmp_path):
    tied = torch.ones(3)
    torch.save({"a": tied, "b": tied, "c": torch.ones(2)}, tmp_path / "model")
    save_file({by: torch.ones(3), "c": torch.zeros(2)}, tmp_path / "update")
    with read_model(tmp_path / "model") as model:
        decode_update(tmp_path / "update", model, tmp_path / "decoded", wire)
        admit_update(tmp_path / "decoded", model, tmp_path / "numbers")
    assert load_file(tmp_path / "numbers")["a"].tolist() == [2, 2, 2]


def test_of_a_part_nothing_else_is_looked_at(decoded):
    update = {"bias": torch.ones(3), "wide": torch.ones(1)}
    assert list(decoded(update, TOPK, Part(["bias"]))) == ["bias"]
    assert decoded(update, DELTA, Part(["bias"]))["bias"].tolist() == [1.25, 0, 4]


def indexed(indices, values=None, dtype=torch.int64):
    values = torch.ones(len(indices)) if values is None else values
    return {"bias.topk_indices": torch.tensor(indices, dtype=dtype), "bias.topk_values": values}


@pytest.mark.parametrize(
    ("update", "wire", "words"),
    [
        (indexed([3]), TOPK, "stay below 3"),
        (indexed([-1]), TOPK, "must ascend, from 0 on"),
        (indexed([1, 1]), TOPK, "must ascend"),
        (indexed([2, 0]), TOPK, "must ascend"),
        (indexed([0], torch.ones(2)), TOPK, "as many"),
        (indexed([0], torch.ones(1, dtype=torch.int32)), TOPK, "floating-point"),
        (indexed([0], dtype=torch.int16), TOPK, "I32 or I64"),
        (indexed([0], torch.tensor([torch.inf])), TOPK, "NaN or infinite"),
        ({"bias.topk_values": torch.ones(1)}, TOPK, "needs 'bias.topk_indices'"),
        ({"bias": torch.ones(2)}, TOPK, "of shape"),
        ({"nobody": torch.ones(2)}, TOPK, "'nobody', which the global model lacks"),
        ({"count.topk_values": torch.ones(1)}, TOPK, "'count.topk_values', which the global"),
        (indexed([0]), DELTA, "'bias.topk_indices' and|, which the global model lacks"),
        ({"bias": torch.ones(3)}, DELTA, "lacks tensors"),
        ({"bias": torch.ones(3).half()}, DELTA, "is F16; it may be F32"),
        ({"bias": torch.ones(3).double()}, Wire(Encoding.DELTA, "float16"), "may be F32 or F16"),
        ({"bias": torch.ones(3).char()}, Wire(dtype="int8"), "needs 'bias.int8_scale'"),
        (
            {"bias": torch.ones(3).char(), "bias.int8_scale": torch.ones(3)},
            Wire(dtype="int8"),
            "F32 of shape",
        ),
        (
            {"bias": torch.ones(3).char(), "bias.int8_scale": torch.tensor(torch.nan)},
            Wire(Encoding.TOPK, "int8"),
            "NaN or infinite",
        ),
        ({"half": torch.ones(2, 4).bfloat16()}, Wire(dtype="bfloat16"), "is BF16; it may be"),
        ({"bias": torch.full((3,), 3.4e38)}, Wire(Encoding.STATE, "int8"), "lacks tensors"),
    ],
)
def test_what_makes_no_sense_is_refused(update, wire, words, decoded, state, tmp_path):
    with pytest.raises(Mismatch, match=words):
        decoded(update, wire)
    assert not (tmp_path / "numbers").exists()


NAMES = st.sampled_from(["bias", "scalar", "count", "empty", "half", "nobody"])
SUFFIXES = st.sampled_from(["", ".int8_scale", ".topk_indices", ".topk_values"])
VALUES = st.sampled_from([0, 1, 2, -1, 127, 1e30, float("inf"), float("nan")])
DTYPES = st.sampled_from(["f2", "f4", "f8", "i1", "i4", "i8", "u1", "?"])
SHAPES = st.sampled_from([(), (1,), (2,), (3,), (0, 3), (2, 4), (3, 1)])


@st.composite
def tensors(draw):
    shape, values = draw(SHAPES), draw(st.lists(VALUES, min_size=8, max_size=8))
    with np.errstate(invalid="ignore", over="ignore"):
        flat = np.resize(np.array(values), int(np.prod(shape))).astype(draw(DTYPES))
    return flat.reshape(shape)


@given(
    update=st.dictionaries(st.tuples(NAMES, SUFFIXES).map("".join), tensors(), max_size=8),
    encoding=st.sampled_from(Encoding),
    dtype=st.sampled_from(["", "float16", "bfloat16", "int8"]),
    part=st.sampled_from([WHOLE, Part(["bias"]), Part(["bias", "count"]), Part(["*"], ["[a-z]*"])]),
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_whatever_comes_is_refused_in_words_or_makes_a_whole_update(
    shared_model, update, encoding, dtype, part
):
    folder, model = shared_model
    save_arrays(update, folder / "update")
    (folder / "numbers").unlink(missing_ok=True)
    refusal = ""
    try:
        decode_update(folder / "update", model, folder / "decoded", Wire(encoding, dtype), part)
        admit_update(folder / "decoded", model, folder / "numbers", part)
    except ArchiveError as error:
        refusal = str(error)
    assert (folder / "numbers").exists() == (not refusal)
    if refusal:
        assert refusal.endswith(".")
    else:
        with TensorFile(folder / "numbers") as file:
            found = {name: (info.dtype, info.shape) for name, info in file.tensors.items()}
        assert found == part.of(model).layout


@pytest.fixture(scope="module")
def shared_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    state = {"bias": torch.ones(3), "scalar": torch.tensor(1.0), "count": torch.tensor(7)}
    state |= {"empty": torch.zeros(0, 3), "half": torch.ones(2, 4).half()}
    save_file(state, folder / "model")
    with read_model(folder / "model") as archive:
        yield folder, archive


def test_a_sum_that_is_too_large_is_refused(tmp_path):
    save_file({"w": torch.full((2,), 3e38)}, tmp_path / "model")
    with read_model(tmp_path / "model") as model:
        decode_update(tmp_path / "model", model, tmp_path / "decoded", DELTA)
        with pytest.raises(Mismatch, match="NaN or infinite"):
            admit_update(tmp_path / "decoded", model, tmp_path / "numbers")


def test_only_what_is_encoded_is_decoded(tmp_path, state):
    save_file(state, tmp_path / "update")
    assert not is_encoded(tmp_path / "update", Wire())
    assert not is_encoded(tmp_path / "update", Wire(dtype="int8"))
    assert is_encoded(tmp_path / "update", Wire(dtype="float16"))  # one of its tensors is
    assert is_encoded(tmp_path / "update", DELTA)
