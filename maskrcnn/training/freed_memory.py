"""What becomes of memory that a step of training no longer needs."""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt (glibc's malloc.h).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

LARGE = 3 * 2**20
"""Bytes of a block that goes back to the system as soon as it is free."""
KEPT = 64 * 2**20
"""Bytes at the end of the heap that stay for the next block."""


def return_freed_memory() -> bool:
    """Has Linux's C library give large blocks back to the system when they are freed; whether it did.

    Unasked, it soon keeps all below 32 MiB, in which later blocks of other sizes do not fit: gradients are freed where
    the next step needs room for activations. Of a float32 ResNet-50 FPN at 800 x 1088 that was 130 MiB of 1,365, and
    giving them back takes no more time than keeping them. It holds for the whole process; other systems have no such
    question.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    # Both, as setting either stops the library from finding a second one itself.
    return mallopt is not None and bool(mallopt(_MMAP_THRESHOLD, LARGE) and mallopt(_TRIM_THRESHOLD, KEPT))
