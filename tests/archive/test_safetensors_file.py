import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from fl_archive import dtypes, safetensors_file
from fl_archive.errors import NotAModel
from fl_archive.safetensors_file import DTYPES, TensorFile, write_tensor_file

SAFETENSORS_DTYPES = {
    name: getattr(torch, torch_name)
    for torch_name, name in dtypes.TORCH.items()
    if not name.startswith(("BITS", "F4", "C32", "C128", "F8_E8M0"))
}
ENTRY = b'{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def write_header(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(dtype: object = "F32", shape: object = (1,), offsets: object = (0, 4)) -> object:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize("dtype", SAFETENSORS_DTYPES)
def test_reads_what_the_safetensors_library_writes(dtype, tmp_path):
    tensor = torch.arange(6).reshape(2, 3).to(SAFETENSORS_DTYPES[dtype])
    path = tmp_path / "t.safetensors"
    save_file({"a": tensor, "empty": tensor[:0], "scalar": tensor[1, 1].clone()}, path)
    with TensorFile(path) as file:
        assert file.tensors["a"].dtype == dtype
        assert {name: info.shape for name, info in file.tensors.items()} == {
            "a": (2, 3),
            "empty": (0, 3),
            "scalar": (),
        }
        raw = file.raw("a")
        assert raw.tobytes() == tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        assert not raw.flags.writeable
        assert raw.base is not None


def test_the_safetensors_library_reads_what_is_written(tmp_path):
    expected = {"z": torch.randn(3, 2), "b": torch.tensor([True]), "a": torch.randn(())}
    path = tmp_path / "t.safetensors"
    layout = {"z": ("F32", (3, 2)), "b": ("BOOL", (1,)), "a": ("F32", ())}
    write_tensor_file(
        path, layout, (t.reshape(-1).view(torch.uint8).numpy() for t in expected.values())
    )
    loaded = load_file(path)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in expected.items())
    with TensorFile(path) as file:
        assert list(file.tensors) == ["z", "b", "a"]


def test_every_torch_dtype_has_a_size_that_torch_agrees_with():
    for torch_name, name in dtypes.TORCH.items():
        assert getattr(torch, torch_name).itemsize == DTYPES[name]
    assert set(dtypes.TORCH.values()) == set(DTYPES)


def test_every_storage_class_has_the_dtype_that_torch_gives_it():
    for dtype, storage in torch.storage._dtype_to_storage_type_map().items():
        if not str(dtype).startswith(("torch.q", "torch.Q")):
            assert dtypes.STORAGES[storage] == dtypes.TORCH[str(dtype).removeprefix("torch.")]


@given(st.sampled_from(sorted(DTYPES)), st.binary(min_size=64, max_size=64))
def test_finite_means_what_torch_means_by_it(name, data):
    torch_name = next(key for key, value in dtypes.TORCH.items() if value == name)
    tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    if name == "BOOL":
        expected = bool((tensor <= 1).all())
    elif name.startswith(("F4", "BITS")) or name not in dtypes.FLOATING:
        expected = True
    else:
        typed = tensor.view(getattr(torch, torch_name))
        wide = typed.to(torch.complex128 if typed.is_complex() else torch.float64)
        expected = bool(
            torch.isfinite(torch.view_as_real(wide) if wide.is_complex() else wide).all()
        )
    assert dtypes.flaws(np.frombuffer(data, np.uint8), name).any() != expected


@pytest.mark.parametrize("cut", [-1, 1])
def test_a_file_with_too_few_or_many_bytes_is_not_left_behind(tmp_path, cut):
    path = tmp_path / "t.safetensors"
    with pytest.raises(ValueError, match="bytes"):
        write_tensor_file(path, {"a": ("F32", (2,))}, [np.zeros(8 + cut, np.uint8)])
    assert not path.exists()


@pytest.mark.parametrize(
    "header",
    [
        [],
        b"\xff{}",
        b" {}",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a": 1' + b"0" * 5000 + b"}",
        b'{"a":' + ENTRY + b',"a":' + ENTRY + b"}",
        b'{"\\ud800":' + ENTRY + b"}",
        {"a": None},
        {"a": {"dtype": "F32", "shape": [1]}},
        {"a": entry() | {"more": 1}},  # type: ignore[operator]  # a plain dict
        {"a": entry(dtype="F99")},
        {"a": entry(dtype=["F32"])},
        {"a": entry(shape=[-1])},
        {"a": entry(shape=[True])},
        {"a": entry(shape=[1.0])},
        {"a": entry(shape=[2])},
        {"a": entry(shape=[1 << 62, 4, 1 << 62])},
        {"a": entry(shape=[1] * 65)},
        {"a": entry(offsets=[-4, 0])},
        {"a": entry(offsets=[4, 8])},
        {"a": entry(offsets=[0, 4, 8])},
        {"a": entry(offsets=[4, 0])},
        {"a": entry(offsets=[0, 1 << 70])},
        {"a": entry(), "b": entry()},
        {"a": entry(), "b": entry(offsets=[2, 6])},
        {"__metadata__": {"a": 1}, "a": entry()},
        {"__metadata__": [], "a": entry()},
        {},
    ],
)
def test_a_header_that_tells_no_straight_story_is_refused(tmp_path, header):
    with pytest.raises(NotAModel):
        TensorFile(write_header(tmp_path / "t", header, b"\0" * 4))


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\0" * 8, b"\xff" * 8 + b"{}", b"\x09" + b"\0" * 7 + b"{}"]
)
def test_a_length_outside_the_file_is_refused(tmp_path, data):
    path = tmp_path / "t"
    path.write_bytes(data)
    with pytest.raises(NotAModel):
        TensorFile(path)


def test_a_header_beyond_the_limit_is_refused_unread(tmp_path):
    with pytest.raises(NotAModel, match="length"):
        TensorFile(write_header(tmp_path / "t", b"{" + b" " * safetensors_file.MAX_HEADER + b"}"))


def test_views_outlive_the_file(tmp_path):
    path = tmp_path / "t"
    write_tensor_file(path, {"a": ("U8", (3,))}, [np.array([1, 2, 3], np.uint8)])
    with TensorFile(path) as file:
        raw = file.raw("a")
    assert raw.tolist() == [1, 2, 3]
