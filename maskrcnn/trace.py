"""What a network computes on the way: each call of a stage with its arguments, its result and its time.

    with traced(model) as trace:
        model(batch)
    print(trace)                                   # a line for each tensor: shape, dtype, least and largest value
    before = trace["propose/nms"].arguments["boxes"]

No line of the model knows of this. While the context is open, its stages are replaced by functions that call them and
write down what went in and what came out.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor

from maskrcnn import boxes, ops
from maskrcnn.model import detections, roi_heads, rpn
from maskrcnn.model.mask_rcnn import MaskRCNN

Watched = Sequence[tuple[Any, str, str]]
"""Object, name of one of its functions, stage that it is."""


@dataclass(frozen=True)
class Call:
    """One call of a stage."""

    name: str
    """The stage, after those inside which it was called: "propose/nms"."""
    arguments: Mapping[str, Any]
    """By the names of the parameters. The network's own tensors, not copies; empty if values were not wanted."""
    result: Any
    """None while it runs, and if it raised an error."""
    seconds: float
    """Its own, without what the calls inside it took."""


class TensorFact(NamedTuple):
    """What is to know about a tensor before looking at it."""

    name: str
    """What it is part of, and which part: "pyramid[0]", "propose.boxes"."""
    shape: tuple[int, ...]
    dtype: str
    """Without "torch."."""
    low: float | None
    """The least of its finite values; None if it has none."""
    high: float | None


class Trace:
    """The calls of stages, in the order in which they began."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.seconds_outside = 0.0
        """What no stage took of the time that the trace was open."""

    def __getitem__(self, name: str) -> Call:
        """The only call of this name. Raises KeyError if there is none, or more than one (see `all`)."""
        found = self.all(name)
        if len(found) != 1:
            raise KeyError(f"found {len(found)} calls of {name!r}, expected one; there are: {', '.join(self.names)}")
        return found[0]

    def all(self, name: str) -> list[Call]:
        """Every call of this name: RoIs are pooled once for the box head and once for the mask head."""
        return [call for call in self.calls if call.name == name]

    @property
    def names(self) -> tuple[str, ...]:
        """Of all calls, each once, in the order in which they first came."""
        return tuple(dict.fromkeys(call.name for call in self.calls))

    def __str__(self) -> str:
        facts = [fact for call in self.calls for fact in tensor_facts(call.result, call.name)]
        rows = [("tensor", "shape", "dtype", "from", "to")]
        rows += [(f.name, " x ".join(map(str, f.shape)) or "-", f.dtype, _short(f.low), _short(f.high)) for f in facts]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
        )


@contextmanager
def traced(model: MaskRCNN) -> Iterator[Trace]:
    """Inside, each call of a stage of this network is written down, with its values.

    The names: backbone, pyramid, rpn (in it rpn/head), propose (propose/decode, propose/nms), rpn_losses (with match
    and sample), roi_losses (with choose, pool, the heads, mask_targets), detect (with pool, the heads, and select, in
    it decode, keep_top and nms). The values stay in memory as long as the trace does. Functions that stages share, such
    as `ops.nms`, are written down whoever calls them: run nothing else in the meantime. Raises TypeError for a network
    that is compiled or exported, which runs past the functions that are replaced.
    """
    if not isinstance(model, MaskRCNN):
        raise TypeError(f"model: found {type(model).__name__}, expected a MaskRCNN")
    with recording(stages_of(model), next(model.parameters()).device.type) as trace:
        yield trace


def stages_of(model: MaskRCNN) -> Watched:
    """What `traced` watches."""
    heads = model.roi_heads
    watched = [
        (model.backbone, "forward", "backbone"),
        (model.pyramid, "forward", "pyramid"),
        (model.rpn, "forward", "rpn"),
        (model.rpn.head, "forward", "head"),
        (model.rpn, "propose", "propose"),
        (model.rpn, "losses", "rpn_losses"),
        (heads, "losses", "roi_losses"),
        (heads, "choose_training_rois", "choose"),
        (heads, "detect", "detect"),
        (heads.pool, "forward", "pool"),
        (heads.box_head, "forward", "box_head"),
        (roi_heads, "select_detections", "select"),
        (roi_heads, "mask_targets", "mask_targets"),
        (ops, "nms", "nms"),
        (boxes, "decode", "decode"),
        (detections, "keep_top", "keep_top"),
    ]
    for module in (rpn, roi_heads):
        watched += [(module, "match", "match"), (module, "sample_randomly", "sample")]
    for name in ("mask_head", "keypoint_head"):
        if getattr(heads, name) is not None:
            watched.append((getattr(heads, name), "forward", name))
    return watched


@contextmanager
def recording(watched: Watched, device: str, values: bool = True) -> Iterator[Trace]:
    """Inside, calls of what is watched are written down.

    device: whose work a call's time is; on "cuda" its kernels are waited for before and after. values: keep arguments
    and results, and with them their memory.
    """
    trace = Trace()
    calls = trace.calls
    inside: list[str] = []
    seconds = [0.0]  # of the calls that are running, from the outermost, and first of what is outside
    since = 0.0

    def lap() -> None:
        nonlocal since
        if device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        seconds[-1] += now - since
        since = now

    def watching(function: Callable, stage: str) -> Callable:
        parameters = inspect.signature(function) if values else None

        def run(*arguments: Any, **keywords: Any) -> Any:
            lap()
            inside.append(stage)
            seconds.append(0.0)
            given = parameters.bind(*arguments, **keywords).arguments if parameters else {}
            place, result = len(calls), None
            calls.append(Call("/".join(inside), given, None, 0.0))
            try:
                result = function(*arguments, **keywords)
            finally:
                lap()
                calls[place] = replace(calls[place], result=result if values else None, seconds=seconds.pop())
                inside.pop()
            return result

        return run

    with ExitStack() as patches:
        for owner, name, stage in watched:
            patches.enter_context(mock.patch.object(owner, name, watching(getattr(owner, name), stage)))
        since = time.perf_counter()
        try:
            yield trace
        finally:
            lap()
            trace.seconds_outside = seconds[0]


def tensor_facts(value: Any, name: str) -> Iterator[TensorFact]:
    """Of each tensor in a value: a tensor, or tuples, lists, dictionaries and dataclasses of them, however deep."""
    if isinstance(value, Tensor):
        finite = value.detach()[value.detach().isfinite()]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (None, None)
        yield TensorFact(name, tuple(value.shape), str(value.dtype).removeprefix("torch."), low, high)
        return
    for part, inner in _parts(value):
        yield from tensor_facts(inner, f"{name}{part}")


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """How each part of a value is reached, and the part."""
    if is_dataclass(value):
        yield from ((f".{field.name}", getattr(value, field.name)) for field in fields(value))
    elif isinstance(value, Mapping):
        yield from ((f"[{key!r}]", inner) for key, inner in value.items())
    elif hasattr(value, "_fields"):
        yield from ((f".{name}", inner) for name, inner in zip(value._fields, value, strict=True))
    elif isinstance(value, tuple | list):
        yield from ((f"[{index}]", inner) for index, inner in enumerate(value))


def _short(number: float | None) -> str:
    return "-" if number is None else f"{number:.4g}"
