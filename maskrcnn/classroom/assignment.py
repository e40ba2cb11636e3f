"""What the cells of an assignment check a student's functions with."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskrcnn.classroom.sandbox import USUAL, Limits, NotPassed, Sandbox

SEED_VARIABLE = "ASSIGNMENT_SEED"
"""An environment variable: with another number, all random inputs are others. A teacher sets it when grading."""


class Assignment:
    """One assignment's rules: its name, and which modules of the library its functions may use."""

    def __init__(self, name: str, may_use: tuple[str, ...] = ()) -> None:
        self.name = name
        self._sandbox = Sandbox(may_use)
        self._of_the_library = Sandbox(("maskrcnn",))

    def attempt(self, function: Callable, *arguments: Any, limits: Limits = USUAL) -> Any:
        """function(*arguments), computed in a process of its own with limits on time, memory and output.

        Raises NotPassed, with a sentence for the student, if it has no value.
        """
        return self._sandbox.call(function, arguments, limits)[0]

    def arguments_after(self, function: Callable, *arguments: Any) -> tuple:
        """The arguments as they are after function(*arguments), for one that should leave them as they were.

        Raises NotPassed as `attempt` does.
        """
        return self._sandbox.call(function, arguments, answer="arguments")[0]

    def require_speed(
        self,
        function: Callable,
        reference: Callable,
        *arguments: Any,
        at_most: float,
        limits: Limits = USUAL,
        hint: str = "is there a loop that PyTorch could do?",
    ) -> None:
        """Compares time and value of a function with those of `reference`, one run after the other.

        at_most: how many times as long the function may take. The best of up to three comparisons counts, as a machine
        may be slow for a moment; one beyond four times that is not repeated. hint: how the message ends.

        Raises NotPassed, also as `attempt` and `check` do.
        """
        ratios: list[float] = []
        while len(ratios) < 3 and not any(ratio > 4 * at_most for ratio in ratios):
            found, own = self._sandbox.call(function, arguments, limits)
            expected, theirs = self._of_the_library.call(reference, arguments)
            what = f"your {function.__name__} of a large input (its time does not count if the values are wrong)"
            check(found, expected, what, tolerance=1e-4)
            ratios.append(own / max(theirs, 1e-6))
            if ratios[-1] <= at_most:
                return
        ratio = f"{min(ratios):.3g}" if min(ratios) < 10 else f"{min(ratios):.1f}"
        raise NotPassed(
            f"your {function.__name__} takes {ratio} times as long as the reference, expected at most {at_most:g} "
            f"times: {hint}"
        )

    def generator(self, number: int = 0) -> torch.Generator:
        """Random numbers for one test: the same for each student and number, others with another ASSIGNMENT_SEED."""
        seed = f"{os.environ.get(SEED_VARIABLE, '0')} {self.name} {number}"
        return torch.Generator().manual_seed(zlib.crc32(seed.encode()))


def check(found: Any, expected: Tensor | np.ndarray | float, what: str, tolerance: float = 1e-5) -> None:
    """Compares a result, of any shape, with what it should be, and says in a sentence where it differs.

    what: what was computed, as in "the IoU of 5 and 7 boxes". Floats may differ by `tolerance`, and by as much of the
    expected value; integers and booleans may not differ.

    Raises NotPassed.
    """
    expected = torch.as_tensor(expected)
    if isinstance(found, int | float | np.generic | np.ndarray) and not isinstance(found, bool):
        found = torch.as_tensor(found)
    if not isinstance(found, Tensor):
        wanted = f"a tensor {tuple(expected.shape)}" if expected.dim() else "a number"
        raise NotPassed(f"{what}: found {kind_of(found)}, expected {wanted}")
    if found.shape != expected.shape:
        raise NotPassed(f"{what}: found the shape {tuple(found.shape)}, expected {tuple(expected.shape)}")
    if found.is_floating_point() != expected.is_floating_point() or (found.dtype == torch.bool) != (
        expected.dtype == torch.bool
    ):
        raise NotPassed(f"{what}: found {found.dtype}, expected {expected.dtype}")
    if found.numel() == 0:
        return
    if expected.is_floating_point():
        found, expected = found.detach().double(), expected.detach().double()
        allowed = tolerance * (1 + expected.abs().nan_to_num(0.0, 0.0, 0.0))
        wrong = ~(((found - expected).abs() <= allowed) | (found == expected) | (found.isnan() & expected.isnan()))
    else:
        wrong = found != expected
    if wrong.any():
        place = wrong.nonzero()[0].tolist()
        at = f" at {place}" if place else ""
        many = f" ({int(wrong.sum())} of {wrong.numel()} are wrong)" if wrong.numel() > 1 else ""
        mine, theirs = (value[tuple(place)].item() for value in (found, expected))
        digits = 6 if f"{mine:.6g}" != f"{theirs:.6g}" else 17
        raise NotPassed(f"{what}: found {mine:.{digits}g}{at}, expected {theirs:.{digits}g}{many}")


def kind_of(thing: Any) -> str:
    """What a function has returned instead of a tensor, in words."""
    if thing is None:
        return "nothing (is there a return?)"
    return f"a {type(thing).__name__}"
