"""Functions on their way to the process that checks them, and the question whether they are a student's own.

A function of a notebook travels by value (cloudpickle): its code, and whatever that refers to. What belongs to a module
travels as a name, and on this occasion one sees which. This finds whoever calls the library's answer, imports it under
another name, or passes it on as his own; it does not find pasted source, and is not meant to.
"""

from __future__ import annotations

import io
import types
from collections.abc import Iterable

import cloudpickle

FOREIGN = (
    "maskrcnn", "torchvision", "detectron2", "mmdet", "mmcv", "mmocr", "ultralytics",
    "cv2", "pycocotools", "torchmetrics",
)  # fmt: skip
"""Packages that hold answers."""


class Refused(Exception):
    """A function is not sent on its way. The text says why."""


def serialise(thing: object, name: str, may_use: Iterable[str]) -> tuple[bytes, list[types.CodeType]]:
    """A function, or its arguments, as bytes for `worker`, and the code in them, which then no longer knows its file.

    name: of the function, for messages.

    may_use: modules of FOREIGN packages that this assignment hands out.

    Raises Refused if the thing, or what it refers to, belongs to another package, or cannot travel.
    """
    stream = io.BytesIO()
    pickler = _Pickler(stream, name, tuple(may_use))
    try:
        pickler.dump(thing)
    except Refused:
        raise
    except Exception as error:  # whatever objects raise when they are asked for what they hold
        raise Refused(f"{name} uses what cannot be sent to the process that checks it: {error}") from None
    return stream.getvalue(), pickler.code


def is_foreign(module: str, may_use: Iterable[str]) -> bool:
    """Whether a module holds answers that the assignment does not hand out."""
    if module.partition(".")[0] not in FOREIGN:
        return False
    return not any(module == allowed or module.startswith(f"{allowed}.") for allowed in may_use)


class _Pickler(cloudpickle.Pickler):
    def __init__(self, stream: io.BytesIO, name: str, may_use: tuple[str, ...]) -> None:
        super().__init__(stream)
        self._name, self._may_use = name, may_use
        self.code: list[types.CodeType] = []

    def reducer_override(self, thing: object) -> object:
        module = thing.__name__ if isinstance(thing, types.ModuleType) else _module_of(thing)
        if is_foreign(module, self._may_use):
            called = module if isinstance(thing, types.ModuleType) else f"{module}.{thing.__qualname__}"
            raise Refused(
                f"{self._name} uses {called}, which is somebody else's work; this assignment asks for your own"
            )
        if isinstance(thing, types.FunctionType):
            self.code.append(thing.__code__)
        return super().reducer_override(thing)


def _module_of(thing: object) -> str:
    """Where a function or class comes from; nothing for any other object, whose class is asked for in its turn."""
    if isinstance(thing, type | types.FunctionType | types.BuiltinFunctionType):
        return thing.__module__ or ""
    return ""
