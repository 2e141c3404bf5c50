"""Pickles and archives made by hand, as torch would never write them."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fl_archive.admission import admit_model
from fl_archive.errors import ArchiveError
from fl_archive.model import ModelFile

TRUE, FALSE, NONE = b"\x88", b"\x89", b"N"


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + len(data).to_bytes(4, "little") + data


def number(value: int) -> bytes:
    return b"\x8a\x10" + value.to_bytes(16, "little", signed=True)


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def call(callee: bytes, *args: bytes) -> bytes:
    return callee + tuple_of(*args) + b"R"


def dict_of(entries: Mapping[str, bytes]) -> bytes:
    return b"}(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def instance(module: str, attribute: str, state: Mapping[str, bytes]) -> bytes:
    return name(module, attribute) + b")\x81" + dict_of(state) + b"b"


def storage(
    key: str = "0", numel: int = 4, kind: str = "FloatStorage", where: str = "cpu"
) -> bytes:
    kind_name = name("torch", kind)
    return tuple_of(text("storage"), kind_name, text(key), text(where), number(numel)) + b"Q"


def tensor(
    block: bytes | None = None,
    offset: int = 0,
    shape: tuple[int, ...] = (4,),
    stride: tuple[int, ...] = (1,),
    hooks: bytes = name("collections", "OrderedDict") + b")R",
    more: tuple[bytes, ...] = (),
    rebuild: str = "_rebuild_tensor_v2",
) -> bytes:
    return call(
        name("torch._utils", rebuild),
        block or storage(),
        number(offset),
        tuple_of(*map(number, shape)),
        tuple_of(*map(number, stride)),
        FALSE,
        hooks,
        *more,
    )


def module(
    parameters: Mapping[str, bytes] = {},
    modules: Mapping[str, bytes] = {},
    **more: bytes,
) -> bytes:
    """An eager module, as state for `torch.nn.modules.linear.Identity`."""
    state = {
        "training": FALSE,
        "_parameters": dict_of(parameters),
        "_buffers": dict_of({}),
        "_modules": dict_of(modules),
        **more,
    }
    return instance("torch.nn.modules.linear", "Identity", state)


def archive(path: Path, root: bytes, **more: Any) -> Path:
    """A file like torch.save's with this pickle body and a block of four floats."""
    members = {"data.pkl": b"\x80\x02" + root + b".", "version": b"3\n", "data/0": bytes(16)}
    members |= more.pop("members", {})
    with zipfile.ZipFile(path, "w", **more) as file:
        for member, content in members.items():
            file.writestr(zipfile.ZipInfo(f"model/{member}"), content)
    return path


def admit(path: Path) -> ModelFile:
    return admit_model(path, path.with_name("admitted"))


def expect_refused(path: Path, match: str | None = None) -> None:
    """Not admitted, for a reason that matches, and nothing written."""
    with pytest.raises(ArchiveError, match=match):
        admit(path)
    assert not path.with_name("admitted").exists()
