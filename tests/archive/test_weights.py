"""Weights without a model: what is taken of them, and what goes out."""

import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file, save_model
from torch import nn

from fl_archive.admission import admit_model, admit_module
from fl_archive.dtypes import TORCH
from fl_archive.errors import UNEXPECTED, HoldsCode, Mismatch, NotAModel, Refused
from fl_archive.model import read_model
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_update, check_has_moments
from fl_archive.writer import write_model

from . import forge, zoo

SAVERS = {"state_dict": zoo.save_state, "safetensors": zoo.save_safetensors}
NAMES = sorted(zoo.ALL.keys() - {"none", "dtypes"})


def admit(thing, tmp_path):
    torch.save(thing, tmp_path / "upload")
    return admit_model(tmp_path / "upload", tmp_path / "model")


@pytest.mark.parametrize("kind", SAVERS)
@pytest.mark.parametrize("name", NAMES)
def test_weights_go_out_in_their_format_bit_by_bit(name, kind, tmp_path):
    module = zoo.build(name)
    SAVERS[kind](module, tmp_path / "upload")
    with admit_model(tmp_path / "upload", tmp_path / "model") as archive:
        assert (archive.format, archive.weights_only) == (kind, True)
    before, after = zoo.load_weights(tmp_path / "upload"), zoo.load_weights(tmp_path / "model")
    assert list(after) == list(before)
    assert all(zoo.as_bytes(after[name]) == zoo.as_bytes(before[name]) for name in before)
    missing, surplus = module.load_state_dict(after, strict=False)
    assert not surplus
    assert not missing or (kind, name) == ("safetensors", "tied")


@pytest.mark.parametrize("name", TORCH)
def test_a_state_dict_of_any_type_is_read_without_trust(name, tmp_path):
    dtype = getattr(torch, name)
    one_by_one = torch.tensor([0, 1] * 8, dtype=torch.uint8)
    with admit({"a": one_by_one.view(dtype)}, tmp_path):
        after = torch.load(tmp_path / "model", weights_only=True)["a"]
    assert after.dtype == dtype
    assert torch.equal(after.view(torch.uint8), one_by_one)


def test_only_an_ordered_dict_of_plain_tensors_goes_out(tmp_path):
    """Out of parameters, tensors with attributes and hooks' places, subclasses and metadata."""
    noted = torch.ones(2)
    noted.note = "of the uploader"
    module = nn.BatchNorm1d(2)
    state = module.state_dict(keep_vars=True)
    state["noted"], state["cuts"] = noted, torch.arange(6.0).view(2, 3).t()[1:]
    assert state._metadata
    with admit(state, tmp_path) as archive:
        pickled = archive.pickles["data.pkl"]
    assert {call.pair for call in pickled.calls} == {
        ("collections", "OrderedDict"),
        ("torch._utils", "_rebuild_tensor_v2"),
    }
    assert pickled.globals <= {
        ("collections", "OrderedDict"),
        ("torch._utils", "_rebuild_tensor_v2"),
        ("torch", "FloatStorage"),
        ("torch", "LongStorage"),
    }
    after = torch.load(tmp_path / "model", weights_only=True)
    assert type(after) is OrderedDict
    assert vars(after) == {}
    assert all(type(tensor) is torch.Tensor for tensor in after.values())
    assert not any(tensor.requires_grad or vars(tensor) for tensor in after.values())
    assert all(tensor.is_contiguous() for tensor in after.values())
    with zipfile.ZipFile(tmp_path / "model") as file:
        names = [name.removeprefix("archive/") for name in file.namelist()]
        assert file.testzip() is None
    blocks = [f"data/{number}" for number in range(len(after))]
    assert names == ["data.pkl", "byteorder", "version", *blocks]


def test_what_is_not_a_tensors_own_does_not_go_out(tmp_path):
    """The rest of a storage of which a tensor is a slice."""
    secret = torch.arange(1000.0)
    with admit({"a": secret[10:12], "b": secret[12:14]}, tmp_path) as archive:
        assert {name: block.size for name, block in archive.blocks.items()} == {
            "data/0": 8,
            "data/1": 8,
        }


def test_a_state_dict_from_a_gpu_loads_without_one(tmp_path):
    there = forge.tensor(forge.storage(where="cuda:0"))
    forge.admit(forge.archive(tmp_path / "upload", forge.dict_of({"a": there})))
    assert torch.load(tmp_path / "admitted", weights_only=True)["a"].tolist() == [0, 0, 0, 0]


def test_what_else_is_in_a_file_does_not_go_out(tmp_path):
    """A call whose result is thrown away, a class of the uploader's, and a member."""
    call = forge.call(forge.name("posix", "system"), forge.text("true")) + b"0"
    own = forge.name("theirs", "Dict") + b")R" + forge.dict_of({"a": forge.tensor()})[1:]
    path = forge.archive(tmp_path / "upload", call + own, members={"code/theirs.py": b"1/0"})
    forge.admit(path)
    written = (tmp_path / "admitted").read_bytes()
    assert not [word for word in (b"posix", b"system", b"theirs") if word in written]
    assert torch.load(tmp_path / "admitted", weights_only=True)["a"].tolist() == [0, 0, 0, 0]


def test_tied_weights_stay_tied(tmp_path):
    module = zoo.build("tied")
    with admit(module.state_dict(), tmp_path) as archive:
        assert archive.tensors["second.weight"].alias_of == "first.weight"
    after = torch.load(tmp_path / "model", weights_only=True)
    assert after["second.weight"].data_ptr() == after["first.weight"].data_ptr()


def test_metadata_of_safetensors_is_left_out(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "upload", {"note": "of the uploader"})
    admit_model(tmp_path / "upload", tmp_path / "model")
    assert b"uploader" not in (tmp_path / "model").read_bytes()
    with safe_open(tmp_path / "model", "pt") as file:
        assert file.metadata() is None


# --- What is refused --------------------------------------------------------------------------


def refusal(thing, tmp_path):
    with pytest.raises(NotAModel) as caught:
        admit(thing, tmp_path)
    assert not (tmp_path / "model").exists()
    return caught.value


@pytest.mark.parametrize(
    ("thing", "advice"),
    [({}, "It holds no tensor"), (torch.ones(3), "no weights by name"), ([1], "weights alone")],
)
def test_what_holds_no_named_tensors_is_told_what_does(thing, advice, tmp_path):
    error = refusal(thing, tmp_path)
    assert str(error) == UNEXPECTED
    assert advice in error.advice
    assert "model.state_dict()" in error.advice


def test_checkpoints_and_optimizers_are_no_weights(tmp_path):
    model = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.rand(1, 2)).sum().backward()
    optimizer.step()
    checkpoint = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    assert "torch.save(checkpoint['model'], file)" in str(refusal(checkpoint, tmp_path))
    assert str(refusal(optimizer.state_dict(), tmp_path)) == UNEXPECTED


def test_safetensors_without_a_tensor_are_refused(tmp_path):
    save_file({}, tmp_path / "upload")
    with pytest.raises(NotAModel):
        admit_model(tmp_path / "upload", tmp_path / "model")


def test_tensors_that_share_a_part_are_refused_and_can_not_fill_the_disk(tmp_path):
    large = torch.arange(1000.0)
    torch.save({f"{start}": large[start:] for start in range(500)}, tmp_path / "upload")
    with pytest.raises(Refused, match="overlaps another: save clones"):
        admit_model(tmp_path / "upload", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_damaged_block_is_refused(tmp_path):
    torch.save({"a": torch.full((2,), 1.25)}, tmp_path / "upload")
    data = (tmp_path / "upload").read_bytes()
    one = np.float32(1.25).tobytes()
    assert data.count(one * 2) == 1
    (tmp_path / "upload").write_bytes(data.replace(one * 2, one + bytes(4)))
    with pytest.raises(NotAModel, match="is damaged"):
        admit_model(tmp_path / "upload", tmp_path / "model")


@pytest.mark.parametrize("save", [zoo.save_module, zoo.save_script])
def test_code_is_refused_where_only_weights_are_taken(save, tmp_path):
    save(zoo.build("linear"), tmp_path / "upload")
    with pytest.raises(HoldsCode):
        admit_model(tmp_path / "upload", tmp_path / "model", code=False)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("save", SAVERS.values())
def test_weights_are_taken_where_code_is_not_and_are_no_preprocessing(save, tmp_path):
    save(zoo.build("linear"), tmp_path / "upload")
    with pytest.raises(NotAModel, match="not of expected type"):
        admit_module(tmp_path / "upload", tmp_path / "module")
    admit_model(tmp_path / "upload", tmp_path / "model", code=False)


# --- As the model of a training ---------------------------------------------------------------


@pytest.fixture(params=SAVERS)
def model(request, tmp_path):
    SAVERS[request.param](zoo.build("net"), tmp_path / "upload")
    admit_model(tmp_path / "upload", tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("save", [*SAVERS.values(), zoo.save_module])
def test_updates_of_any_format_are_matched_by_name(save, model, tmp_path):
    trained = zoo.build("net")
    nn.init.constant_(trained.linear.weight, 0.5)
    save(trained, tmp_path / "sent")
    with read_model(model) as reference:
        assert admit_update(tmp_path / "sent", reference, tmp_path / "update") == []
        with TensorFile(tmp_path / "update") as update:
            assert list(update.tensors) == list(reference.layout)
    kept = load_file(tmp_path / "update")
    assert all(torch.equal(kept[name], value) for name, value in trained.state_dict().items())


def test_scripts_are_updates_too(tmp_path):
    module = zoo.build("conv")
    zoo.save_safetensors(module, tmp_path / "upload")
    zoo.save_script(module, tmp_path / "sent")
    with admit_model(tmp_path / "upload", tmp_path / "model") as reference:
        assert admit_update(tmp_path / "sent", reference, tmp_path / "update") == []


def save_wrapped(module, path):
    zoo.save_state(nn.DataParallel(module), path)


@pytest.mark.parametrize("save", [*zoo.TORCH_SAVERS.values(), save_wrapped])
def test_tied_weights_that_a_model_has_by_one_name_may_come_by_all(save, tmp_path):
    module = zoo.build("tied")
    save_model(module, tmp_path / "upload")
    nn.init.constant_(module.first.weight, 0.5)
    save(module, tmp_path / "sent")
    with admit_model(tmp_path / "upload", tmp_path / "model") as reference:
        admit_update(tmp_path / "sent", reference, tmp_path / "update")
    kept = load_file(tmp_path / "update")
    assert kept.keys() == {"again.weight", "again.bias", "second.bias", "memory.bias"}
    assert torch.equal(kept["again.weight"], module.first.weight)


def test_another_name_of_other_elements_is_surplus(tmp_path):
    torch.save({"a": torch.ones(2), "b": torch.ones(2)}, tmp_path / "sent")
    with (
        admit({"a": torch.ones(2)}, tmp_path) as reference,
        pytest.raises(Mismatch, match="holds tensor 'b', which the global model lacks"),
    ):
        admit_update(tmp_path / "sent", reference, tmp_path / "update")


def test_other_values_make_a_file_of_the_same_format(model, tmp_path):
    before = zoo.load_weights(model)
    values = {name: tensor.numpy() + 1 for name, tensor in reversed(before.items())}
    write_model(model, tmp_path / "next", values.items())
    after = zoo.load_weights(tmp_path / "next")
    assert list(after) == list(before)
    assert all(np.array_equal(after[name].numpy(), values[name]) for name in before)
    write_model(tmp_path / "next", tmp_path / "again", ((n, v - 1) for n, v in values.items()))
    assert list(read_model(tmp_path / "again").layout) == list(read_model(model).layout)


def test_the_same_values_make_the_same_bytes(model, tmp_path):
    with read_model(model) as archive:
        values = [(name, archive.raw(name).copy()) for name in archive.layout]
    write_model(model, tmp_path / "next", values)
    assert (tmp_path / "next").read_bytes() == model.read_bytes()


@pytest.mark.parametrize(
    ("dtype", "trainable"),
    [(torch.float16, True), (torch.complex64, True), (torch.int64, False), (torch.bits8, False)],
)
def test_a_fraction_makes_weights_trainable(dtype, trainable, tmp_path):
    with admit({"a": torch.zeros(8, dtype=torch.uint8).view(dtype)}, tmp_path) as archive:
        assert archive.trainable is trainable


def test_of_weights_what_may_be_a_parameter_has_moments(tmp_path):
    tied = torch.ones(3)
    state = {"a": tied, "b": tied, "half": torch.ones(1).half(), "count": torch.tensor(1)}
    with admit(state, tmp_path) as archive:
        check_has_moments(archive)
        assert archive.learned == ["a", "half"]


def test_complex_weights_have_no_moments(tmp_path):
    with (
        admit({"a": torch.ones(1, dtype=torch.complex64)}, tmp_path) as archive,
        pytest.raises(Refused, match="for which SWAG is not made"),
    ):
        check_has_moments(archive)
