"""Tensors between pages that nobody may touch, and memory that says when it was never written."""

import ctypes
import mmap
import weakref

import torch
from torch import Tensor

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
LIBC.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE = mmap.PAGESIZE
M_PERTURB = -6
NO_MEMORY = ctypes.c_void_p(-1).value


def perturb(byte: int) -> None:
    """Have malloc fill what it hands out, and what is freed, with bytes made of this one."""
    LIBC.mallopt(M_PERTURB, byte)


def guarded(values: Tensor, *, at_end: bool, around: int) -> Tensor:
    """The same numbers in a storage of its own that ends, or begins, at a forbidden page.

    `around` is the byte that fills the rest of its pages.
    """
    size = values.numel() * values.element_size()
    if not size:
        return values
    pages = -(-size // PAGE) * PAGE
    start = LIBC.mmap(None, pages + 2 * PAGE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    if start == NO_MEMORY:
        raise MemoryError
    LIBC.mprotect(start, PAGE, 0)
    LIBC.mprotect(start + PAGE + pages, PAGE, 0)
    ctypes.memset(start + PAGE, around, pages)
    offset = PAGE + (pages - size if at_end else 0)
    buffer = (ctypes.c_char * size).from_address(start + offset)
    weakref.finalize(buffer, LIBC.munmap, start, pages + 2 * PAGE)
    tensor = torch.frombuffer(buffer, dtype=values.dtype)
    return tensor.copy_(values.flatten()).view(values.shape)
