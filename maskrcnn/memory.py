"""Running out of memory: how it is told from other errors, and what is said of it.

Python, numpy, PyTorch on a processor, PyTorch on a GPU and the system each have an error of their own for it, some of
them only a text. Here they become one, in one line, that says when it happened and which settings need less.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_MEANS_IT = re.compile(
    r"can't allocate memory|not enough memory"  # PyTorch for a processor, on Linux and on Windows
    r"|cannot allocate memory"  # the system
    r"|out of memory|_STATUS_ALLOC_FAILED"  # CUDA and its libraries
    r"|bad_alloc|bad allocation"  # C++
    r"|could not create a primitive$"  # oneDNN; what it cannot do it says of "a primitive descriptor"
    # The ops of this package: the interface that they are compiled for passes on only which call has failed. These
    # do nothing but allocate.
    r'|aten::(empty|new_empty|new_zeros|contiguous)".* API call failed',
    re.IGNORECASE | re.DOTALL,
)
"""What a RuntimeError says that means it."""


class OutOfMemory(MemoryError):
    """The computer, or its GPU, had no memory left. The text says when, and what needs less."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether this error says that there was no memory left, whichever library raised it."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and bool(_MEANS_IT.search(str(error))))


def in_one_line(error: BaseException, advice: str) -> str:
    """"out of memory, asked for 256 MiB; ADVICE"; without an amount where the error does not say one."""
    found = re.search(r"allocate ([\d.]+) ?([KMGTPE]iB|bytes)", str(error))
    if found is None:
        return f"out of memory; {advice}"
    number, unit = found.groups()
    amount = f"{int(number) / 2**20:,.1f} MiB" if unit == "bytes" else f"{number} {unit}"
    return f"out of memory, asked for {amount}; {advice}"


@contextmanager
def out_of_memory_told(when: Callable[[], str], advice: str) -> Iterator[None]:
    """Makes OutOfMemory, in one line that begins with `when()`, of every error that means it; others pass.

    when: called when it has happened; advice: what needs less.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        if isinstance(error, OutOfMemory) or not ran_out_of_memory(error):
            raise
        raise OutOfMemory(f"{when()}: {in_one_line(error, advice)}") from error
