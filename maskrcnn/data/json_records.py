"""JSON files that hold a list of alike records, read column by column.

Annotations and results of COCO are lists of up to a million small objects, and they come from elsewhere. Each column is
checked as a whole, which takes a fraction of the time that reading the file does; only when something is wrong is it
searched for who it was, so that the message can name the record.
"""

from __future__ import annotations

import gc
import json
import math
import os
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

LARGEST_JSON = 2 * 2**30
"""Bytes of one file; the largest of COCO's own has a quarter of this."""
FARTHEST = 1e8
"""Largest coordinate of anything, in pixels; further out, areas would lose their last pixels to rounding."""

_LARGEST_INTEGER = 2**63 - 1
_REQUIRED: Any = object()


def read_json(path: str | os.PathLike) -> Any:
    """What a JSON file holds. Raises ValueError, in one line, for a file that is missing, too large, or damaged."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: found no such file, expected a JSON file")
    size = path.stat().st_size
    if size > LARGEST_JSON:
        raise ValueError(f"{path}: found {size:,} bytes, expected at most {LARGEST_JSON:,}")
    return parse_json(path.read_bytes(), str(path))


def parse_json(content: bytes, name: str) -> Any:
    """What a JSON file holds; UTF-8, with or without byte order mark. `name` is what messages call the file.

    Raises ValueError as `name:line: found ..., expected ...`, or without a line for numbers of thousands of digits,
    nesting without end, and a key that an object has twice: most JSON readers drop the first without a word.
    """
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_object)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{name}:{line}: found byte 0x{content[error.start]:02x}, expected UTF-8") from None
    except json.JSONDecodeError as error:
        where, what = f"{name}:{error.lineno}", f"{error.msg}, column {error.colno}"
    except (ValueError, RecursionError) as error:
        where, what = name, " ".join(str(error).split())
    raise ValueError(f"{where}: found damaged or incomplete JSON ({what}), expected the whole file")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise ValueError(f"key {describe(twice)} twice in one object")
    return found


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """For making millions of objects that all stay: looking for garbage among them takes as long as making them."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


class Records:
    """A list of JSON objects, and the columns that are read from it."""

    def __init__(self, path: str | os.PathLike, records: object, kind: str) -> None:
        """`kind` is what messages call a record, for example "annotation".

        Raises ValueError unless `records` is a list of objects.
        """
        self.path, self.kind = Path(path), kind
        self._names: Sequence[object] | None = None
        if not isinstance(records, list):
            raise ValueError(f"{path}: found {describe(records)}, expected a list of {kind}s")
        self.records: list[dict[str, Any]] = records
        if not set(map(type, records)) <= {dict}:
            index = next(index for index, record in enumerate(records) if not isinstance(record, dict))
            self.refuse(index, describe(records[index]), "an object")

    def __len__(self) -> int:
        return len(self.records)

    def refuse(self, index: int, found: str, expected: str) -> NoReturn:
        """Raises the `error` of a record."""
        raise self.error(index, f"found {found}, expected {expected}")

    def error(self, index: int, what: str) -> ValueError:
        """The error that names a record, by its id or else by its place in the list, from 0."""
        name = f"[{index}]" if self._names is None else f" {self._names[index]}"
        return ValueError(f"{self.path}: {self.kind}{name}: {what}")

    def ids(self) -> list[int]:
        """The ids, no two alike; from here on messages name records by them."""
        found = self.integers("id")
        if len(set(found)) != len(found):
            seen: set[int] = set()
            for index, value in enumerate(found):
                if value in seen:
                    self.refuse(index, f"id {value} a second time", "ids that differ")
                seen.add(value)
        self._names = found
        return found

    def column(self, key: str, expected: str, default: Any = _REQUIRED) -> list[Any]:
        """The values under a key, of any type; `default` where there is none. `expected` is said if one is missing."""
        if default is not _REQUIRED:
            return [record.get(key, default) for record in self.records]
        try:
            return [record[key] for record in self.records]
        except KeyError:
            index = next(index for index, record in enumerate(self.records) if key not in record)
            self.refuse(index, f"no {key}", expected)

    def integers(
        self, key: str, least: int = -_LARGEST_INTEGER, most: int = _LARGEST_INTEGER, default: Any = _REQUIRED
    ) -> list[int]:
        """The whole numbers under a key, all from `least` to `most`."""
        limits = "" if most == _LARGEST_INTEGER and least < 0 else f" from {least} to {most}"
        expected = f"a whole number{limits}"
        values = self.column(key, expected, default)
        if set(map(type, values)) <= {int} and (not values or (least <= min(values) and max(values) <= most)):
            return values
        for index, value in enumerate(values):
            if type(value) is not int or not least <= value <= most:
                self.refuse(index, f"{key} {describe(value)}", expected)
        raise AssertionError("one of them is wrong")

    def numbers(self, key: str, expected: str, least: float = -math.inf) -> np.ndarray:
        """(N,) float64: the finite numbers under a key, none below `least`. `expected` describes them."""
        values = self.column(key, expected)
        numbers = _finite(values, len(values))
        if numbers is not None and (numbers >= least).all():
            return numbers
        for index, value in enumerate(values):
            number = _finite([value], 1)
            if number is None or number[0] < least:
                self.refuse(index, f"{key} {describe(value)}", expected)
        raise AssertionError("one of them is wrong")

    def texts(self, key: str) -> list[str]:
        """The strings under a key, none of them empty, and without control characters."""
        values = self.column(key, "a text")
        for index, value in enumerate(values):
            if not isinstance(value, str) or not value or not value.isprintable():
                self.refuse(index, f"{key} {describe(value)}", "a text of printable characters")
        return values

    def coordinates(
        self, key: str, lists: Sequence[object], owners: Iterable[int], expected: str, length: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lists of numbers, none beyond FARTHEST, laid one after another.

        Args:
            key: what they are called in messages.
            lists: N values that should be lists of numbers.
            owners: which record each of them belongs to.
            expected: how messages describe one.
            length: how many numbers each must have, if that is known.

        Returns:
            Numbers (M,) float64 and offsets (N + 1,) int64: the first number of each list, and the end of the last.
        """
        if set(map(type, lists)) <= {list}:
            lengths = np.fromiter(map(len, lists), np.int64, count=len(lists))
            if length is None or (lengths == length).all():
                offsets = np.concatenate([[0], np.cumsum(lengths)])
                numbers = _finite(chain.from_iterable(lists), int(offsets[-1]), chain.from_iterable(lists))
                if numbers is not None and (np.abs(numbers) <= FARTHEST).all():
                    return numbers, offsets
        for owner, value in zip(owners, lists, strict=True):
            right = isinstance(value, list) and length in (None, len(value))
            numbers = _finite(value, len(value), value) if right else None
            if numbers is None or (np.abs(numbers) > FARTHEST).any():
                self.refuse(owner, f"{key} {describe(value)}", expected)
        raise AssertionError("one of them is wrong")


def describe(value: object) -> str:
    """What a file holds, in a few words of one line."""
    if value is None:
        return "null"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return reprlib.repr(value)


def _finite(values: Iterable[Any], count: int, types: Iterable[Any] | None = None) -> np.ndarray | None:
    """(N,) float64 of `count` values, or None if one is no number or not finite.

    An iterator can be used up only once, so `types` may be the same values once more.
    """
    if not set(map(type, values if types is None else types)) <= {int, float}:
        return None
    try:
        numbers = np.fromiter(values, np.float64, count=count)
    except OverflowError:  # a whole number of three hundred digits
        return None
    return numbers if np.isfinite(numbers).all() else None
