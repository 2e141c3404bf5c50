import base64
import io

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from fl_server_ai.failures import JobRefused
from fl_server_ai.inference.jobs.decoding import (
    Unrecognised,
    decode_bytes,
    decode_json,
    list_to_tensor,
)


@pytest.fixture(autouse=True)
def _in_a_scratch_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saved(tensor):
    file = io.BytesIO()
    torch.save(tensor, file)
    return file.getvalue()


def image(mode, color, kind="PNG", size=(3, 2)):
    file = io.BytesIO()
    Image.new(mode, size, color).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "float64",
        "float16",
        "bfloat16",
        "int64",
        "uint8",
        "bool",
        "complex64",
        "float8_e4m3fn",
    ],
)
@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)])
def test_a_saved_tensor_comes_as_it_is(dtype, shape):
    tensor = torch.ones(shape).to(getattr(torch, dtype))
    decoded = decode_bytes(saved(tensor)).value
    assert (decoded.dtype, decoded.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(decoded.to(torch.complex64), tensor.to(torch.complex64))


def test_a_strided_tensor_comes_in_its_own_order():
    tensor = torch.arange(6.0).reshape(2, 3).T
    assert torch.equal(decode_bytes(saved(tensor)).value, tensor)


def test_safetensors_may_hold_one_tensor_of_any_name():
    assert decode_bytes(save({"x": torch.eye(2)})).value.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("mode", "color", "channels"),
    [
        ("1", 1, [1]),
        ("L", 51, [0.2]),
        ("LA", (255, 51), [1, 1, 1, 0.2]),
        ("P", 0, [0, 0, 0]),
        ("RGB", (255, 51, 0), [1, 0.2, 0]),
        ("RGBA", (255, 51, 0, 255), [1, 0.2, 0, 1]),
        ("I;16", 65535, [1]),
    ],
)
def test_each_mode_of_image_has_its_channels(mode, color, channels):
    decoded = decode_bytes(image(mode, color))
    assert decoded.is_image
    assert decoded.value.shape == (len(channels), 2, 3)
    assert decoded.value.dtype == torch.float32
    assert decoded.value[:, 0, 0].tolist() == pytest.approx(channels)


def test_rows_and_columns_stay_where_they_are():
    picture = Image.new("L", (3, 2))
    picture.putpixel((2, 0), 255)
    file = io.BytesIO()
    picture.save(file, "PNG")
    assert decode_bytes(file.getvalue()).value[0].tolist() == [[0, 0, 1], [0, 0, 0]]


def test_a_huge_image_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(Image.Image, "convert", None)
    with pytest.raises(JobRefused, match="more than 50000000 pixels"):
        decode_bytes(image("1", 0, size=(8000, 8000)))


def test_formats_that_run_programs_are_no_images():
    for raw in (b"%!PS-Adobe-3.0 EPSF-3.0\n\x80", b"\xc5\xd0\xd3\xc6" + bytes(30)):
        with pytest.raises(Unrecognised):
            decode_bytes(raw)


def test_base64_may_be_broken_into_lines():
    raw = base64.encodebytes(saved(torch.ones(100)))
    assert torch.equal(decode_bytes(raw).value, torch.ones(100))


def test_base64_is_taken_off_once():
    twice = base64.b64encode(base64.b64encode(saved(torch.ones(1))))
    with pytest.raises(Unrecognised):
        decode_bytes(twice)


def test_a_pickle_is_never_run():
    class Evil:
        def __reduce__(self):
            return exec, ("raise SystemExit",)

    with pytest.raises(JobRefused):
        decode_bytes(saved(Evil()))


def test_lists_become_float_unless_integers_are_wanted():
    assert list_to_tensor([[1, 2]], keep_integers=False).dtype == torch.float32
    assert list_to_tensor([[1, 2]], keep_integers=True).dtype == torch.int64
    assert list_to_tensor([[1, 2.5]], keep_integers=True).dtype == torch.float32
    assert list_to_tensor([True, False], keep_integers=True).dtype == torch.float32
    assert list_to_tensor([], keep_integers=False).shape == (0,)
    assert list_to_tensor([[1], [1, 2]], keep_integers=False) is None
    assert list_to_tensor(["a"], keep_integers=False) is None


def test_json_is_lists_or_text():
    assert decode_json(b"[[1]]").value == [[1]]
    for text in (b"1", b"null", b"{}", b'"?"'):
        with pytest.raises(Unrecognised):
            decode_json(text)


def test_a_damaged_image_is_told_without_addresses_of_the_process():
    with pytest.raises(JobRefused, match="it is damaged, or of another format"):
        decode_bytes(b"GIF89a" + bytes(100))
