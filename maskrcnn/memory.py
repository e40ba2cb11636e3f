"""Running out of memory: how it is told from other errors, and what is said of it.

Python, numpy, PyTorch on a processor, PyTorch on a GPU and the system each have an error of their own for it, some of
them only a text. Here they become one, in one line, that says when it happened and which settings need less.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_TEXTS = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory", "bad_alloc")
"""What RuntimeErrors say that mean it: of PyTorch for a processor (on Linux, and on Windows), of CUDA and its
libraries, of C++."""


class OutOfMemory(MemoryError):
    """The computer, or its GPU, had no memory left. The text says when, and what needs less."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether this error says that there was no memory left, whichever library raised it."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    return isinstance(error, MemoryError) or isinstance(error, RuntimeError) and any(t in text for t in _TEXTS)


def in_one_line(error: BaseException, advice: str) -> str:
    """"out of memory, asked for 256 MiB; ADVICE"; without an amount where the error does not say one."""
    found = re.search(r"allocate ([\d.]+) ?([KMGT]iB|bytes)", str(error))
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
