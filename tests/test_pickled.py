"""Reading a pickle without running it: the same values as pickle itself, and nothing is ever called."""

import collections
import io
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from maskrcnn.training import pickled
from maskrcnn.training.pickled import Global, Made, Unreadable, read_pickle

VALUES = [
    None, True, False, 0, 1, -1, 255, 65536, -(2**31), 2**40, -(2**100), 0.1, float("inf"), "text", "ä\n中",
    "x" * 300, b"", b"bytes\xff" * 100, bytearray(b"array"), (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [],
    [1, [2, [3]]], {}, {"a": 1, 2: "b", None: (), (1, "c"): 0.5}, [{"deep": [({"er": 1},)]}],
]  # fmt: skip


def read(content: bytes, **settings: object):
    return read_pickle(io.BytesIO(content), **{"accept": lambda name: True, **settings})


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_those_that_pickle_reads(protocol):
    for value in VALUES:
        if isinstance(value, bytes | bytearray) and protocol < 3:
            continue  # these protocols ask for a call to make bytes
        assert read(pickle.dumps(value, protocol)) == value or isinstance(value, bytearray), value
    assert read(pickle.dumps(VALUES[:12], protocol)) == VALUES[:12]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_appears_twice_is_one_object(protocol):
    shared = ["shared"]
    first, second, itself = read(pickle.dumps([shared, shared, [shared]], protocol))
    assert first is second is itself[0]
    circle: list = []
    circle.append(circle)
    found = read(pickle.dumps(circle, protocol))
    assert found[0] is found


def test_a_stream_is_left_behind_the_pickle():
    stream = io.BytesIO(pickle.dumps("first") + pickle.dumps("second") + b"rest")
    assert [read_pickle(stream, lambda name: True) for _ in range(2)] == ["first", "second"]
    assert stream.read() == b"rest"


def test_sets_become_lists_and_frozen_ones_tuples():
    assert sorted(read(pickle.dumps({3, 1, 2}))) == [1, 2, 3] and read(pickle.dumps(frozenset([7]))) == (7,)


class Odd:
    """Python objects of all sorts."""

    def __init__(self) -> None:
        self.value, self.function = 3, getattr


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_objects_are_written_down_and_not_made(protocol):
    found = read(pickle.dumps({"odd": Odd(), "ordered": collections.OrderedDict(a=1), "class": Odd}, protocol))
    assert isinstance(found["odd"], Made) and found["odd"].maker.endswith("Odd")
    builtins = "__builtin__" if protocol == 2 else "builtins"
    assert found["odd"].state == {"value": 3, "function": Global(f"{builtins}.getattr")}
    assert found["ordered"].maker == "collections.OrderedDict" and found["ordered"].items == {"a": 1}
    assert found["class"].name.endswith("test_pickled.Odd")
    array = read(pickle.dumps(np.arange(3.0), protocol))
    assert array.maker.endswith(("_reconstruct", "_frombuffer"))


def test_nothing_is_imported_or_called(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/harm",)

    found = read(pickle.dumps([Harm()]))
    assert found[0].maker == "posix.system" and found[0].arguments == (f"touch {tmp_path}/harm",)
    with pytest.raises(Unreadable, match=r"it asks to call posix\.system while loading"):
        read(pickle.dumps([Harm()]), accept=lambda name: not name.startswith("posix."))
    read(b"cantigravity\nfly\n.")
    assert os.listdir(tmp_path) == [] and "antigravity" not in sys.modules


def test_what_a_call_has_given_cannot_be_called_either():
    content = b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR(S'y'\ntR."  # getattr(os.system, "x")("y")
    found = read(content)
    assert found.maker == "something that another call has given"


def test_references_are_given_to_whoever_knows_them():
    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return ("storage", value.tolist()) if isinstance(value, np.ndarray) else None

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"a": np.array([1, 2])})
    assert read(stream.getvalue(), persistent=lambda reference: reference[1]) == {"a": [1, 2]}
    with pytest.raises(Unreadable, match="refers to an object outside"):
        read(stream.getvalue())


# Damaged and hostile


def test_truncated_anywhere():
    content = pickle.dumps({"a": [1, 2.0, "three", b"four"], "b": collections.OrderedDict(c=np.arange(3))}, 4)
    for length in range(len(content)):
        with pytest.raises(Unreadable):
            read(content[:length])


def test_any_wrong_byte_gives_a_value_or_an_error_of_one_line():
    content = pickle.dumps({"a": [1, 2.0, "three", b"four", (5, 6)], "b": collections.OrderedDict(c=np.arange(3))}, 2)
    random = np.random.default_rng(0)
    errors = 0
    for _ in range(2000):
        changed = bytearray(content)
        changed[random.integers(len(content))] = random.integers(256)
        try:
            read(bytes(changed))
        except Unreadable as error:
            errors += 1
            assert "\n" not in str(error) and len(str(error)) < 500
    assert errors > 200


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated"),
        (b".", "damaged"),
        (b"0.", "damaged"),
        (b"(.", "damaged"),
        (b"a.", "damaged"),
        (b"t.", "damaged"),
        (b"K\x01K\x02a.", "no list"),
        (b"K\x01K\x02K\x03s.", "no dictionary"),
        (b"}(K\x01u.", "damaged"),
        (b"}]K\x01s.", "a key of a dictionary that is a list"),
        (b"K\x01K\x02\x93.", "a name that is no text"),
        (b"cos\nsys\x1b[31m\n.", "cannot be printed"),
        (b"c" + b"x" * 400 + b"\ny\n.", "cannot be printed"),
        (b"g5\n.", "damaged"),
        (b"\x82\x01.", "asks for EXT1"),
        (b"(ios\nsystem\n.", "asks for INST"),
        (b"\x97.", "asks for NEXT_BUFFER"),
        (b"I" + b"9" * 10_000 + b"\n.", "damaged"),
        (b"\x8e" + struct.pack("<Q", 2**62) + b"x.", "damaged"),  # bytes of which there are not so many
        (b"\xff.", "damaged"),
    ],
)
def test_damaged_pickles(content, message):
    with pytest.raises(Unreadable, match=message):
        read(content)


def test_a_memory_of_billions_takes_no_memory():
    """Python's own unpickler makes room for every place below the one that is named."""
    assert read(b"K\x07r\xff\xff\xff\xffj\xff\xff\xff\xff.") == 7


def test_more_instructions_than_any_checkpoint_has_are_refused(monkeypatch):
    monkeypatch.setattr(pickled, "MOST_INSTRUCTIONS", 100)
    assert len(read(b"]" + b"K\x01a" * 49 + b".")) == 49
    with pytest.raises(Unreadable, match="more than 100 instructions"):
        read(b"]" + b"K\x01a" * 50 + b".")


def test_depth_does_not_end_the_process():
    """Asking for the hash of a tuple, or for the text of a list, goes as deep as they do."""
    script = (
        "import io\n"
        "from maskrcnn.training.pickled import read_pickle, Unreadable\n"
        "read_pickle(io.BytesIO(b']' + b']' * 300000 + b'a' * 300000 + b'.'), lambda name: True)\n"
        "try:\n"
        "    read_pickle(io.BytesIO(b'}K\\x01' + b'\\x85' * 300000 + b'K\\x01s.'), lambda name: True)\n"
        "except Unreadable as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "found a key of a dictionary that is a tuple, expected text or a number\n"
