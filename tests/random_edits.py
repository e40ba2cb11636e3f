"""Random edits of valid files, as strategies of hypothesis: what slips, damage and malice do to bytes and to JSON."""

from __future__ import annotations

import copy
import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

SEARCH = settings(derandomize=True, deadline=None, database=None, max_examples=60)

TOKENS = [
    *(bytes([value]) for value in b",\n\r\t \"'\\#-.0[]{}<>&;:/x\x00\xff\x1a\x1c"),
    *(b"####", b"###", b"CARE", b"999999", b"1000000", b"1e9", b"-1", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xd9\xa3"),
    *(b"NaN", b"null", b"true", b"[[", b"]]", b"u'", b"\\u", b"x:", b"<box>", b"</box>", b"<!--", b"-->", b"<![CDATA["),
    *(b"&lt;", b"<!DOCTYPE a>", b"Latin,", b",,", b"1,2,3,4,5,6,7,8", b"9" * 5000, b"[" * 3000),
]  # fmt: skip

# Where something happens is a fraction of the length: files grow and shrink while they are edited.
_WHERE, _LENGTH = st.floats(0, 1), st.sampled_from([1, 1, 2, 5, 17, 40])
_BYTES = st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4))
_OF_BYTES = ("insert", "delete", "replace", "repeat", "flip", "truncate")
_OF_LINES = {
    "drop line": lambda line, token: [],
    "repeat line": lambda line, token: [line, line],
    "insert line": lambda line, token: [token, b"\n", line],
    "join lines": lambda line, token: [line.rstrip(b"\r\n")],
}
EDITS = st.lists(
    st.tuples(st.sampled_from([*_OF_BYTES, *_OF_LINES]), _WHERE, _LENGTH, _BYTES), min_size=1, max_size=3
)
RANDOM_BYTES = st.binary(max_size=200) | st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)


def edited(content: bytes, edits: list[tuple[str, float, int, bytes]]) -> bytes:
    """The content after some EDITS."""
    for kind, where, length, token in edits:
        if kind in _OF_LINES:
            lines = content.splitlines(keepends=True) or [b""]
            index = min(int(where * len(lines)), len(lines) - 1)
            lines[index : index + 1] = _OF_LINES[kind](lines[index], token)
            content = b"".join(lines)
            continue
        start = int(where * len(content))
        before, chosen, after = content[:start], content[start : start + length], content[start + length :]
        if kind == "truncate":
            content = before
        elif kind == "flip":
            content = before + bytes(byte ^ (1 << length % 8) for byte in chosen[:1]) + chosen[1:] + after
        else:
            middle = {"insert": token + chosen, "delete": b"", "replace": token, "repeat": 2 * chosen}[kind]
            content = before + middle + after
    return content


# JSON

HOSTILE_VALUES = st.sampled_from(
    [None, True, False, 0, -1, 1, 7, 2**31, 2**63, -(2**64), 10**400, 0.5, 1e8, 1e9, 1e308, math.nan, math.inf,
     -math.inf, "", "x", "../x", "/x", "\ud800", "\x00", "x" * 5000, [], [[]], {}, [1, 2], [[1, 2, 3, 4, 5]], [1] * 6,
     [[1e300] * 8], {"size": [5, 6], "counts": [30]}, {"size": [10**9, 10**9], "counts": "0"}, {"counts": [1, -1]}]
)  # fmt: skip
CHANGES = st.lists(
    st.tuples(st.sampled_from(["value", "value", "delete", "repeat"]), _WHERE, HOSTILE_VALUES), min_size=1, max_size=3
)


def changed(content: Any, changes: list[tuple[str, float, Any]]) -> Any:
    """A copy of what JSON holds, with an entry, at any depth, exchanged, deleted or, in a list, doubled each time."""
    content = copy.deepcopy(content)
    for kind, where, value in changes:
        places = list(_places(content))
        if not places:
            return content
        owner, key = places[min(int(where * len(places)), len(places) - 1)]
        if kind == "value":
            owner[key] = copy.deepcopy(value)
        elif kind == "delete":
            del owner[key]
        elif isinstance(owner, list):
            owner.insert(key, copy.deepcopy(owner[key]))
    return content


def _places(content: Any):
    """Every entry at any depth, as the object or list that it is in and its key or index."""
    keys = content.keys() if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in list(keys):
        yield content, key
        yield from _places(content[key])
