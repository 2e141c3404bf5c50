"""Files that are neither torch's nor safetensors, known by their first bytes."""

from fl_archive.disk import Bytes
from fl_archive.errors import ArchiveError, NotAModel, Refused

SAVE = (
    "save it by torch.save or as safetensors, of a trained model its state_dict(); "
    "a new model by torch.jit.trace(model, example_input).save(file)"
)
UNPACK = "send what is in it, as torch.save, torch.jit.save or safetensors wrote it"

FORMATS: dict[tuple[int, bytes], str] = {
    (0, b"\x1f\x8b"): f"compressed by gzip: {UNPACK}",
    (0, b"BZh"): f"compressed by bzip2: {UNPACK}",
    (0, b"\xfd7zXZ"): f"compressed by xz: {UNPACK}",
    (0, b"\x28\xb5\x2f\xfd"): f"compressed by zstd: {UNPACK}",
    (0, b"\x04\x22\x4d\x18"): f"compressed by lz4: {UNPACK}",
    (0, b"7z\xbc\xaf"): f"a 7z archive: {UNPACK}",
    (0, b"Rar!"): f"a RAR archive: {UNPACK}",
    (257, b"ustar"): f"a tar archive: {UNPACK}",
    (0, b"x\x01"): f"compressed by zlib, as joblib does: {SAVE}",
    (0, b"x\x5e"): f"compressed by zlib, as joblib does: {SAVE}",
    (0, b"x\x9c"): f"compressed by zlib, as joblib does: {SAVE}",
    (0, b"x\xda"): f"compressed by zlib, as joblib does: {SAVE}",
    (0, b"\x93NUMPY"): f"a numpy array: {SAVE}",
    (0, b"\x89HDF"): f"HDF5, as Keras writes it: {SAVE}",
    (0, b"GGUF"): f"GGUF: {SAVE}",
    (4, b"TFL3"): f"TensorFlow Lite's: {SAVE}",
    (0, b"version https://git-lfs"): "a Git LFS pointer to the file: git lfs pull fetches that",
}
"""What a file is that has these bytes at this place, and what to do."""

MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""The number that torch's files began with before they were zip files."""

ONNX = (b"\x12", b"\x1a", b"\x3a", b"\x42")
"""Fields that may follow ONNX's first, the version of its format."""


def refuse(raw: Bytes) -> ArchiveError:
    """The error for a file that is in no format that is read here."""
    head = raw[:300].tobytes()
    if MAGIC in head[:30]:
        return Refused(
            "The file is from before torch's zip format (1.6): save it again, by torch.save of "
            "a newer torch without _use_new_zipfile_serialization=False."
        )
    for (start, magic), what in FORMATS.items():
        if head.startswith(magic, start):
            return NotAModel(f"The file is {what}.")
    if head[:1] == b"\x80":
        return NotAModel(
            f"The file was written by Python's pickle or joblib, not by torch: {SAVE}."
        )
    if head[:1] == b"\x08" and head[2:3] in ONNX:
        return NotAModel(f"The file is ONNX, it seems: {SAVE}.")
    if not head.translate(None, TEXT):
        return NotAModel(f"The file is text: {SAVE}.")
    return NotAModel(f"The file is neither a torch nor a safetensors file: {SAVE}.")


TEXT = bytes(byte for byte in range(256) if byte >= 32 or byte in b"\t\n\f\r")
"""What may be in text, in UTF-8 too."""


def refuse_zip(names: list[str]) -> NotAModel:
    """The error for a zip file without a torch object, by its members' names."""
    if any(name.endswith(".npy") for name in names):
        return NotAModel(f"The file holds numpy arrays: {SAVE}.")
    if any(name.endswith((".keras", ".h5")) for name in names):
        return NotAModel(f"The file is Keras's: {SAVE}.")
    if any(name.endswith((".pt", ".pth", ".bin", ".safetensors", ".ckpt")) for name in names):
        return NotAModel(f"The file is a zip file around a model's: {UNPACK}.")
    return NotAModel(f"The zip file holds no torch object: {SAVE}.")
