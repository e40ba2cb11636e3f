"""Limits for a whole kernel, which runs the cells of a submission: `grading` applies them where it starts one.

Functions that are checked have tighter ones of their own (`sandbox`); these are for what a cell does by itself.
"""

from __future__ import annotations

import resource
import sys

from IPython import get_ipython

MEGABYTES = 6000
PRINTED_CHARACTERS = 100_000
"""In one cell."""


def apply() -> None:
    """Limits the memory of this process, and what each cell may print; for a kernel of IPython."""
    for which, limit in ((resource.RLIMIT_AS, MEGABYTES * 1_000_000), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(which, (limit, resource.getrlimit(which)[1]))

    printed = 0

    def begin(_: object) -> None:
        nonlocal printed
        printed = 0

    def limited(write):
        def write_some(text: str) -> int:
            nonlocal printed
            if printed + len(text) <= PRINTED_CHARACTERS:
                write(text)
            elif printed <= PRINTED_CHARACTERS:
                write(f"\n... what this cell prints beyond {PRINTED_CHARACTERS:,} characters is left out\n")
            printed += len(text)
            return len(text)

        return write_some

    get_ipython().events.register("pre_run_cell", begin)
    for stream in (sys.stdout, sys.stderr):
        stream.write = limited(stream.write)
