"""Sections of settings: checked when they are made, turned into plain dicts and back, changed one by one from text.

A section is a frozen dataclass that inherits `Section`. The type of a setting is all there is to say about its
values: `steps: Count = 1000` accepts whole numbers from 1 on, in Python, from a file and from the command line.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import reprlib
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints


class ConfigurationError(ValueError):
    """A setting that does not exist or has a value that makes no sense; the message names it."""


class Limit(NamedTuple):
    """Which values of a type are accepted, in words and as a test."""

    words: str
    accepts: Callable[[Any], bool]


Whole = Annotated[int, Limit("0 or more", lambda value: value >= 0)]
Count = Annotated[int, Limit("1 or more", lambda value: value >= 1)]
Slots = Annotated[int, Limit("1 to 100,000", lambda value: 1 <= value <= 100_000)]
"""Of what a picture may have so many: memory is taken for all of them, whether they are there or not."""
Samples = Annotated[int, Limit("0 to 64", lambda value: 0 <= value <= 64)]
"""Along each side of a bin: the square of them is computed for each."""
Divisor = Annotated[int, Limit("1 to 1,024", lambda value: 1 <= value <= 1024)]
NotNegative = Annotated[float, Limit("0 or more", lambda value: value >= 0)]
Epochs = Annotated[float, Limit("0 to 1,000,000", lambda value: 0 <= value <= 1_000_000)]
Positive = Annotated[float, Limit("more than 0", lambda value: value > 0)]
Fraction = Annotated[float, Limit("0 to 1", lambda value: 0 <= value <= 1)]
Decay = Annotated[float, Limit("0 to less than 1", lambda value: 0 <= value < 1)]
Interval = Annotated[tuple[Positive, Positive], Limit("the smaller one first", lambda pair: pair[0] <= pair[1])]
PositiveNumbers = Annotated[tuple[Positive, ...], Limit("one or more", lambda numbers: len(numbers) > 0)]
Sides = Annotated[
    tuple[Count, ...],
    Limit("none, or two, the smaller one first", lambda sides: not sides or (len(sides) == 2 and sides[0] < sides[1])),
]
Names = Annotated[tuple[str, ...], Limit("one or more, all different", lambda names: 0 < len(names) == len(set(names)))]


class Section:
    """What every section of a configuration does when it is made: it checks each of its settings."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self), include_extras=True).items():
            _check(getattr(self, name), kind, f"{type(self).__name__}.{name}")


AnySection = TypeVar("AnySection", bound=Section)


def section_from_dict(section: type[AnySection], values: Any, name: str = "") -> AnySection:
    """The section that `dataclasses.asdict` turned into `values`; lists may stand for tuples, as they do in JSON.

    `name` is the dotted name of the section in messages. A setting that is missing has its default, so that files
    outlive the settings added after them; whoever adds one gives it the default that changes nothing. Raises
    ConfigurationError for unknown and for wrong settings.
    """
    if not isinstance(values, dict):
        raise ConfigurationError(f"{name or section.__name__}: found {shown(values)}, expected a section")
    kinds = get_type_hints(section, include_extras=True)
    unknown = sorted(map(str, values.keys() - kinds.keys()))
    if unknown:
        raise ConfigurationError(f"{name or section.__name__}: unknown settings {shown(unknown)}")
    arguments = {}
    for key, value in values.items():
        kind, full_name = kinds[key], f"{name}.{key}".lstrip(".")
        value = section_from_dict(kind, value, full_name) if is_dataclass(kind) else _tuples(value)
        _check(value, kind, full_name)
        arguments[key] = value
    return section(**arguments)


def override(section: AnySection, assignments: list[str]) -> AnySection:
    """A copy of a section with all of `assignments`, such as "training.steps=200", made at once.

    Raises ConfigurationError for an unknown key, with the nearest valid ones, or for a value that it cannot have.
    """
    values, valid = dataclasses.asdict(section), setting_names(section)
    for assignment in assignments:
        if not isinstance(assignment, str):
            raise ConfigurationError(f"found {shown(assignment)}, expected section.key=value")
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ConfigurationError(f"{shown(assignment)}: expected section.key=value")
        if key not in valid:
            near = difflib.get_close_matches(key, valid, n=3, cutoff=0.0)
            raise ConfigurationError(f"{key}: no such setting; nearest: {', '.join(near)}")
        *path, last = key.split(".")
        inner = values
        for part in path:
            inner = inner[part]
        inner[last] = _parse(text, inner[last], key)
    return section_from_dict(type(section), values)


def setting_names(section: Section, prefix: str = "") -> list[str]:
    """Dotted names of all settings of a section and of the sections inside it."""
    names = []
    for field in fields(section):
        value = getattr(section, field.name)
        if is_dataclass(value):
            names += setting_names(value, f"{prefix}{field.name}.")
        else:
            names.append(prefix + field.name)
    return names


def as_assignments(section: Section) -> list[str]:
    """Every setting of a section as "training.steps=200": given to `override`, they change nothing.

    Most of them can stand in a shell as they are: lists have no brackets around them, and no spaces.
    """
    return [f"{name}={_written(attrgetter(name)(section))}" for name in setting_names(section)]


def _written(value: Any) -> str:
    """A value as `_parse` reads it."""
    if not isinstance(value, tuple) or not value:
        return value if isinstance(value, str) else repr(value)
    parts = [f"({_written(part)})" if isinstance(part, tuple) else repr(part) for part in value]
    return ",".join(parts) + ("," if len(parts) == 1 else "")


def _tuples(value: Any) -> Any:
    """A list, and the lists inside it, as tuples; anything else as it is."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _parse(text: str, current: Any, key: str) -> Any:
    if isinstance(current, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ConfigurationError(f"{key}: cannot read {shown(text)}; it is now {current!r}") from error
    return (value,) if isinstance(current, tuple) and not isinstance(value, tuple | list) else value


def shown(value: Any) -> str:
    """A value in a message, which is a line of some length, whatever a file holds."""
    return _SHORTENED.repr(value)


_SHORTENED = reprlib.Repr()
_SHORTENED.maxstring = _SHORTENED.maxother = _SHORTENED.maxlong = 120

_WORDS = {int: "a whole number", float: "a finite number", bool: "True or False", str: "text", tuple: "a list"}


def _check(value: Any, kind: Any, name: str) -> None:
    """Raises ConfigurationError, with the setting's name, unless `value` is what the type `kind` says."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        kind, limit = arguments
        _check(value, kind, name)
        accepted, expected = limit.accepts(value), limit.words
    elif origin is Literal:
        # 1 == 1.0 == True, but only one of them is a whole number.
        accepted = any(value == argument and type(value) is type(argument) for argument in arguments)
        expected = f"one of {list(arguments)}"
    elif origin is tuple and isinstance(value, tuple):
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        accepted, expected = len(value) == len(kinds), f"{len(kinds)} values"
        for index, (element, element_kind) in enumerate(zip(value, kinds, strict=False)):
            _check(element, element_kind, f"{name}[{index}]")
    elif kind is float:
        # Unlike math.isfinite, the comparison takes whole numbers of any length.
        accepted = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        expected = _WORDS[float]
    else:
        accepted = isinstance(value, origin or kind) and (kind is bool or not isinstance(value, bool))
        expected = _WORDS.get(origin or kind, "a section")
    if not accepted:
        raise ConfigurationError(f"{name}: found {shown(value)}, expected {expected}")
