"""C++ and CUDA in the cells of a notebook. `%load_ext maskrcnn.classroom.compiled` makes `%%cpp NAME` known there:

    %%cpp doubled_cpp
    extern "C" void doubled(float* values, int64_t count) { ... }

keeps the text of the cell, as a `CppSource` with that name; `source(NAME)` is that of the cell that was run last. It is
compiled when it is used: `CppSource.function` makes a Python function of it, for `Assignment.attempt`, and
`CppSource.launch` launches a kernel on the emulator. Both raise NotPassed if the text does not compile, with the cell's
line and its text.

A function travels to the process that attempts it, which imports this module: the assignment has to allow it, with
`Assignment(name, may_use=("maskrcnn.classroom.compiled",))`.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from maskrcnn.classroom.sandbox import Limits, NotPassed

# The emulator is imported where it is used: it brings the library's ops along, which the process that attempts
# functions does without.

OF_KERNELS = Limits(seconds=5)
"""For one launch. A kernel with the sizes of an assignment takes less than a second."""

_SOURCES = Path(__file__).resolve().parents[2] / "csrc"
_FIRST_LINE = 2
"""Of a text, as a notebook counts: the first is the magic's."""
_MOST_ERRORS, _MOST_LINES = 3, 4


@dataclass(frozen=True)
class CppSource:
    """The text of a cell in C++."""

    name: str
    text: str

    def function(self, name: str, returns: type | None = None, given: str = "") -> CppFunction:
        """Compiles the text, once, and makes a Python function of its function `extern "C" ... name(...)`.

        Args:
            name: of the function.
            returns: int for one that returns int64_t, float for one that returns float, None for one that returns void.
            given: C++ text that comes before that of the cell. Unlike a cell it may include headers of `csrc/`.

        Raises NotPassed if the text does not compile, or includes what it may not; RuntimeError without a compiler.
        """
        self._require_own_work()
        flags = ["-O2", "-g1", "-fPIC", "-shared"]
        flags += ["-Werror=return-type"]  # a function without return would not crash in a way that anyone understands
        flags += ["-fno-finite-loops"]  # a loop without end may be taken for one that ends, and is left out then
        flags += ["-Wl,-z,defs"] if sys.platform == "linux" else []  # what is called has to be somewhere
        library, said = _compile(self._program(given), *flags)
        if library is None:
            raise NotPassed(self._does_not_compile(said))
        return CppFunction(str(library), name, returns)

    def launch(
        self,
        kernel: str,
        grid: int | Sequence[int],
        block: int | Sequence[int],
        *arguments: Tensor | float | None,
        sanitizer: str = "address",
        given: str = "",
        limits: Limits = OF_KERNELS,
    ) -> None:
        """`kernel<<<grid, block>>>(arguments...)` on the emulator, as `maskrcnn.ops.emulator.launch` has it.

        sanitizer: "address", "thread", or "" for none. given: as for `function`.

        Raises NotPassed, with a sentence for the student, if the text does not compile, if the emulator or the
        sanitizer has found something wrong, or at a limit; RuntimeError without a compiler.
        """
        from maskrcnn.ops import emulator

        self._require_own_work()
        _require_compiler()
        if not re.search(rf"\b{kernel.partition('<')[0]}\b", self.text):
            raise NotPassed(f"{self.name} has no kernel called {kernel}")
        options = {"sanitizer": sanitizer, "seconds": limits.seconds, "megabytes": limits.megabytes}
        try:
            emulator.launch(self._program(given, emulator.SOURCE_NAME), kernel, grid, block, *arguments, **options)
        except ValueError as error:
            if str(error).startswith("launch: "):  # who launches is wrong, not the text
                raise
            raise NotPassed(self._does_not_compile(str(error), emulator.SOURCE_NAME)) from None
        except RuntimeError as error:
            raise NotPassed(f"your {kernel}: {self._in_words(str(error), emulator.SOURCE_NAME)}") from None

    def _program(self, given: str, name: str = "") -> str:
        return f'#line 1 "given.h"\n{given}\n#line {_FIRST_LINE} "{name or self.name}"\n{self.text}'

    def _require_own_work(self) -> None:
        """Raises NotPassed if the text includes a header that is not one of C++ itself."""
        blank = r"(?:\s|/\*[\s\S]*?\*/)*"
        directive = rf"^{blank}(?:#|%:){blank}(?:include|include_next|import)\b\s*(.*)"
        for included in re.findall(directive, self.text.replace("\\\n", ""), re.MULTILINE):
            header = re.fullmatch(r"<([\w.]+)>\s*(?://.*|/\*.*)?", included.strip())
            if not header or (_SOURCES / header[1]).exists():
                raise NotPassed(
                    f"{self.name} includes {included.strip()}; it may include headers of C++ itself, such as <cmath>, "
                    "as this assignment asks for your own work"
                )

    def _does_not_compile(self, said: str, name: str = "") -> str:
        if "not written yet" in said:
            return f"{self.name} is not written yet; what you write takes the place of the line with #error, too"
        complaints = self._complaints(said, name or self.name) or [f"    {_shortened(said.strip())[:500]}"]
        complaints = [one for one in complaints if "no return statement" not in one] or complaints  # it may be there
        more = len(complaints) - _MOST_ERRORS
        if more > 0:
            complaints[_MOST_ERRORS:] = [f"    and {more} more, which may be due to the first"]
        return "\n".join([f"{self.name} does not compile:", *complaints])

    def _complaints(self, said: str, name: str) -> list[str]:
        """What a compiler and a linker say, without paths: each with the line of the cell that it is about."""
        found: list[str] = []
        line = 0  # of the cell, that was spoken of last: errors inside of a header are about a line that led there
        for one in said.splitlines():
            here = re.match(rf"{re.escape(name)}:(\d+):", one)
            if here:
                line = int(here[1])
            complaint = re.search(r"\b(?:fatal )?error: (.*)", one)
            missing = re.search(r"(?:undefined reference to|undefined symbol:) (.*)", one)
            if missing:
                place = re.search(rf"(?:<stdin>|\b{re.escape(name)}):(\d+):", one)
                sentence = f"{_shortened(missing[1])} is used, but nobody has written it"
                found += self._about(int(place[1]) if place else 0, sentence)
            elif complaint and not complaint[1].startswith("ld returned"):
                found += self._about(line, _shortened(complaint[1]))
        return list(dict.fromkeys(found))

    def _about(self, line: int, sentence: str) -> list[str]:
        if not 0 <= line - _FIRST_LINE < len(self.text.splitlines()):
            return [f"    {sentence}"]
        return [f"    line {line}: {sentence}\n        {self._line(line)}"]

    def _line(self, number: int) -> str:
        return self.text.splitlines()[number - _FIRST_LINE].strip()

    def _in_words(self, found: str, name: str) -> str:
        """What the emulator has found, said to a student, and the lines it names."""
        parts = []
        for part in found.strip().split("; ")[:_MOST_ERRORS]:
            kind, _, places = part.partition(":")
            at = " and ".join(dict.fromkeys(places.strip().split(" and ")))
            parts.append(_MEANINGS[kind].format(f" ({at})" if at else "") if kind in _MEANINGS else part)
        text = re.sub(rf"{re.escape(name)}:(\d+)", r"line \1", "; ".join(parts))
        if "threads of a block wait" in text:
            text += "; all threads of a block have to come to the same barrier, as often as each other"
        elif "still running" in text:
            text += "; is there a loop that does not end?"
        elif re.search(r"ended with -(7|11)\b", text):  # SIGBUS, SIGSEGV
            text = "it uses memory that it has no right to"
        numbers = sorted({int(number) for number in re.findall(r"\bline (\d+)", text)})[:_MOST_LINES]
        numbers = [number for number in numbers if 0 <= number - _FIRST_LINE < len(self.text.splitlines())]
        return "\n".join([text, *(f"    line {number}: {self._line(number)}" for number in numbers)])


_kept: dict[str, CppSource] = {}


def source(name: str) -> CppSource:
    """The text of the cell that begins with `%%cpp name`. Raises NotPassed if there is none."""
    if name not in _kept:
        raise NotPassed(f"there is no cell that begins with %%cpp {name}, or it has not been run")
    return _kept[name]


_MEANINGS = {
    "data race": "it has a data race{}: two threads use the same memory there, at least one of them writes, and "
    "nothing says who comes first",
    "heap-buffer-overflow": "it uses memory outside of its tensors{}",
    "global-buffer-overflow": "it uses memory outside of its shared arrays{}",  # `static`, on the emulator
    "stack-buffer-overflow": "it uses memory outside of an array{}",
    "SEGV": "it uses memory that it has no right to{}",
    "requested": "it wants more memory than there is{}",
    "allocator": "it wants more memory than there is{}",
    "std::bad_alloc": "it wants more memory than there is{}",
}
"""Of what sanitizers call by a name."""


@dataclass(frozen=True)
class CppFunction:
    """A function in C++, which a Python function calls when it is attempted.

    Tensors must lie on the CPU, contiguous, and become pointers; int becomes int64_t, and float a float of 32 bits.
    What the function writes into a tensor is there afterwards, in the process that has called it.
    """

    library: str
    name: str
    returns: type | None

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, *arguments: Tensor | float) -> int | float | None:
        """Calls it. Raises NameError if there is none, IndexError if it has written in front of a tensor."""
        try:
            function = getattr(ctypes.CDLL(self.library), self.name)
        except AttributeError:
            raise NameError(f'there is no function extern "C" {self.name}') from None
        function.restype = {None: None, int: ctypes.c_int64, float: ctypes.c_float}[self.returns]
        memory = {index: _Memory(value) for index, value in enumerate(arguments) if isinstance(value, Tensor)}
        value = function(*(
            memory[index].pointer if index in memory else _number(value) for index, value in enumerate(arguments)
        ))  # fmt: skip
        ctypes.CDLL(None).fflush(None)  # what it has printed; the process that attempts it ends without a farewell of C
        for index, one in memory.items():
            if not one.take_back():
                raise IndexError(f"it has written in front of its argument {index + 1}")
        return value


class _Memory:
    """A copy of a tensor that ends where memory ends: who reads or writes behind it crashes, always.

    Without it, a mistake by one element goes unnoticed in most cases, since there is something behind most tensors.
    """

    def __init__(self, tensor: Tensor) -> None:
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise ValueError(f"a tensor must be contiguous and on the CPU, found {tuple(tensor.shape)} {tensor.device}")
        self._tensor, self._size = tensor, tensor.numel() * tensor.element_size()
        room = -(-self._size // mmap.PAGESIZE) * mmap.PAGESIZE
        self._pages = mmap.mmap(-1, room + mmap.PAGESIZE)
        begin = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        # A write is refused as well as a read: 0 is PROT_NONE.
        if ctypes.CDLL(None).mprotect(ctypes.c_void_p(begin + room), ctypes.c_size_t(mmap.PAGESIZE), 0) != 0:
            raise OSError("a page of memory cannot be closed")
        self._before = room - self._size
        self._address = begin + self._before
        ctypes.memset(begin, _UNTOUCHED, self._before)
        ctypes.memmove(self._address, tensor.data_ptr(), self._size)
        self.pointer = ctypes.c_void_p(self._address)

    def take_back(self) -> bool:
        """Copies to the tensor what is in the memory now; whether what lies in front of it is as it was."""
        ctypes.memmove(self._tensor.data_ptr(), self._address, self._size)
        return self._pages[: self._before] == bytes([_UNTOUCHED]) * self._before


_UNTOUCHED = 0xA5


def _number(value: float) -> ctypes.c_int64 | ctypes.c_float:
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_int64(value)


@functools.lru_cache
def _compile(text: str, *flags: str) -> tuple[Path | None, str]:
    """`emulator.compile_text`, of each text once, also if it does not compile."""
    from maskrcnn.ops import emulator

    _require_compiler()
    return emulator.compile_text(text, *flags)


def _require_compiler() -> None:
    from maskrcnn.ops import emulator

    if missing := emulator.what_is_missing():
        raise RuntimeError(missing)


def _shortened(text: str) -> str:
    """A compiler's sentence without its last word, the name of the option in brackets, and without paths."""
    text = re.sub(r"\s*\[-W[^\]]*\]$", "", text)
    text = re.sub(r"(?:/[\w.+-]+)+/([\w.+-]+)", r"\1", text)
    return text.replace("`", "'")


def load_ipython_extension(shell: Any) -> None:
    """Makes %%cpp known; %load_ext calls this."""

    def cpp(line: str, cell: str) -> None:
        """%%cpp NAME keeps the text of the cell, in C++, as NAME."""
        name = line.strip()
        if not name.isidentifier():
            raise NotPassed(f"%%cpp needs a name behind it, as in %%cpp iou_cpp; found {name!r}")
        _kept[name] = CppSource(name, cell)
        shell.push({name: _kept[name]})

    shell.register_magic_function(cpp, "cell", "cpp")
