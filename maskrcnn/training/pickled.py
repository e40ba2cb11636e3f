"""Reading a pickle without running it.

A pickle is a program for a small machine with a stack. Most of its instructions build lists, dictionaries and numbers;
a few import any function of any module and call it, which is how a file of weights can take over a computer. The
machine here has the same stack and no such instruction: what a file asks to call is written down as a `Made` (which
function, with which arguments), and nothing is imported or called. Whoever reads on decides which of these requests
describe a tensor, and ignores the rest.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MOST_INSTRUCTIONS = 2_000_000
"""Of one pickle. Checkpoints with optimiser and logs have a tenth of it; more would only fill the memory."""

LONGEST_NAME = 300
"""Characters; names come back in messages."""


class Unreadable(ValueError):
    """A pickle that is damaged, or asks for what no file of weights needs."""


@dataclass(frozen=True)
class Global:
    """A function or class that a pickle names."""

    name: str
    """module.name"""


@dataclass(eq=False, slots=True)
class Made:
    """What calling `maker` with `arguments` would give; it was not called."""

    maker: str
    """module.name"""
    arguments: Any
    state: Any = None
    """What the pickle would have put into the object afterwards."""
    items: dict = field(default_factory=dict)
    """What it would have stored in it by key."""


def read_pickle(
    stream: BinaryIO, accept: Callable[[str], bool], persistent: Callable[[Any], Any] | None = None
) -> Any:
    """The value of the next pickle in a stream, which is left behind its end.

    accept: whether a file may name this function or class, "module.name"; it is not called either way.
    persistent: what stands for an object that the pickle only refers to, as PyTorch's do for the numbers of a tensor.

    Raises Unreadable for what is damaged, refused by `accept`, or longer than MOST_INSTRUCTIONS.
    """
    machine = _Machine(accept, persistent)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd escapes in text, of which a damaged file is full
            for count, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
                if count >= MOST_INSTRUCTIONS:
                    raise Unreadable(f"found more than {MOST_INSTRUCTIONS:,} instructions")
                machine.run(instruction.name, argument)
        return machine.pop()
    except Unreadable:
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, MemoryError) as error:
        what = " ".join(str(error).split())[:100] or type(error).__name__
        raise Unreadable(f"truncated or damaged ({what})") from error


class _Machine:
    """The stack, the marks in it, and the memory of what may be used again."""

    def __init__(self, accept: Callable[[str], bool], persistent: Callable[[Any], Any] | None) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memory: dict[int, Any] = {}
        self.accept, self.persistent = accept, persistent

    def run(self, name: str, argument: Any) -> None:
        """One instruction."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _REMEMBER:
            self.memory[len(self.memory) if argument is None else argument] = self.stack[-1]
        elif name in _RECALL:
            self.stack.append(self.memory[argument])
        elif name not in ("PROTO", "FRAME", "STOP"):
            step = getattr(self, f"do_{name.lower()}", None)
            if step is None:
                raise Unreadable(f"asks for {name}, which no file of weights needs")
            step(argument)

    def pop(self) -> Any:
        """The topmost value, which must not lie below the last mark."""
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise Unreadable("damaged (a mark where a value was expected)")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        """All values above the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    # The names below are pickle's own; pickletools says what each does.

    def do_mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def do_pop(self, _: None) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def do_pop_mark(self, _: None) -> None:
        self.pop_mark()

    def do_dup(self, _: None) -> None:
        self.stack.append(self.stack[-1])

    def do_list(self, _: None) -> None:
        self.stack.append(self.pop_mark())

    def do_tuple(self, _: None) -> None:
        self.stack.append(tuple(self.pop_mark()))

    do_frozenset = do_tuple

    def do_tuple1(self, _: None) -> None:
        self.stack.append((self.pop(),))

    def do_tuple2(self, _: None) -> None:
        second, first = self.pop(), self.pop()
        self.stack.append((first, second))

    def do_tuple3(self, _: None) -> None:
        third, second, first = self.pop(), self.pop(), self.pop()
        self.stack.append((first, second, third))

    def do_dict(self, _: None) -> None:
        values, result = self.pop_mark(), {}
        self.stack.append(result)
        self._store(values)

    def do_append(self, _: None) -> None:
        value = self.pop()
        self._extend([value])

    def do_appends(self, _: None) -> None:
        self._extend(self.pop_mark())

    do_additems = do_appends

    def do_setitem(self, _: None) -> None:
        value, key = self.pop(), self.pop()
        self._store([key, value])

    def do_setitems(self, _: None) -> None:
        self._store(self.pop_mark())

    def do_global(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def do_stack_global(self, _: None) -> None:
        name, module = self.pop(), self.pop()
        self._name(module, name)

    def do_reduce(self, _: None) -> None:
        arguments, maker = self.pop(), self.pop()
        self.stack.append(Made(_maker(maker), arguments))

    do_newobj = do_reduce

    def do_newobj_ex(self, _: None) -> None:
        self.pop()  # arguments by name
        self.do_reduce(None)

    def do_build(self, _: None) -> None:
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Made):
            target.state = state

    def do_binpersid(self, _: None) -> None:
        if self.persistent is None:
            raise Unreadable("refers to an object outside of itself")
        self.stack.append(self.persistent(self.pop()))

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Unreadable("damaged (a name that is no text)")
        full = f"{module}.{name}"
        if not full.isprintable() or len(full) > LONGEST_NAME:
            raise Unreadable("damaged (a name that cannot be printed)")
        if not self.accept(full):
            raise Unreadable(f"it asks to call {full} while loading; only arrays, numbers and text are read")
        self.stack.append(Global(full))

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Made):  # whose elements nobody will ask for
            raise Unreadable("damaged (an element for something that is no list)")

    def _store(self, values: list[Any]) -> None:
        target = self.stack[-1]
        stored = target.items if isinstance(target, Made) else target
        if not isinstance(stored, dict):
            raise Unreadable("damaged (an item for something that is no dictionary)")
        for key, value in zip(values[::2], values[1::2], strict=True):
            _check_key(key)
            stored[key] = value


_LITERALS = {
    "INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,  # a set would ask its elements for their hashes
}
_REMEMBER = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_RECALL = {"GET", "BINGET", "LONG_BINGET"}

_SCALARS = (str, bytes, int, float, bool, type(None), Global, Made)


def _check_key(key: Any) -> None:
    """Raises Unreadable for keys such as tuples in tuples: deep enough, asking for their hash ends the process."""
    parts = key if isinstance(key, tuple) else (key,)
    if not all(isinstance(part, _SCALARS) for part in parts):
        raise Unreadable(f"found a key of a dictionary that is a {type(key).__name__}, expected text or a number")


def _maker(value: Any) -> str:
    """The name of what is called. A pickle may also call what another call has given: that has no name."""
    return value.name if isinstance(value, Global) else "something that another call has given"
