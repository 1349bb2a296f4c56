"""Memory that a training step frees, kept for the next one, in large pages."""

import ctypes
import mmap
import sys

# malloc.h
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
# mallopt takes an int
LARGEST = 2**31 - 1
# bytes of address space, as much as one malloc may take here; what is never used takes no memory
RESERVED = 2**31 - 2**21


def keep() -> None:
    """Have glibc keep freed blocks, and the kernel back them by large pages.

    A training step frees and takes hundreds of MB, and fresh pages of 4 KiB cost about a tenth of its time.
    """
    libc = ctypes.CDLL(None)
    # musl has none
    if sys.platform != "linux" or not hasattr(libc, "mallopt"):
        return
    libc.mallopt(M_MMAP_THRESHOLD, LARGEST)
    libc.mallopt(M_TRIM_THRESHOLD, LARGEST)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    if block := libc.malloc(RESERVED):
        start = block + -block % mmap.PAGESIZE
        libc.madvise(start, block + RESERVED - start, mmap.MADV_HUGEPAGE)
        libc.free(block)
