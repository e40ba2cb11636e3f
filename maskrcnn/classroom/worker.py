"""Runs functions of students, each in a process of its own with limits. `sandbox` starts it, as a script.

It reads requests from standard input and writes replies to standard output, each as 8 bytes of length and a pickled
dictionary. For every request it forks: importing PyTorch takes a second or two, and so it happens once. Nothing of the
library but the list of what holds answers is imported here, so that no answer lies about for a student's function to
find.
"""

from __future__ import annotations

import builtins
import errno
import importlib
import io
import os
import pickle
import resource
import select
import signal
import struct
import sys
import tempfile
import time
import traceback

from own_work import is_foreign  # of this folder, as this is a script

del sys.modules["own_work"]  # who imports it again gets another copy

LONGEST_REPLY = 1 << 30


def main() -> None:
    """Serves requests until standard input ends."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # what prints must not write between replies
        os.dup2(nothing, descriptor)
    import torch

    torch.set_num_threads(1)  # no threads, which a fork would leave behind
    while header := requests.read(8):
        request = pickle.loads(requests.read(*struct.unpack("<Q", header)))
        data = pickle.dumps(_in_a_fork(request))
        replies.write(struct.pack("<Q", len(data)) + data)
        replies.flush()


def _in_a_fork(request: dict) -> dict:
    """Runs a request in a child, which may run wild: it ends with its limits, and takes its own children along."""
    with tempfile.TemporaryDirectory(prefix="attempt-") as folder:
        printed = os.path.join(folder, "printed")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            os.close(reading)
            os.chdir(folder)
            with os.fdopen(writing, "wb") as stream:
                stream.write(pickle.dumps(run(request, printed)))
            os._exit(0)
        os.close(writing)
        data, in_time = _read_until(reading, time.monotonic() + request["wall_seconds"])
        try:
            os.killpg(child, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # it has not come to setsid, or is gone
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        try:
            reply = pickle.loads(data)
        except (EOFError, pickle.UnpicklingError):
            reply = {"kind": _how_it_ended(status, in_time), "printed": _start_of(printed)}
        return reply


def _read_until(descriptor: int, deadline: float) -> tuple[bytes, bool]:
    """What comes through a pipe until its other end is closed, and whether that was before the deadline."""
    parts, length = [], 0
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        while length < LONGEST_REPLY:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stream], [], [], left)[0]:
                return b"".join(parts), False
            part = stream.read(1 << 20)
            if not part:
                break
            parts.append(part)
            length += len(part)
    return b"".join(parts), True


def _how_it_ended(status: int, in_time: bool) -> str:
    if not in_time or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return "time"
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit {os.WEXITSTATUS(status)}"


def run(request: dict, printed: str) -> dict:
    """One call under the limits of the request; what it prints goes to the file `printed`."""
    _limit(request)
    descriptor = os.open(printed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    output = io.FileIO(1, "w", closefd=False)
    sys.stdout = sys.stderr = io.TextIOWrapper(output, "utf-8", "replace", line_buffering=True)
    _refuse_imports(request["may_use"])
    try:
        function, arguments = pickle.loads(request["function"]), pickle.loads(request["arguments"])
        start = time.process_time()
        value = function(*arguments)
        seconds = time.process_time() - start
        sys.stdout.flush()
        answer = {"value": value, "arguments": arguments}[request["answer"]]
        reply = {"kind": "value", "answer": pickle.dumps(answer), "seconds": seconds}
    except BaseException as error:
        reply = _told(error)
    return reply | {"printed": _start_of(printed)}


def _told(error: BaseException) -> dict:
    """An exception in words, with the places that it came through."""
    try:
        text = str(error)
    except Exception:
        text = "(an exception whose text cannot be had)"
    if isinstance(error, MemoryError) or "can't allocate memory" in text:  # the latter is PyTorch's
        return {"kind": "memory"}
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return {"kind": "output"}
    frames = [(frame.name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    return {"kind": "raised", "name": type(error).__name__, "text": text[:2000], "frames": frames[-20:]}


def _limit(request: dict) -> None:
    with open("/proc/self/statm") if os.path.exists("/proc/self/statm") else open(os.devnull) as file:
        pages = int((file.read().split() or ["0"])[0])
    if pages:
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + request["bytes"])
    _lower(resource.RLIMIT_CPU, request["cpu_seconds"])
    _lower(resource.RLIMIT_FSIZE, request["output_bytes"])
    _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, limit: int) -> None:
    hard = resource.getrlimit(which)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (limit, hard))


def _start_of(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(2000)
    except OSError:
        return ""


def _refuse_imports(may_use: tuple[str, ...]) -> None:
    """From here on, importing what holds answers fails, but for what the library imports itself."""
    usual, usual_by_name = builtins.__import__, importlib.import_module
    foreign = is_foreign  # by a name that is not found through this module

    def check(name: str, importer: str) -> None:
        if foreign(name, may_use) and not foreign(importer, ()):
            raise ImportError(f"{name} is somebody else's work; this assignment asks for your own")

    def guarded(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 0:  # what a package hands out may be named behind `import`, too
            inside = [f"{name}.{item}" for item in fromlist or ()]
            for one in inside if inside and foreign(name, may_use) else [name]:
                check(one, (globals or {}).get("__name__") or "")
        return usual(name, globals, locals, fromlist, level)

    def guarded_by_name(name, package=None):
        check(name, sys._getframe(1).f_globals.get("__name__") or "")  # the library's own ops are imported in this way
        return usual_by_name(name, package)

    builtins.__import__, importlib.import_module = guarded, guarded_by_name


if __name__ == "__main__":
    main()
