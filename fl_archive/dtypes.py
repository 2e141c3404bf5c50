"""The element types of tensors, by the names that safetensors gives them.

Types that safetensors has no name for get one of the same kind: complex ones, and torch's
packed ones, which take whole bytes in a file.
"""

import numpy as np
import numpy.typing as npt

from fl_archive.disk import Bytes

DTYPES: dict[str, int] = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U64": 8,
    "U32": 4,
    "U16": 2,
    "U8": 1,
    "BOOL": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "F8_E4M3FNUZ": 1,
    "F8_E5M2FNUZ": 1,
    "F8_E8M0": 1,
    "C32": 4,
    "C64": 8,
    "C128": 16,
    "F4_X2": 1,
    "BITS8": 1,
    "BITS16": 2,
    "BITS1X8": 1,
    "BITS2X4": 1,
    "BITS4X2": 1,
}
"""Bytes per element."""

FLOATING = frozenset(name for name in DTYPES if name.startswith(("F", "BF1", "C")))
"""Types with a fractional part, complex ones included: those that a training can move."""

PACKED = frozenset(name for name in DTYPES if name.startswith(("F4", "BITS")))
"""Types that torch has no arithmetic for: they can't be averaged."""

STORAGES: dict[str, str] = {
    # The untyped one counts in bytes; the last ones have names in TorchScript only.
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
    "LongStorage": "I64",
    "IntStorage": "I32",
    "ShortStorage": "I16",
    "CharStorage": "I8",
    "ByteStorage": "U8",
    "BoolStorage": "BOOL",
    "ComplexDoubleStorage": "C128",
    "ComplexFloatStorage": "C64",
    "UntypedStorage": "U8",
    "ComplexHalfStorage": "C32",
    "UInt16Storage": "U16",
    "UInt32Storage": "U32",
    "UInt64Storage": "U64",
    "Float8_e4m3fnStorage": "F8_E4M3",
    "Float8_e5m2Storage": "F8_E5M2",
    "Float8_e4m3fnuzStorage": "F8_E4M3FNUZ",
    "Float8_e5m2fnuzStorage": "F8_E5M2FNUZ",
    "Float8_e8m0fnuStorage": "F8_E8M0",
    "Float4_e2m1fn_x2Storage": "F4_X2",
}
"""Names in `torch` that a pickle gives a storage's class."""

TORCH: dict[str, str] = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ",
    "float8_e5m2fnuz": "F8_E5M2FNUZ",
    "complex32": "C32",
    "complex64": "C64",
    "complex128": "C128",
    "float4_e2m1fn_x2": "F4_X2",
    **{name: name.upper() for name in ("bits8", "bits16", "bits1x8", "bits2x4", "bits4x2")},
}
"""Names in `torch` of the dtypes themselves, as `_rebuild_tensor_v3` gets them."""

NUMPY_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "C32": "<f2", "C64": "<f4", "C128": "<f8"}

# (unsigned type, mask, pattern): a value is not finite where its masked bits are the pattern.
NOT_FINITE_BITS = {
    "BF16": ("<u2", 0x7F80, 0x7F80),
    "F8_E4M3": ("u1", 0x7F, 0x7F),
    "F8_E5M2": ("u1", 0x7C, 0x7C),
    "F8_E4M3FNUZ": ("u1", 0xFF, 0x80),
    "F8_E5M2FNUZ": ("u1", 0xFF, 0x80),
    "F8_E8M0": ("u1", 0xFF, 0xFF),
}

INFINITE_BITS = {"BF16": (0x7FFF, 0x7F80), "F8_E5M2": (0x7F, 0x7C)}
"""Mask and pattern of the infinities among these; the other types have none."""


def flaws(raw: Bytes, dtype: str) -> npt.NDArray[np.bool_]:
    """Which elements are not finite, or for `BOOL` neither 0 nor 1; complex ones count double.

    Takes a few times the memory of `raw`: pass windows.
    """
    if dtype in NUMPY_FLOATS:
        return np.asarray(~np.isfinite(raw.view(NUMPY_FLOATS[dtype])))
    if dtype in NOT_FINITE_BITS:
        unsigned, mask, pattern = NOT_FINITE_BITS[dtype]
        return np.asarray((raw.view(unsigned) & mask) == pattern)
    return np.asarray(raw > (1 if dtype == "BOOL" else 255))


def nans(raw: Bytes, dtype: str) -> npt.NDArray[np.bool_]:
    """Which elements are NaN, counted as in `flaws`."""
    if dtype in NUMPY_FLOATS:
        return np.asarray(np.isnan(raw.view(NUMPY_FLOATS[dtype])))
    if dtype in INFINITE_BITS:
        mask, pattern = INFINITE_BITS[dtype]
        infinite = (raw.view(NOT_FINITE_BITS[dtype][0]) & mask) == pattern
        return np.asarray(flaws(raw, dtype) & ~infinite)
    return np.asarray(flaws(raw, dtype) & (dtype != "BOOL"))
