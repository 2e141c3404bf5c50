import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parameters_to_vector

from fl_archive import dtypes
from fl_archive.disk import WINDOW
from fl_archive.errors import ArchiveError, Mismatch, NotAModel, Refused
from fl_archive.model import read_model
from fl_archive.safetensors_file import TensorFile
from fl_archive.update import admit_moments, admit_update

from . import forge, zoo


class Unknown(nn.Module):
    """A class that the server has never heard of, with an attribute of another such class."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.note = Note()


class Note:
    pass


@pytest.fixture
def reference(tmp_path):
    """The global model: `zoo.Net` as a script."""
    zoo.save_script(zoo.build("net"), tmp_path / "model")
    with read_model(tmp_path / "model") as archive:
        yield archive


@pytest.fixture
def state(tmp_path, reference):
    return {name: tensor + 1 for name, tensor in zoo.load(tmp_path / "model").state_dict().items()}


def admit(state, reference, tmp_path, save=torch.save):
    save(state, tmp_path / "update")
    try:
        admit_update(tmp_path / "update", reference, tmp_path / "numbers")
    except ArchiveError:
        assert not (tmp_path / "numbers").exists()
        raise


def expect_numbers(state, reference, tmp_path):
    with TensorFile(tmp_path / "numbers") as file:
        assert list(file.tensors) == [spec.name for spec in reference.distinct]
        for name, info in file.tensors.items():
            assert info.dtype == reference.tensors[name].dtype
            assert file.raw(name).tobytes() == zoo.as_bytes(state[name])


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_takes_a_state_in_any_order(save, state, reference, tmp_path):
    admit(dict(reversed(state.items())), reference, tmp_path, save)
    expect_numbers(state, reference, tmp_path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_takes_any_pickle_protocol(protocol, state, reference, tmp_path):
    torch.save(state, tmp_path / "update", pickle_protocol=protocol)
    admit_update(tmp_path / "update", reference, tmp_path / "numbers")
    expect_numbers(state, reference, tmp_path)


@pytest.mark.parametrize("protocol", [2, 4])
def test_takes_modules_of_unknown_classes(protocol, tmp_path):
    module = Unknown(zoo.build("net"))
    torch.save(module, tmp_path / "update", pickle_protocol=protocol)
    torch.save(module.state_dict(), tmp_path / "model")
    with read_model(tmp_path / "model") as reference:
        admit_update(tmp_path / "update", reference, tmp_path / "numbers")
        expect_numbers(module.state_dict(), reference, tmp_path)


SAVERS = zoo.TORCH_SAVERS | {"safetensors": zoo.save_safetensors}
# The safetensors library has no name for some dtypes.
PAIRS = [(name, saver) for name in zoo.ALL for saver in SAVERS]
PAIRS.remove(("dtypes", "safetensors"))


@pytest.mark.parametrize(("name", "saver"), PAIRS)
def test_takes_every_model_from_every_kind_of_file(name, saver, tmp_path):
    module = zoo.build(name)
    zoo.save_module(module, tmp_path / "model")
    if saver in ("torchscript", "trace"):  # they keep buffers that aren't meant to persist
        SAVERS[saver](module, tmp_path / "model")
    SAVERS[saver](module, tmp_path / "update")
    with read_model(tmp_path / "model") as reference:
        admit_update(tmp_path / "update", reference, tmp_path / "numbers")
        expect_numbers(zoo.load(tmp_path / "model").state_dict(), reference, tmp_path)


def test_keeps_nothing_but_numbers(state, reference, tmp_path):
    state = torch.nn.modules.container.OrderedDict(state)
    state.secret = "left behind"
    admit(state, reference, tmp_path)
    assert b"left behind" in (tmp_path / "update").read_bytes()
    assert b"left behind" not in (tmp_path / "numbers").read_bytes()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("saver", [torch.save, save_file])
def test_refuses_values_that_are_not_finite(value, saver, state, reference, tmp_path):
    state["kept"][-1] = value
    with pytest.raises(Mismatch, match=r"'kept' holds NaN or infinite"):
        admit(state, reference, tmp_path, saver)


FLOATS = [name for name, dtype in dtypes.TORCH.items() if dtype in dtypes.FLOATING]


@pytest.mark.parametrize("dtype", sorted({*FLOATS} - {"float4_e2m1fn_x2"}))
def test_refuses_nan_in_any_float_type_beyond_the_first_window(dtype, tmp_path):
    tensor = torch.zeros(WINDOW // 2 + 7).to(getattr(torch, dtype))
    torch.save({"a": tensor}, tmp_path / "model")
    tensor[-1] = float("nan")
    with read_model(tmp_path / "model") as reference:
        admit({"a": zoo.load(tmp_path / "model")["a"]}, reference, tmp_path)
        with pytest.raises(Mismatch, match="NaN"):
            admit({"a": tensor}, reference, tmp_path / "..")


def test_infinities_of_a_mask_may_stay_where_they_are(tmp_path):
    mask = torch.full((3, 3), float("-inf")).triu(1)
    torch.save({"mask": mask}, tmp_path / "model")
    with read_model(tmp_path / "model") as reference:
        admit({"mask": mask}, reference, tmp_path)
        expect_numbers({"mask": mask}, reference, tmp_path)
        (tmp_path / "numbers").unlink()
        for other in (mask.t(), -mask, mask.nan_to_num(neginf=float("nan"))):
            with pytest.raises(Mismatch, match="infinite"):
                admit({"mask": other.contiguous()}, reference, tmp_path)


@pytest.mark.parametrize("dtype", sorted({*FLOATS} - {"float4_e2m1fn_x2"}))
def test_a_nan_of_the_models_own_may_stay_and_keeps_its_bits(dtype, tmp_path):
    kind = getattr(torch, dtype)
    model = torch.tensor([float("nan"), 1.0]).to(kind)
    torch.save({"a": model}, tmp_path / "model")
    update = torch.tensor([float("nan"), 2.0]).to(kind)
    if dtype not in ("float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"):  # they have one NaN
        last = update.itemsize // (2 if kind.is_complex else 1) - 1
        update.view(torch.uint8)[last] ^= 0x80  # the sign, as another machine may compute it
    with read_model(tmp_path / "model") as reference:
        admit({"a": update}, reference, tmp_path)
        update[0] = model[0]
        expect_numbers({"a": update}, reference, tmp_path)


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float8_e5m2", "complex64"])
def test_an_infinity_is_no_nan(dtype, value, tmp_path):
    model = torch.tensor([float("nan"), 1.0]).to(getattr(torch, dtype))
    torch.save({"a": model}, tmp_path / "model")
    with read_model(tmp_path / "model") as reference, pytest.raises(Mismatch, match="infinite"):
        admit({"a": torch.tensor([value, 1.0]).to(model.dtype)}, reference, tmp_path)


@pytest.mark.parametrize("dtype", [torch.float4_e2m1fn_x2, torch.bits8, torch.bits16])
def test_a_type_that_cannot_be_averaged_must_stay_as_it_is(dtype, tmp_path):
    model = torch.arange(4, dtype=torch.uint8).view(dtype)
    torch.save({"a": model, "b": torch.ones(1)}, tmp_path / "model")
    with read_model(tmp_path / "model") as reference:
        admit({"a": model, "b": torch.zeros(1)}, reference, tmp_path)
        other = torch.arange(1, 5, dtype=torch.uint8).view(dtype)
        with pytest.raises(Mismatch, match=r"'a' differs .* can't be averaged"):
            admit({"a": other, "b": torch.zeros(1)}, reference, tmp_path / "..")


def test_refuses_bytes_that_are_no_booleans(tmp_path):
    torch.save({"a": torch.tensor([True, False])}, tmp_path / "model")
    with read_model(tmp_path / "model") as reference:
        data = torch.tensor([2, 0], dtype=torch.uint8)
        with pytest.raises(Mismatch):
            admit({"a": data.view(torch.bool)}, reference, tmp_path)


# --- Tied weights ------------------------------------------------------------------------


@pytest.fixture
def tied(tmp_path):
    zoo.save_module(zoo.build("tied"), tmp_path / "model")
    with read_model(tmp_path / "model") as archive:
        yield archive


def test_tied_tensors_are_kept_once_under_their_first_name(tied, tmp_path):
    assert tied.tensors["second.weight"].alias_of == "first.weight"
    assert tied.tensors["first.weight"].alias_of is None
    state = {name: tensor.clone() for name, tensor in zoo.build("tied").state_dict().items()}
    admit(state, tied, tmp_path)
    expect_numbers(state, tied, tmp_path)
    assert not {"second.weight", "again.bias", "memory.weight"} & tied.layout.keys()


def test_tied_tensors_that_differ_are_refused(tied, tmp_path):
    state = {name: tensor.clone() for name, tensor in zoo.build("tied").state_dict().items()}
    state["second.weight"] += 1
    with pytest.raises(Mismatch, match=r"'first\.weight' and 'second\.weight' differ"):
        admit(state, tied, tmp_path)


@pytest.mark.parametrize("kept", ["first.weight", "second.weight", "memory.weight"])
def test_safetensors_may_hold_a_tied_tensor_under_any_one_name(kept, tied, tmp_path):
    state = zoo.build("tied").state_dict()
    names = {spec.name for spec in tied.distinct} - {"first.weight"} | {kept}
    admit({name: state[name].clone() for name in names}, tied, tmp_path, save_file)
    expect_numbers(state, tied, tmp_path)


def test_safetensors_must_hold_a_tied_tensor_under_some_name(tied, tmp_path):
    state = zoo.build("tied").state_dict()
    names = {spec.name for spec in tied.distinct} - {"first.weight"}
    with pytest.raises(Mismatch, match=r"lacks tensor 'first\.weight'"):
        admit({name: state[name].clone() for name in names}, tied, tmp_path, save_file)


# --- What is no update -------------------------------------------------------------------


@pytest.mark.parametrize("thing", [[1], {"a": 1}, "text", {1: torch.ones(1)}, torch.ones(1)])
def test_other_objects_are_no_updates(thing, reference, tmp_path):
    with pytest.raises(NotAModel):
        admit(thing, reference, tmp_path)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, device="meta"),
        torch.zeros(1).expand(3),
        torch.ones(2, dtype=torch.complex64).conj(),
    ],
    ids=["sparse", "meta", "expanded", "conjugate"],
)
def test_unsupported_tensors_are_refused_by_name(tensor, reference, tmp_path):
    with pytest.raises(Refused, match="Tensor 'a': A tensor"):
        admit({"a": tensor}, reference, tmp_path)


def test_code_in_an_update_does_not_matter(tmp_path):
    path = forge.archive(tmp_path / "m", forge.dict_of({"w": forge.tensor()}))
    body = forge.call(forge.name("os", "system"), forge.text("ls")) + b"0"
    forge.archive(tmp_path / "u", body + forge.dict_of({"w": forge.tensor()}))
    with read_model(path) as reference:
        admit_update(tmp_path / "u", reference, tmp_path / "numbers")


# --- SWAG moments ------------------------------------------------------------------------


@pytest.fixture
def twins(tmp_path):
    """A model whose parameters() holds one shared object once, and shared memory twice."""
    zoo.save_module(zoo.build("tied"), tmp_path / "model")
    with read_model(tmp_path / "model") as archive:
        yield archive, zoo.load(tmp_path / "model")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_flat_moment_is_cut_where_torch_would_cut_it(dtype, twins, tmp_path):
    reference, module = twins
    vector = parameters_to_vector(module.parameters()).to(dtype).detach()
    torch.save(vector, tmp_path / "moment")
    admit_moments(tmp_path / "moment", reference, tmp_path / "numbers")
    with TensorFile(tmp_path / "numbers") as file:
        for name, parameter in module.named_parameters():
            assert file.raw(name).tobytes() == zoo.as_bytes(parameter.to(dtype).double())
            assert file.tensors[name].shape == parameter.shape
        assert list(file.tensors) == [name for name, _ in module.named_parameters()]


@pytest.mark.parametrize("save", [torch.save, save_file])
def test_moments_may_be_named(save, twins, tmp_path):
    reference, module = twins
    state = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    save(state, tmp_path / "moment")
    admit_moments(tmp_path / "moment", reference, tmp_path / "numbers")
    with TensorFile(tmp_path / "numbers") as file:
        assert list(file.tensors) == list(state)


@pytest.mark.parametrize(
    ("moment", "reason"),
    [
        (torch.zeros(3), "parameters"),
        (torch.zeros(27, 1), "parameters"),
        (torch.zeros(27, dtype=torch.int64), "floating-point"),
        (torch.full((27,), float("nan")), "NaN"),
        ({"first.weight": torch.zeros(3, 3)}, "lacks"),
    ],
)
def test_moments_that_do_not_fit_are_refused(moment, reason, twins, tmp_path):
    torch.save(moment, tmp_path / "moment")
    with pytest.raises(Mismatch, match=reason):
        admit_moments(tmp_path / "moment", twins[0], tmp_path / "numbers")
    assert not (tmp_path / "numbers").exists()
