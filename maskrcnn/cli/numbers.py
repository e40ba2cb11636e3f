"""Numbers that arguments of the command line accept, as types for argparse."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable


def whole_number(least: int) -> Callable[[str], int]:
    """Whole numbers from `least` on."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number, {least} or more")
        return number

    return parse


def fraction(text: str) -> float:
    """Numbers from 0 to 1."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 0 to 1")
    return number


def duration(text: str) -> float:
    """Numbers above 0."""
    number = _number(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number above 0")
    return number


def picture_size(text: str) -> tuple[int, int]:
    """Width and height such as 320x240."""
    match = re.fullmatch(r"([0-9]{2,4})x([0-9]{2,4})", text)
    if not match:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected width x height such as 320x240")
    return int(match[1]), int(match[2])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
