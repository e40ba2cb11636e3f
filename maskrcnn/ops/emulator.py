"""CUDA kernels without a GPU: `launch` compiles the text of one for the processor and runs it on tensors.

What emulates CUDA is `csrc/emulator/emulator.h`, and what it can tell its README.md says; here is the way there from
Python. It needs GCC or Clang, and the repository, since an installed package comes without `csrc/`.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

SOURCE_NAME = "kernel.cu"
"""What messages call the text of a kernel."""
_SOURCES = Path(__file__).resolve().parents[2] / "csrc"
_TYPES = {
    torch.float32: "float",
    torch.float64: "double",
    torch.int32: "int32_t",
    torch.int64: "int64_t",
    torch.bool: "bool",
    torch.uint8: "uint8_t",
}
_FOUND, _FAILED = 66, 65
"""Exit codes: of a sanitizer that has found something, and of a launch that ended with an exception."""
_MOST_TEXT = 1_000_000
_LARGEST_FILE = 100
"""MB that a program with limits may write into one file, or print."""
"""Characters that are read of what a program says."""


def what_is_missing() -> str:
    """Why `launch` cannot work here, or nothing if it can."""
    if _compiler() is None or os.name == "nt":
        return "the emulator needs a C++ compiler, GCC or Clang"
    if not (_SOURCES / "emulator").is_dir():
        return "the emulator needs the repository, an installed package has no csrc/"
    return ""


def launch(
    source: str,
    kernel: str,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    *arguments: Tensor | float | None,
    sanitizer: str = "",
    skip_barrier: int = 0,
    seconds: int | None = None,
    megabytes: int | None = None,
) -> None:
    """`kernel<<<grid, block>>>(arguments...)` on threads of the processor; tensors are changed in place.

    Args:
        source: C++ text with a `__global__` function; it may include headers of `csrc/`.
        kernel: the function's name, of a template with its arguments.
        grid, block: how many blocks, and how many threads in each; one to three numbers.
        arguments: contiguous tensors on the CPU become pointers (uint8 ones to whatever the kernel asks for), numbers
            become int64_t or double, and None a null pointer.
        sanitizer: "thread" finds data races, "address" what is read or written outside the tensors.
        skip_barrier: the line of the source whose `__syncthreads()` is left out, 0 for none.
        seconds: of processors' time that the kernel may take, None for any; by the clock three times as long. With
            such a limit it may print 100 MB.
        megabytes: of memory that it may use (on Linux), None for any number.

    The kernel runs in a process of its own, so that whatever it does, this one lives on. What it prints is printed.

    Raises:
        ValueError: the source is no valid C++, or does not take these arguments; or an argument of an unknown type.
        RuntimeError: what the emulator or the sanitizer has found, with the lines of the source; a limit that the
            kernel ran into; or something is missing here.
    """
    if sanitizer not in ("", "thread", "address"):
        raise ValueError(f'launch: sanitizer must be "thread" or "address", found {sanitizer!r}')
    words: list[object] = [*_three(grid), *_three(block)]
    text = _text_of_program(source, kernel, arguments)
    if missing := what_is_missing():
        raise RuntimeError(missing)
    program = _compile(text, sanitizer)
    with tempfile.TemporaryDirectory() as folder:
        files: dict[Path, Tensor] = {}
        for index, value in enumerate(arguments):
            if isinstance(value, Tensor):
                path = Path(folder) / str(index)
                path.write_bytes(value.numpy().tobytes())
                files[path] = value
                words.append(path)
            else:
                words.append(0 if value is None else repr(value + 0))  # + 0: True is 1
        environment = {"EMULATOR_SKIP_BARRIER": f"{SOURCE_NAME}:{skip_barrier}"} if skip_barrier else {}
        environment |= dict.fromkeys(("TSAN_OPTIONS", "ASAN_OPTIONS"), f"exitcode={_FOUND}")
        command = [*(_fixed_addresses() if sanitizer else ()), *map(str, [program, *words])]
        result = _run(_with_limits(command, sanitizer, seconds), environment, folder, seconds, megabytes)
        if result.stdout:
            print(result.stdout, end="" if result.stdout.endswith("\n") else "\n")
        _raise_what_was_found(result, sanitizer)
        for path, tensor in files.items():
            if tensor.numel():
                stored = torch.frombuffer(bytearray(path.read_bytes()), dtype=tensor.dtype)
                tensor.copy_(stored.view_as(tensor))


def _text_of_program(source: str, kernel: str, arguments: Sequence[Tensor | float | None]) -> str:
    """The source, and below it a main function that finds its arguments in the words of the command."""
    lines, names = [], []
    for index, value in enumerate(arguments):
        word, name = f"words[{index + 7}]", f"argument{index}"
        names.append(name)
        if isinstance(value, Tensor):
            if value.dtype not in _TYPES or value.device.type != "cpu" or not value.is_contiguous():
                raise ValueError(
                    f"launch: argument {index} must be a contiguous tensor on the CPU, of {_known_types()}, "
                    f"found {value.dtype} on {value.device}, {'' if value.is_contiguous() else 'not '}contiguous"
                )
            lines.append(f"emulator::Memory<{_TYPES[value.dtype]}> {name}({word});")
            names[-1] += ".pointer()"
        elif value is None:
            names[-1] = "nullptr"
        elif isinstance(value, int):
            lines.append(f"const int64_t {name} = std::strtoll({word}, nullptr, 10);")
        elif isinstance(value, float):
            lines.append(f"const double {name} = std::strtod({word}, nullptr);")
        else:
            raise ValueError(f"launch: argument {index} must be a tensor, a number or None, found {value!r}")
    written = [f"{name.removesuffix('.pointer()')}.write_back();" for name in names if name.endswith(".pointer()")]
    arguments_of_launch = ", ".join(["emulator::to_dim3(words + 1)", "emulator::to_dim3(words + 4)", kernel, *names])
    return "\n".join([
        '#include "emulator/arguments.h"',
        "#include <cstdio>",
        f'#line 1 "{SOURCE_NAME}"',
        source,
        '#line 1 "launch"',
        "int main(int, char** words) {",
        *lines,
        f"try {{ emulator::launch({arguments_of_launch}); }}",
        f"catch (const std::exception& error) {{ std::fputs(error.what(), stderr); return {_FAILED}; }}",
        *written,
        "}",
    ])  # fmt: skip


@functools.cache
def _compile(text: str, sanitizer: str) -> Path:
    """The program of this text; of each text and sanitizer one, as long as this process lives."""
    flags = ["-O1", "-g1", "-pthread"] + ([f"-fsanitize={sanitizer}"] if sanitizer else [])
    program, said = compile_text(text, *flags)
    if program is None:
        errors = [line for line in said.splitlines() if re.search(r"error:|undefined|cannot find", line)]
        raise ValueError("\n".join(errors) or said)
    return program


def compile_text(text: str, *flags: str) -> tuple[Path | None, str]:
    """The program or library that the compiler makes of C++ text, and what it says.

    There is no program if the text is no valid C++, or takes more than a minute or large files. It lives as long as
    this process. Headers of `csrc/` are found.
    """
    program = Path(_folder().name) / f"program{len(list(Path(_folder().name).iterdir()))}"
    # No a * b + c in one rounding: the kernels of this project promise the bits of its C++ ops.
    command = [_compiler(), "-x", "c++", "-", "-std=c++17", "-ffp-contract=off", f"-I{_SOURCES}", *flags]
    command = _with_limits([*command, "-o", str(program)], "", seconds=60)
    environment = os.environ | {"LC_ALL": "C"}
    result = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace", env=environment)
    return program if result.returncode == 0 else None, result.stderr


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Where programs lie; it disappears with this process."""
    return tempfile.TemporaryDirectory(prefix="maskrcnn-emulator-")


def _with_limits(command: list[str], sanitizer: str, seconds: int | None) -> list[str]:
    """A command whose time, and whose files, are limited if `seconds` is given; memory is not."""
    limits = ["ulimit -S -c 0"]
    if sanitizer:  # these reserve terabytes of addresses, also where the process that starts them may not
        limits.append("ulimit -S -v $(ulimit -H -v)")
    if seconds is not None:
        limits += [f"ulimit -S -t {seconds}", f"ulimit -S -f {_LARGEST_FILE * 2000}"]  # in units of 512 bytes
    return ["sh", "-c", "; ".join([*(f"{limit} 2>/dev/null" for limit in limits), 'exec "$@"']), "sh", *command]


def _run(
    command: list[str], environment: dict[str, str], folder: str, seconds: int | None, megabytes: int | None
) -> subprocess.CompletedProcess:
    """What a program says, until it ends. Raises RuntimeError if it does not end in time, or wants too much memory."""
    paths = [Path(folder) / "printed", Path(folder) / "said"]  # files, as they know how long they may become
    with paths[0].open("wb") as printed, paths[1].open("wb") as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=printed, stderr=said, env=os.environ | environment
        )
        limited = seconds is not None or megabytes is not None
        deadline = float("inf") if seconds is None else time.monotonic() + 3 * seconds
        too_long = f"the kernel was still running after {seconds} s"
        try:
            while True:
                try:
                    process.wait(0.05 if limited else None)
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() > deadline:
                        raise RuntimeError(too_long) from None
                    # The sanitizers have limits of memory, too, but not all of them, and each its own.
                    if megabytes is not None and _megabytes_of(process.pid) > megabytes:
                        raise RuntimeError(f"the kernel wanted more than {megabytes} MB of memory") from None
        finally:
            process.kill()
            process.wait()
    if process.returncode == -signal.SIGXCPU:
        raise RuntimeError(too_long)
    if process.returncode == -signal.SIGXFSZ:
        raise RuntimeError(f"the kernel printed more than {_LARGEST_FILE} MB")
    return subprocess.CompletedProcess(command, process.returncode, *map(_start_of, paths))


def _megabytes_of(process: int) -> float:
    """The memory that a process has in use, where /proc says it, elsewhere 0."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _start_of(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_MOST_TEXT)


def _compiler() -> str | None:
    return shutil.which((os.environ.get("CXX") or "c++").split()[0])


@functools.cache
def _fixed_addresses() -> tuple[str, ...]:
    """What makes a program begin at fixed addresses, where that is to be had.

    ThreadSanitizer's memory layout does not fit those that a kernel with much randomness in them gives out.
    """
    prefix = ("setarch", "-R")
    works = shutil.which("setarch") and subprocess.run([*prefix, "true"], capture_output=True).returncode == 0
    return prefix if works else ()


def _raise_what_was_found(result: subprocess.CompletedProcess, sanitizer: str) -> None:
    if result.returncode == _FAILED:
        raise RuntimeError(result.stderr)
    if result.returncode == _FOUND:
        raise RuntimeError(_summary(result.stderr))
    if result.returncode != 0:
        which = f" (compiled for the {sanitizer} sanitizer)" if sanitizer else ""
        raise RuntimeError(f"the kernel's process{which} ended with {result.returncode}: {result.stderr[:500]}")


def _summary(report: str) -> str:
    """A sanitizer's report in a line: for each thing it has found what, and the lines of the source."""
    found = []
    for part in re.split(r"(?=WARNING: ThreadSanitizer|ERROR: (?:Thread|Address)Sanitizer)", report)[1:]:
        kind = re.match(r"\w+: \w+: ([\w-]+(?: race)?)", part)[1]
        stacks = re.findall(r"(?:[Rr]ead|[Ww]rite|READ|WRITE) of size .*\n((?:    #.*\n)+)", part)
        stacks = stacks or re.findall(r"(?:    #.*\n)+", part)[:1]  # the address was none at all
        places = [_first_place(frames) for frames in stacks]
        found.append(f"{kind}: {' and '.join(sorted(places, key=_line_last))}")
    return "; ".join(sorted(set(found))) or report[:500]


def _first_place(frames: str) -> str:
    """File and line of the innermost call in the source, or else of the innermost that is not the emulator's."""
    places = [place for place in re.findall(r"([\w.]+\.\w+:\d+)", frames) if not place.startswith("emulator.h")]
    own = [place for place in places if place.startswith(f"{SOURCE_NAME}:")]
    return next(iter([*own, *places]), "an unknown place")


def _line_last(place: str) -> tuple[str, int]:
    file, _, line = place.rpartition(":")
    return file, int(line) if line.isdigit() else 0


def _three(sizes: int | Sequence[int]) -> list[int]:
    """One to three numbers as three, of which those that are not given are 1."""
    sizes = [sizes] if isinstance(sizes, int) else [*sizes]
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"launch: a grid or a block has one to three sizes, found {len(sizes)}")
    return [*sizes, 1, 1][:3]


def _known_types() -> str:
    return ", ".join(str(dtype).removeprefix("torch.") for dtype in _TYPES)
