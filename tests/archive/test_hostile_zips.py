"""Zip files that torch would never write."""

import io
import struct
import zipfile

import pytest
import torch

from fl_archive import zip_reader
from fl_archive.errors import NotAModel, Refused
from fl_archive.model import read_model

from . import forge
from .forge import admit, expect_refused

ONE = forge.module({"w": forge.tensor()})


MEMBERS = {
    "an unknown member": {"evil.pkl": b""},
    "a twin of the pickle": {"DATA.pkl": b"\x80\x02N."},
    "a twin of a block": {"Data/0": bytes(16)},
    "code beside an eager module": {"code/__torch__.PY": b""},
    "an absolute name": {"/etc/passwd": b""},
    "a climbing name": {"data/../../x": b""},
    "a name with a backslash": {"data\\0": b""},
    "a name with a control character": {"data/\n0": b""},
    "a folder": {"data/": b""},
    "big-endian numbers": {"byteorder": b"big"},
    "no sensible version": {"version": b"three"},
    "no version": {"version": b""},
    "extra files with a climbing name": {"extra/../notes.txt": b"hello"},
}


@pytest.mark.parametrize("extra", MEMBERS.values(), ids=MEMBERS)
def test_refuses_an_archive_with(extra, tmp_path):
    expect_refused(forge.archive(tmp_path / "m", ONE, members=extra))


def test_refuses_a_second_folder(tmp_path):
    path = forge.archive(tmp_path / "m", ONE)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("other/version", b"3")
    expect_refused(path, "another folder")


def test_refuses_a_member_that_is_there_twice(tmp_path):
    path = forge.archive(tmp_path / "m", ONE)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("model/version", b"3")
    expect_refused(path, "twice")


def test_leaves_out_blocks_that_no_pickle_names(tmp_path):
    admit(forge.archive(tmp_path / "m", ONE, members={"data/7": b"smuggled"}))
    assert b"smuggled" not in (tmp_path / "admitted").read_bytes()


def test_refuses_compressed_blocks(tmp_path):
    path = tmp_path / "m"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m/data.pkl", b"\x80\x02" + ONE + b".")
        file.writestr("m/version", b"3")
        file.writestr("m/data/0", bytes(16))
    expect_refused(path, "compressed")


def test_refuses_a_member_that_inflates_beyond_what_it_says(tmp_path):
    path = tmp_path / "m"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m/data.pkl", bytes(100 << 20))
    data = bytearray(path.read_bytes())
    for position in (22, data.index(b"PK\1\2") + 24):
        data[position : position + 4] = struct.pack("<I", 1000)
    path.write_bytes(data)
    expect_refused(path, "another size")


def test_refuses_a_bomb(tmp_path):
    path = tmp_path / "m"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("m/data.pkl", bytes(100 << 20))
    expect_refused(path, "too large")


def forged_bytes(tmp_path):
    return bytearray(forge.archive(tmp_path / "m", ONE).read_bytes())


def test_refuses_a_pickle_in_front_of_a_clean_archive(tmp_path):
    path = tmp_path / "m"
    data = forged_bytes(tmp_path)
    path.write_bytes(b"\x80\x02cos\nsystem\n." + data)
    expect_refused(path)
    path.write_bytes(b"PK\3\4" + data)
    expect_refused(path)


def test_refuses_bytes_in_front_even_if_the_directory_knows_of_them(tmp_path):
    path = tmp_path / "m"
    file = io.BytesIO(b"PK\3\4evil")
    file.seek(8)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + ONE + b".")
    path.write_bytes(file.getvalue())
    expect_refused(path, "in front")


@pytest.mark.parametrize("tail", [b"\0", b"PK\5\6" + bytes(18), b"comment"])
def test_refuses_bytes_behind_the_archive(tail, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(forged_bytes(tmp_path) + tail)
    expect_refused(path)


def test_refuses_a_comment(tmp_path):
    path = forge.archive(tmp_path / "m", ONE)
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"PK\5\6"
    expect_refused(path)


# Offsets of fields in a local header, and in a directory entry.
FIELDS = {"flags": (6, 8), "method": (8, 10), "crc": (14, 16), "stored": (18, 20), "size": (22, 24)}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("place", [0, 1])
def test_refuses_a_header_that_differs_from_the_directory(field, place, tmp_path):
    path, data = tmp_path / "m", forged_bytes(tmp_path)
    data[(0, data.index(b"PK\1\2"))[place] + FIELDS[field][place]] ^= 1
    path.write_bytes(data)
    expect_refused(path)


def test_refuses_an_extra_field_that_is_cut_off(tmp_path):
    """In the header alone, two bytes: what the name's last ones were."""
    path = forge.archive(tmp_path / "m", ONE)
    data = bytearray(path.read_bytes())
    data[26] -= 2
    data[28] = 2
    path.write_bytes(data)
    expect_refused(path, "damaged")


def test_refuses_encrypted_members(tmp_path):
    path, data = tmp_path / "m", forged_bytes(tmp_path)
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    expect_refused(path, "encrypted")


def test_refuses_a_name_that_differs_between_header_and_directory(tmp_path):
    path, data = tmp_path / "m", forged_bytes(tmp_path)
    data[data.index(b"model/data.pkl") + 6] ^= 0x20
    path.write_bytes(data)
    expect_refused(path)


def test_refuses_two_entries_for_the_same_bytes(tmp_path):
    path = tmp_path / "m"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", b"\x80\x02" + ONE + b".")
        file.writestr("m/version", b"3")
        file.writestr("m/data/0", bytes(16))
        file.filelist.append(file.getinfo("m/data/0"))
    expect_refused(path)


def test_refuses_a_gap_between_members(tmp_path):
    path = tmp_path / "m"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", b"\x80\x02" + ONE + b".")
        file.writestr("m/removed", b"evil")
        file.writestr("m/data/0", bytes(16))
        file.filelist.pop(1)
    expect_refused(path, "gap")


def test_refuses_a_directory_of_too_many_entries(tmp_path, monkeypatch):
    monkeypatch.setattr(zip_reader, "MAX_MEMBERS", 4)
    more = {f"data/{key}": b"" for key in range(1, 4)}
    expect_refused(forge.archive(tmp_path / "m", ONE, members=more), "impossible")


def test_refuses_a_block_whose_checksum_is_wrong(tmp_path):
    path, data = tmp_path / "m", forged_bytes(tmp_path)
    data[data.index(b"model/data/0") + 12] ^= 1
    path.write_bytes(data)
    expect_refused(path, "damaged")


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"PK\5\6" + bytes(18), b"hello", bytes(100)])
def test_refuses_what_is_no_archive(data, tmp_path):
    path = tmp_path / "m"
    path.write_bytes(data)
    with pytest.raises(NotAModel):
        read_model(path)


def test_files_from_before_the_zip_format_are_refused_with_advice(tmp_path):
    torch.save(torch.nn.Linear(1, 1), tmp_path / "m", _use_new_zipfile_serialization=False)
    with pytest.raises(Refused, match="save it again"):
        read_model(tmp_path / "m")
