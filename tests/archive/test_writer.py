import hashlib
import zipfile
from itertools import cycle

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from fl_archive import zip_reader, zip_writer
from fl_archive.admission import admit_model
from fl_archive.errors import NotAModel
from fl_archive.model import read_model
from fl_archive.writer import write_model

from . import zoo


@pytest.fixture
def template(tmp_path):
    zoo.save_script(zoo.build("net"), tmp_path / "upload")
    admit_model(tmp_path / "upload", tmp_path / "model")
    return tmp_path / "model"


def values_of(path):
    with read_model(path) as archive:
        return {spec.name: archive.raw(spec.name).copy() for spec in archive.distinct}


def test_the_same_values_make_the_same_bytes(template, tmp_path):
    write_model(template, tmp_path / "next", values_of(template).items())
    assert (tmp_path / "next").read_bytes() == template.read_bytes()


def test_order_does_not_matter_and_typed_arrays_are_taken(template, tmp_path):
    module = zoo.load(template)
    values = {name: tensor.numpy() for name, tensor in reversed(module.state_dict().items())}
    values["scale"] = np.array([1, 2, 3, 4], np.float32)
    write_model(template, tmp_path / "next", values.items())
    after = zoo.load(tmp_path / "next").state_dict()
    assert after["scale"].tolist() == [1, 2, 3, 4]
    assert torch.equal(after["linear.weight"], module.state_dict()["linear.weight"])


@pytest.mark.parametrize("save", [zoo.save_module, zoo.save_state, zoo.save_safetensors])
@pytest.mark.parametrize("order", [list, reversed])
def test_the_files_hash_is_returned(save, order, tmp_path):
    save(zoo.build("net"), tmp_path / "model")
    values = order(values_of(tmp_path / "model").items())
    sha256 = write_model(tmp_path / "model", tmp_path / "next", values)
    assert sha256 == hashlib.sha256((tmp_path / "next").read_bytes()).hexdigest()


@pytest.mark.parametrize("order", [list, reversed])
def test_two_buffers_do_for_all_arrays(order, tmp_path):
    zoo.save_module(
        nn.Sequential(*[nn.Linear(500, 500, bias=False) for _ in range(9)]), tmp_path / "m"
    )
    buffers = cycle(np.empty((2, 250_000), np.float32))

    def produce():
        for number in order(range(9)):
            buffer = next(buffers)
            buffer[:] = number
            yield f"{number}.weight", buffer

    write_model(tmp_path / "m", tmp_path / "next", produce())
    after = zoo.load(tmp_path / "next").state_dict()
    assert all((after[f"{number}.weight"] == number).all() for number in range(9))


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
    zoo.save_module(nn.Linear(500, 500), tmp_path / "model")
    (tmp_path / "next").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_model(tmp_path / "model", tmp_path / "next", values_of(tmp_path / "model").items())
    assert not (tmp_path / "next").is_symlink()


def test_checksums_are_right(template, tmp_path):
    values = {name: ~raw for name, raw in values_of(template).items()}
    write_model(template, tmp_path / "next", values.items())
    with zipfile.ZipFile(tmp_path / "next") as file:
        assert file.testzip() is None


def test_blocks_lie_at_multiples_of_64_bytes(template):
    with read_model(template) as archive:
        assert all(archive.members[name].start % 64 == 0 for name in archive.blocks)


def test_torchs_own_files_can_be_templates_too(tmp_path):
    zoo.save_module(zoo.build("encoder"), tmp_path / "model")
    values = {name: raw // 2 for name, raw in values_of(tmp_path / "model").items()}
    write_model(tmp_path / "model", tmp_path / "next", values.items())
    with zipfile.ZipFile(tmp_path / "next") as file:
        assert file.testzip() is None
    zip_reader.read_members(np.fromfile(tmp_path / "next", np.uint8))
    state = zoo.load(tmp_path / "next").state_dict()
    assert all(zoo.as_bytes(state[name]) == raw.tobytes() for name, raw in values.items())


def test_what_else_a_block_holds_stays(tmp_path):
    """A plain tensor and a parameter in one storage, as slices of it."""
    module = nn.Linear(2, 2)
    base = torch.arange(12.0)
    module.weight = nn.Parameter(base[2:6].view(2, 2).t())
    module.other = nn.Parameter(torch.zeros(1))  # lies between those that share
    module.bias = nn.Parameter(base[10:])
    module.note = base[6:10]
    torch.save(module, tmp_path / "model")
    values = {
        "weight": np.array([1, 2, 3, 4], np.float32),
        "bias": np.full(2, 8, np.float32),
        "other": np.full(1, 9, np.float32),
    }
    write_model(tmp_path / "model", tmp_path / "next", values.items())
    after = zoo.load(tmp_path / "next")
    assert after.weight.tolist() == [[1, 2], [3, 4]]
    assert (after.bias.tolist(), after.other.tolist()) == ([8, 8], [9])
    assert after.note.tolist() == [6, 7, 8, 9]
    assert after.note.untyped_storage().tolist()[:8] == base[:2].view(torch.uint8).tolist()


def test_missing_unknown_repeated_and_misshapen_tensors_are_errors(template, tmp_path):
    good = list(values_of(template).items())
    for bad, reason in [
        (good[1:], "missing"),
        ([*good, ("more", good[0][1])], "unknown"),
        ([*good, good[0]], "before"),
        ([(good[0][0], good[0][1][1:]), *good[1:]], "bytes"),
    ]:
        with pytest.raises(ValueError, match=reason):
            write_model(template, tmp_path / "next", bad)
        assert not (tmp_path / "next").exists()


def test_an_error_of_the_producer_leaves_nothing_behind(template, tmp_path):
    def produce():
        yield next(iter(values_of(template).items()))
        raise KeyError("lost")

    with pytest.raises(KeyError):
        write_model(template, tmp_path / "next", produce())
    assert not (tmp_path / "next").exists()


def test_a_bare_tensor_is_no_template(tmp_path):
    torch.save(torch.ones(1), tmp_path / "tensor")
    with pytest.raises(NotAModel):
        write_model(tmp_path / "tensor", tmp_path / "next", [])


STRIDED = st.tuples(
    st.lists(st.integers(0, 4), max_size=4),
    st.randoms(use_true_random=False),
    st.integers(0, 3),
    st.integers(1, 3),
    st.sampled_from([torch.float32, torch.float16, torch.int64, torch.complex128, torch.uint8]),
)


@given(STRIDED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_tensors_of_any_strides_and_offset_are_read_and_written(tmp_path, drawn):
    shape, random, offset, gap, dtype = drawn
    order = list(range(len(shape)))
    random.shuffle(order)
    stride, step = [0] * len(shape), gap
    for dimension in order:
        stride[dimension] = step
        step *= max(shape[dimension], 1)
    base = zoo.some(dtype, offset + step + 1)
    module = nn.Identity()
    module.register_buffer("t", base.as_strided(shape, stride, offset))
    torch.save(module, tmp_path / "model")
    with read_model(tmp_path / "model") as archive:
        assert archive.raw("t").tobytes() == zoo.as_bytes(module.t)
        values = archive.raw("t") ^ 1
    write_model(tmp_path / "model", tmp_path / "next", [("t", values)])
    after = zoo.load(tmp_path / "next").t
    assert zoo.as_bytes(after) == values.tobytes()
    assert after.stride() == module.t.stride()


def test_sizes_and_offsets_beyond_32_bits_are_kept(tmp_path, monkeypatch):
    """With the limit lowered from 4 GiB, on both sides."""
    for module in (zip_writer, zip_reader):
        monkeypatch.setattr(module, "FULL", 1000)
    contents = {f"data/{key}": bytes([key]) * 700 * key for key in range(4)}
    zip_writer.write_members(tmp_path / "z", contents.items())
    raw = np.fromfile(tmp_path / "z", np.uint8)
    found = zip_reader.read_members(raw)
    assert {name: zip_reader.read_content(raw, m, 9999) for name, m in found.items()} == contents
