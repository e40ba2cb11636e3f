"""Files from hostile hands, through the commands that read them: corpora, where the ordinary suite has examples.

The property is the same for all: the command ends by itself and soon, with exit code 2 and one printable line on
standard error, or, where a file may be right by accident, with exit code 0. It takes no more than MOST_MEMORY, runs
nothing that stands in the file, and writes nothing outside of its output folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from small_text import SETTINGS, annotation, picture, save_small_weights, write_icdar2015

from maskrcnn.benchmarks.memory import resident_bytes
from maskrcnn.cli import MISTAKE, main
from maskrcnn.training.checkpoint import load_weights

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="only Linux tells the memory in use"),
]

MOST_SECONDS = 3.0
"""Of processor time, for a command that refuses a file."""
MOST_MEMORY = 500 * 2**20
"""Bytes beyond those in use before. Files of hundreds of megabytes are legal; these here are far smaller."""
PROGRESS = re.compile(r"\d+/\d+ pictures")
PICTURES, TEXTS = "ch4_test_images", "Challenge4_Test_Task1_GT"


# What must hold


@dataclass
class Place:
    """A folder with a data set, weights and a run that are all in order, where hostile files come and go."""

    root: Path
    capsys: pytest.CaptureFixture | None = None

    @property
    def harm(self) -> Path:
        """The file that a payload would make."""
        return self.root / "harm"

    @property
    def out(self) -> Path:
        """The only place in which a command may write."""
        return self.root / "out"

    def said(self, *arguments: object, accepted: bool = False) -> str:
        """The one line with which a command refuses; with `accepted` it may also succeed, and then this is empty."""
        before, resident = self._contents(), resident_bytes("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from here on
        self.capsys.readouterr()
        started = time.process_time()
        code = main(list(map(str, arguments)))
        seconds, more = time.process_time() - started, resident_bytes("VmHWM") - resident
        lines = self.capsys.readouterr().err.splitlines(keepends=True)
        told = "".join(line for line in lines if not PROGRESS.fullmatch(line.strip()))
        assert not self.harm.exists(), "a payload has run"
        assert self._contents() == before, "something outside of the output folder has changed"
        shutil.rmtree(self.out, ignore_errors=True)
        assert seconds < MOST_SECONDS, f"{seconds:.1f} s: {told}"
        assert more < MOST_MEMORY, f"{more / 2**20:.0f} MiB: {told}"
        if accepted and code == 0:
            return ""
        assert code == MISTAKE and told.count("\n") == 1 and told.endswith("\n"), (code, told)
        assert told[:-1].isprintable() and len(told) < 1500, told
        assert told.startswith(f"maskrcnn {arguments[0]}: "), told
        return told.removeprefix(f"maskrcnn {arguments[0]}: ")[:-1]

    def _contents(self) -> dict[str, str]:
        """A digest of every file below the root but for the output folder."""
        return {
            str(path): hashlib.sha1(path.read_bytes()).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not path.is_relative_to(self.out) and path.stat().st_size < 2**20
        }


@contextlib.contextmanager
def naming(case: str) -> Iterator[None]:
    """Adds to whatever fails inside which of a corpus it was."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"the case: {case}")
        raise


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("hostile"))
    data = write_icdar2015(place.root / "data")
    weights = save_small_weights(place.root / "valid.safetensors")
    train = ["train", "text_small", "--data", data, "--out", place.root / "run", "--set", *SETTINGS, "training.steps=2"]
    # These also take the memory that every first call takes.
    assert main([*map(str, train), "--minutes", "1e-9"]) == 0
    for arguments in (["predict", weights, data / PICTURES / "img_1.jpg"], ["evaluate", weights, "--data", data]):
        assert main([*map(str, arguments), "--out", str(place.out)]) == 0
    shutil.rmtree(place.out)
    return place


@pytest.fixture
def place(ready, capsys) -> Place:
    ready.capsys = capsys
    return ready


# Weights and checkpoints


def text(content: bytes) -> bytes:
    """A text in a pickle."""
    return b"X" + struct.pack("<I", len(content)) + content


def payloads(harm: Path) -> dict[str, bytes]:
    """Pickles that make a file when they are read by Python, by the ways that pickles have to call something."""
    shout = f"touch {harm}".encode()
    code = f"open({str(harm)!r}, 'w').close()".encode()

    class Reduced:
        def __reduce__(self) -> tuple:
            return os.system, (shout.decode(),)

    return {
        **{f"reduce, protocol {protocol}": pickle.dumps(Reduced(), protocol) for protocol in range(6)},
        "reduce in a state": pickle.dumps({"model": {"w": Reduced()}, "step": 1}, 2),
        "exec": b"\x80\x02cbuiltins\nexec\n" + text(code) + b"\x85R.",
        "exec of Python 2": b"\x80\x02c__builtin__\nexec\n" + text(code) + b"\x85R.",
        "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text(shout) + b"\x85R.",
        "instance": b"(S'" + shout + b"'\nios\nsystem\n.",
        "object": b"(cos\nsystem\nS'" + shout + b"'\no.",
        "new object": b"\x80\x02cos\nsystem\n" + text(shout) + b"\x85R0cpathlib\nPath\n" + text(b"x") + b"\x85\x81.",
        "what a call has given": b"\x80\x02cbuiltins\ngetattr\ncos\n_wrap_close\n" + text(b"__init__") + b"\x86R"
        b"cbuiltins\nexec\n" + text(code) + b"\x85R.",
    }  # fmt: skip


def exhausting() -> dict[str, bytes]:
    """Pickles that call nothing, and only want to take long, or all the memory."""
    # Every tuple holds the previous one twice: a kilobyte of pickle, 2^60 elements to whoever walks through them.
    doubled = b"K\x01K\x02\x86" + b"".join(b"q%ch%c\x86" % (number, number) for number in range(60))
    return {
        "a function of PyTorch": b"\x80\x02ctorch.hub\nload\n" + text(b"a/b") + b"\x85R.",
        "a file by PyTorch": b"\x80\x02ctorch\nload\n" + text(b"/dev/zero") + b"\x85R.",
        "a file by numpy": b"\x80\x02cnumpy\nload\n" + text(b"/dev/zero") + b"\x85R.",
        "a huge tensor": b"\x80\x02ctorch\nzeros\nK\x01\x8a\x06\0\0\0\0\0\x10\x86R.",
        "an extension": b"\x80\x02\x82\x01.",
        "a reference": b"\x80\x02" + text(b"evil") + b"Q.",
        "a reference to a path": b"\x80\x02" + b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"../../x")
        + text(b"cpu") + b"K\x04tQ.",
        "deep": b"\x80\x02" + b"]" * 20_000 + b"a" * 19_999 + b".",
        "deep, in the model": b"\x80\x02}" + text(b"model") + b"]" * 20_000 + b"a" * 19_999 + b"s.",
        "doubled": b"\x80\x02" + doubled + b".",
        "doubled, as a name": b"\x80\x02}" + doubled + b"K\x01s.",
        "doubled, in the model": b"\x80\x02}" + text(b"model") + b"}" + text(b"w") + doubled + b"ss.",
        "a large number": b"\x80\x02\x8b\xff\xff\xff\x7f" + b"\xff" * 100 + b".",
        "a number in words": b"I" + b"9" * 100_000 + b"\n.",
        "a large text": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
        "a large array": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
        "a far memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    }  # fmt: skip


def in_a_zip(content: bytes) -> bytes:
    """A pickle where PyTorch has its own."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", b"\0" * 16)
    return file.getvalue()


def in_the_earlier_format(content: bytes) -> bytes:
    """A pickle after the three with which PyTorch's earlier format begins."""
    start = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    return b"".join(pickle.dumps(value, 2) for value in start) + content


WRAPPED = {"alone": bytes, "in a zip": in_a_zip, "in the earlier format": in_the_earlier_format}


def readers(place: Place, path: Path) -> Iterator[list[object]]:
    """All commands that read weights, of the file at a path."""
    picture_file, data = place.root / "data" / PICTURES / "img_1.jpg", place.root / "data"
    settings = ["--set", *SETTINGS, "training.steps=1"]
    yield ["predict", path, picture_file, "--out", place.out]
    yield ["info", path]
    yield ["train", "text_small", "--data", data, "--out", place.out, "--init", path, *settings]
    if path.suffix != ".safetensors":
        for family in ("torchvision", "mmdetection", "detectron2"):
            yield ["import", path, "--from", family, "--out", place.out / "x.safetensors"]


def resumed(place: Place, content: bytes, accepted: bool = False) -> str:
    """What is said when a run goes on from such a checkpoint."""
    place.out.mkdir()
    (place.out / "checkpoint.pt").write_bytes(content)
    settings = ["--set", *SETTINGS, "training.steps=2"]
    arguments = ["train", "text_small", "--data", place.root / "data", "--out", place.out, "--resume", *settings]
    return place.said(*arguments, accepted=accepted)


@pytest.mark.parametrize("how", WRAPPED)
def test_pickles_that_run_code_or_exhaust_the_machine(place, how):
    path = place.root / "hostile.pt"
    for name, content in (payloads(place.harm) | exhausting()).items():
        path.write_bytes(WRAPPED[how](content))
        with naming(name):
            for arguments in readers(place, path):
                assert "hostile.pt: " in place.said(*arguments), name
            assert "checkpoint.pt: " in resumed(place, path.read_bytes())
    path.unlink()


def test_the_payloads_are_real(tmp_path):
    """Whoever unpickles them runs their code; otherwise the test above would show nothing."""
    for name, content in payloads(tmp_path / "harm").items():
        with contextlib.suppress(TypeError):
            pickle.loads(content)
        assert (tmp_path / "harm").exists(), name
        (tmp_path / "harm").unlink()


class Odd:
    """Whatever is asked of it in a pickle, PyTorch does not know it."""


def hostile_parts(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """A checkpoint in order, each time with one part in disorder."""
    deep: Any = 1
    for _ in range(2_000):
        deep = [deep]
    first = next(iter(values["model"]))
    group = values["optimiser"]["param_groups"][0]

    def optimiser(**change: Any) -> dict[str, Any]:
        return values | {"optimiser": values["optimiser"] | change}

    def config(**change: Any) -> dict[str, Any]:
        return values | {"config": values["config"] | change}

    def model(tensor: Any) -> dict[str, Any]:
        return values | {"model": values["model"] | {first: tensor}}

    return {
        "no parts": {},
        "another part": values | {"\x1b[2J\n": 1},
        "a step in the future": values | {"step": 10**30},
        "a step before all": values | {"step": -1},
        "a step that is true": values | {"step": True},
        "time that is no number": values | {"seconds": float("nan")},
        "a deep configuration": values | {"config": deep},
        "a deep name": config(name=deep),
        "a deep section": config(training=deep),
        "a deep value": config(training=values["config"]["training"] | {"steps": deep}),
        "a name for a terminal": config(name="\x1b[2J\x07\n" * 3),
        "an unknown section": config(**{"\x1b]0;title\x07": 1}),
        "an unknown setting": config(training=values["config"]["training"] | {"\x1b[31m": 1}),
        "a long setting": config(training=values["config"]["training"] | {"x" * 10**6: 1}),
        "a long value": config(training=values["config"]["training"] | {"steps": "9" * 10**6}),
        "a number beyond all": config(training=values["config"]["training"] | {"steps": 10**400}),
        "other names of classes": config(model=values["config"]["model"] | {"class_names": ["\x1b[2J"]}),
        "many classes": config(model=values["config"]["model"] | {"class_names": [f"c{n}" for n in range(10**5)]}),
        "the state of a parameter that is deep": optimiser(state={0: deep}),
        "the state of a parameter with a name for a terminal": optimiser(state={"\x1b[2J": {}}),
        "no state": optimiser(state={}),
        "a state of no numbers": optimiser(state={0: {}}),
        "a group that is deep": optimiser(param_groups=[group | {"betas": deep}]),
        "a group without parameters": optimiser(param_groups=[group | {"params": []}]),
        "a group with other parameters": optimiser(param_groups=[group | {"params": [10**9]}]),
        "a million groups": optimiser(param_groups=[{}] * 10**5),
        "a view of terabytes": model(torch.zeros(1).expand(10**6, 10**6)),
        "a complex weight": model(torch.zeros(2, dtype=torch.complex64)),
        "a name for a terminal of a weight": values | {"model": values["model"] | {"\x1b[2J": torch.zeros(1)}},
        "an empty model": values | {"model": {}},
        "a foreign object": values | {"versions": {"torch": Odd()}},
    }  # fmt: skip


@contextlib.contextmanager
def deeper_recursion() -> Iterator[None]:
    """PyTorch writes a deep list by calling itself; it reads one without."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    yield
    sys.setrecursionlimit(limit)


def test_checkpoints_with_one_part_in_disorder(place):
    content = (place.root / "run" / "checkpoint.pt").read_bytes()
    values = torch.load(io.BytesIO(content), weights_only=True)
    path = place.root / "hostile.pt"
    for name, parts in hostile_parts(values).items():
        file = io.BytesIO()
        with deeper_recursion():
            torch.save(parts, file)
        with naming(name):
            said = resumed(place, file.getvalue(), accepted=name in ("a step in the future", "a step that is true"))
            assert not said or "checkpoint.pt" in said
            path.write_bytes(file.getvalue())
            place.said("info", path, accepted=True)
    path.unlink()


def test_checkpoints_with_wrong_bits_and_ends(place):
    """A wrong bit among the numbers is noticed by the sums in the zip, or is a weight like another."""
    content = (place.root / "run" / "checkpoint.pt").read_bytes()
    path, random = place.root / "hostile.pt", np.random.default_rng(0)
    places = [*random.integers(0, 20_000, 15), *random.integers(len(content) - 5_000, len(content), 15)]
    for where in places:
        with naming(f"a wrong bit at {where}"):
            damaged = bytearray(content)
            damaged[where] ^= 1 << random.integers(8)
            path.write_bytes(damaged)
            place.said("info", path, accepted=True)
            resumed(place, bytes(damaged), accepted=True)
    for kept in [*range(1, 64, 9), *random.integers(64, len(content), 12)]:
        with naming(f"{kept} bytes kept"):
            assert "checkpoint.pt: refused: " in resumed(place, content[:kept])
    path.unlink()


# Weights of safetensors


def safetensors_of(header: object, numbers: bytes = b"", length: int | None = None) -> bytes:
    """A file with this header, JSON or bytes, which claims to be `length` bytes long."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


def lying_headers() -> dict[str, bytes]:
    def entry(shape: Any = (2,), offsets: Any = (0, 8), dtype: Any = "F32") -> dict[str, Any]:
        return {"dtype": dtype, "shape": shape, "data_offsets": offsets}

    eight = b"\0" * 8
    return {
        "nothing": b"",
        "a length only": struct.pack("<Q", 8),
        "a length of exabytes": safetensors_of({}, length=2**63),
        "the largest length": safetensors_of({}, length=2**64 - 1),
        "a length beyond the file": safetensors_of({}, length=1000),
        "a length within the header": safetensors_of({"a": entry()}, eight, length=5),
        "a header of 100 MB": safetensors_of(b" " * 99_000_000),
        "no JSON": safetensors_of(b"{"),
        "no UTF-8": safetensors_of(b'{"\xff": 1}'),
        "a list": safetensors_of([]),
        "a deep header": safetensors_of(b"[" * 100_000),
        "a deep entry": safetensors_of(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
        "overlap": safetensors_of({"a": entry(), "b": entry(offsets=(4, 12))}, eight + eight),
        "the same numbers": safetensors_of({"a": entry(), "b": entry()}, eight),
        "a gap": safetensors_of({"a": entry(offsets=(8, 16))}, eight + eight),
        "offsets beyond the file": safetensors_of({"a": entry(offsets=(0, 2**40))}, eight),
        "offsets that go back": safetensors_of({"a": entry(offsets=(8, 0))}, eight),
        "negative offsets": safetensors_of({"a": entry(offsets=(-8, 0))}, eight),
        "offsets that are text": safetensors_of({"a": entry(offsets=("0", "8"))}, eight),
        "three offsets": safetensors_of({"a": entry(offsets=(0, 4, 8))}, eight),
        "a shape of another size": safetensors_of({"a": entry(shape=(3,))}, eight),
        "a shape beyond 64 bits": safetensors_of({"a": entry(shape=(2**62, 2**62))}, eight),
        "a shape that wraps to 2": safetensors_of({"a": entry(shape=(2**63 + 1, 2))}, eight),
        "a huge shape of nothing": safetensors_of({"a": entry(shape=(2**62, 0), offsets=(0, 0))}),
        "a thousand dimensions": safetensors_of({"a": entry(shape=[1] * 1000 + [2])}, eight),
        "a negative shape": safetensors_of({"a": entry(shape=(-2,))}, eight),
        "an unknown dtype": safetensors_of({"a": entry(dtype="Q7")}, eight),
        "numbers of 4 bits": safetensors_of({"a": entry(dtype="F4", shape=(16,))}, eight),
        "numbers of 6 bits": safetensors_of({"a": entry(dtype="F6_E2M3", shape=(4,), offsets=(0, 3))}, eight[:3]),
        "exponents only": safetensors_of({"a": entry(dtype="F8_E8M0", shape=(8,))}, eight),
        "complex numbers": safetensors_of({"a": entry(dtype="C64", shape=(1,))}, eight),
        "no dtype": safetensors_of({"a": {"shape": [2], "data_offsets": [0, 8]}}, eight),
        "metadata that is no text": safetensors_of({"__metadata__": {"config": 1}}),
        "metadata that is a list": safetensors_of({"__metadata__": []}),
        "metadata that is deep": safetensors_of(b'{"__metadata__":' + b"[" * 1_000 + b"]" * 1_000 + b"}"),
        "twice the same name": safetensors_of(b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
                                              b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', eight),
        "a name of a megabyte": safetensors_of({"x" * 2**20: entry()}, eight),
        "a name for a terminal": safetensors_of({"\x1b[2J\n": entry()}, eight),
        "a hundred thousand tensors": safetensors_of({str(n): entry((0,), (0, 0)) for n in range(100_000)}),
    }  # fmt: skip


def test_headers_that_lie(place):
    path = place.root / "hostile.safetensors"
    for name, content in lying_headers().items():
        path.write_bytes(content)
        with naming(name):
            for arguments in readers(place, path):
                assert "hostile.safetensors: " in place.said(*arguments)
    path.unlink()


def hostile_configurations(valid: dict[str, Any]) -> dict[str, str]:
    """What may stand in the metadata of a weights file as its configuration."""
    model, text_settings = valid["model"], valid["text"]
    deep = "[" * 10_000 + "]" * 10_000

    def changed(section: str, **settings: Any) -> str:
        return json.dumps(valid | {"model": model | {section: model[section] | settings}})

    return {
        "empty": "",
        "deep": deep,
        "deep in objects": '{"a":' * 10_000 + "1" + "}" * 10_000,
        "a deep setting": json.dumps(valid | {"name": "DEEP"}).replace('"DEEP"', deep[9_100:-9_100]),
        "null": "null",
        "a number of a megabyte": "9" * 10**6,
        "an unknown field": json.dumps(valid | {"\x1b[2J": 1}),
        "an unknown setting": json.dumps(valid | {"model": model | {"x" * 10**5: 1}}),
        "not a number": json.dumps(valid | {"text": text_settings | {"score_threshold": float("nan")}}),
        "an infinity": json.dumps(valid | {"text": text_settings | {"score_threshold": float("inf")}}),
        "an infinite picture": changed("image", short_side=10**400),
        "a huge picture": changed("image", short_side=10**12, long_side=10**12),
        "deviations of 0": changed("image", deviation=[0, 0, 0]),
        "padding without end": changed("image", size_divisor=2**40),
        "many proposals": changed("rpn", proposals_test=2**40, candidates_test=2**40),
        "many detections": changed("box_head", detections=2**40),
        "a huge head": changed("box_head", hidden=2**40),
        "samples without end": changed("box_head", sampling_ratio=2**40),
        "samples of masks without end": changed("mask_head", sampling_ratio=2**40),
        "a huge mask": changed("mask_head", pooled_size=2**20),
        "dilation without end": changed("mask_head", dilation=2**30),
        "classes for a terminal": json.dumps(valid | {"model": model | {"class_names": ["\x1b[2J"]}}),
    }  # fmt: skip


def test_hostile_configurations(place):
    state, config, _ = load_weights(place.root / "valid.safetensors")
    path = place.root / "hostile.safetensors"
    for name, written in hostile_configurations(config.to_dict()).items():
        path.write_bytes(safetensors.torch.save(state, {"format": "pt", "config": written}))
        with naming(name):
            for arguments in readers(place, path):
                accepted = name in ("a huge mask", "an infinite picture", "a huge picture",
                                    "dilation without end", "classes for a terminal")  # fmt: skip
                said = place.said(*arguments, accepted=accepted or arguments[0] in ("info", "train"))
                assert not said or "hostile.safetensors" in said or "out of memory" in said
    path.unlink()


def test_weights_that_are_no_numbers_or_of_another_kind(place):
    state, config, _ = load_weights(place.root / "valid.safetensors")
    path = place.root / "hostile.safetensors"
    makes: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "nan": lambda weight: torch.full_like(weight, float("nan")),
        "infinite": lambda weight: torch.full_like(weight, float("inf")),
        "huge": lambda weight: torch.full_like(weight, 3e38),
        "whole": lambda weight: weight.long(),
        "flags": lambda weight: weight > 0,
        "complex": lambda weight: weight.to(torch.complex64),
        "eight bits": lambda weight: weight.to(torch.float8_e4m3fn),
        "turned": lambda weight: weight.flatten(),
    }
    for what, make in makes.items():
        for which in (lambda name: True, lambda name: name.endswith("classes.weight"), lambda name: "rpn" in name):
            changed = {name: make(weight) if which(name) else weight for name, weight in state.items()}
            path.write_bytes(safetensors.torch.save(changed, {"format": "pt", "config": json.dumps(config.to_dict())}))
            with naming(what):
                place.said(*next(readers(place, path)), accepted=True)
    path.unlink()


# Pictures


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of 8-bit grey with these chunks, whose sums are right."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    joined = b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    )
    return b"\x89PNG\r\n\x1a\n" + joined


def tiff(entries: list[tuple[int, int, int, int]], after: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory: tag, type, count and value of each entry."""
    listed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + listed + struct.pack("<I", 0) + after


def hostile_pictures() -> dict[str, bytes]:
    """Pictures that are refused."""
    whole = Image.fromarray(picture(1))
    jpeg, flat = encoded(whole, "JPEG"), encoded(whole, "PNG")
    bomb = zlib.compress(b"\0" * 2**24, 9)
    grey = [(256, 4, 1, 100), (257, 4, 1, 100), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (278, 4, 1, 100)]
    wrong_sum = bytearray(flat)
    wrong_sum[wrong_sum.index(b"IDAT") + 40] ^= 1
    return {
        **{f"JPEG, {kept} bytes": jpeg[:kept] for kept in (1, 2, 20, 200, 600, len(jpeg) // 2, len(jpeg) - 600)},
        **{f"PNG, {kept} bytes": flat[:kept] for kept in (8, 20, 33, 60, 600, len(flat) // 2, len(flat) - 600)},
        "a PNG of 60,000 x 60,000": png(60_000, 60_000, [(b"IDAT", bomb)]),
        "a PNG of 2^31 x 2^31": png(2**31 - 1, 2**31 - 1, [(b"IDAT", bomb)]),
        "a PNG of 12,000 x 12,000 of which a part is there": png(12_000, 12_000, [(b"IDAT", bomb[:1000])]),
        "a PNG of 0 x 5": png(0, 5, [(b"IDAT", bomb)]),
        "a PNG with a wrong sum": bytes(wrong_sum),
        "a PNG without pixels": png(10, 10, []),
        "a PNG with texts that unpack to gigabytes": png(
            10, 10, [(b"zTXt", b"a\0\0" + zlib.compress(b"0" * 2**26, 9))] * 20
        ),
        "a GIF of 65,535 x 65,535": b"GIF89a\xff\xff\xff\xff\x80\0\0" + b"\0" * 6
        + b",\0\0\0\0\xff\xff\xff\xff\0\x08\0;",
        "a WebP that claims more": b"RIFF\xff\xff\xff\xffWEBPVP8L\xff\xff\xff\xff/\xff\xff\xff\x0f",
        "a BMP of 2^31": b"BM" + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHH", 40, 2**31 - 1, 2**31 - 1, 1, 24)
        + b"\0" * 24,
        "a BMP of -2^31": b"BM" + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHH", 40, 10, -(2**31), 1, 24)
        + b"\0" * 24,
        "a PPM of many digits": b"P6 " + b"9" * 5000 + b" 1 255\n",
        "a PPM that is never done": b"P3 10 10 255\n" + b"#" * 10**6,
        "a PPM of comments": b"P6" + b"\n#" * 10**5,
        "a TIFF whose numbers lie beyond it": tiff([*grey, (279, 4, 1, 2**31)]),
        "a TIFF with an absurd count": tiff([*grey, (279, 4, 2**32 - 1, 8)]),
        "a TIFF with a million strips": tiff([*grey[:4], (273, 4, 10**6, 8), (278, 4, 1, 1), (279, 4, 10**6, 8)]),
        "a TIFF of 2^32": tiff([(256, 4, 1, 2**32 - 1), (257, 4, 1, 2**32 - 1), *grey[2:], (279, 4, 1, 8)]),
        "a TIFF of 1,000 samples": tiff([*grey, (277, 3, 1, 1000), (279, 4, 1, 8)]),
        "a TIFF of a compression that nobody has": tiff([*grey, (259, 3, 1, 999), (279, 4, 1, 8)]),
        "a TIFF without tags": tiff([]),
        "a TIFF whose directory is itself": b"II*\0\x08\0\0\0\0\0\x08\0\0\0",
        "text": b"not a picture",
        "nothing": b"",
        "zeros": b"\0" * 10**6,
        "escapes": b"\x1b[2J\x1b]0;title\x07",
        "a script": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run",
    }  # fmt: skip


def odd_pictures() -> dict[str, bytes]:
    """Pictures that can be read, and bring along what cannot."""
    whole = Image.fromarray(picture(1))
    random = np.random.default_rng(0)
    jpeg = encoded(whole, "JPEG")
    garbage = random.bytes(2000)

    def with_segment(marker: int, content: bytes) -> bytes:
        return jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content + jpeg[2:]

    return {
        "a PNG of 100,000 x 1": encoded(Image.new("L", (100_000, 1)), "PNG"),
        "a PNG of 1 x 100,000": encoded(Image.new("L", (1, 100_000)), "PNG"),
        "EXIF that is garbage": with_segment(0xE1, b"Exif\0\0" + garbage),
        "EXIF whose directory is itself": with_segment(
            0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0"
        ),
        "EXIF with an absurd count": with_segment(
            0xE1, b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\xff\xff\xff\xff\x08\0\0\0\0\0\0\0"
        ),
        "an ICC profile that is garbage": with_segment(0xE2, b"ICC_PROFILE\0\x01\x01" + garbage),
        "a comment for a terminal": with_segment(0xFE, b"\x1b[2J" * 10),
        "an MPO index that is garbage": with_segment(0xE2, b"MPF\0" + garbage),
        "something behind the end": jpeg + garbage,
        "16 bits": encoded(Image.fromarray(picture(1)[..., 0].astype(np.uint16) * 257), "PNG"),
        "CMYK": encoded(whole.convert("CMYK"), "JPEG"),
        "floats that are no numbers": encoded(Image.fromarray(np.full((50, 50), np.nan, np.float32)), "TIFF"),
        "an animation": encoded(whole, "GIF", save_all=True, append_images=[Image.new("RGB", (9, 9))] * 20),
        "a palette with transparency": encoded(whole.quantize(32), "PNG", transparency=0),
        "a GIF of no size, of which a frame is larger": encoded(whole, "GIF").replace(
            struct.pack("<HH", 160, 120), b"\0" * 4, 1
        ),
    }  # fmt: skip


def test_pictures_that_are_refused(place):
    file = place.root / "hostile.img"
    for name, content in hostile_pictures().items():
        file.write_bytes(content)
        with naming(name):
            said = place.said("predict", place.root / "valid.safetensors", file, "--out", place.out)
            assert said.startswith(f"1 of 1 picture cannot be read: {file}: ")
    file.unlink()


def test_pictures_that_can_be_read_whatever_they_bring_along(place):
    file = place.root / "odd.img"
    for name, content in odd_pictures().items():
        file.write_bytes(content)
        with naming(name):
            said = place.said("predict", place.root / "valid.safetensors", file, "--out", place.out, accepted=True)
            assert said == ""
    file.unlink()


def test_pictures_with_wrong_bits(place):
    file, random = place.root / "hostile.img", np.random.default_rng(0)
    for kind, options in (("JPEG", {}), ("PNG", {}), ("GIF", {}), ("WEBP", {}), ("TIFF", {"compression": "tiff_lzw"})):
        whole = encoded(Image.fromarray(picture(1)), kind, **options)
        for where in random.integers(0, 400, 8):
            content = bytearray(whole)
            content[where] ^= 1 << random.integers(8)
            file.write_bytes(content)
            with naming(f"{kind}, a wrong bit at {where}"):
                arguments = ["predict", place.root / "valid.safetensors", file, "--out", place.out]
                place.said(*arguments, accepted=True)
    file.unlink()


def test_data_sets_with_hostile_pictures(place):
    """Evaluation and a check tell of all of them; training stops at the first."""
    data = shutil.copytree(place.root / "data", place.root / "spoilt")
    pictures = list(hostile_pictures().values())[::3]
    for folder, texts in (("ch4_training_images", "ch4_training_localization_transcription_gt"), (PICTURES, TEXTS)):
        for number, content in enumerate(pictures, start=10):
            (data / folder / f"img_{number}.jpg").write_bytes(content)
            (data / texts / f"gt_img_{number}.txt").write_text(annotation())
    said = place.said("evaluate", place.root / "valid.safetensors", "--data", data, "--out", place.out)
    assert said.startswith(f"{len(pictures)} of {len(pictures) + 2} pictures cannot be read and counted as pictures ")
    said = place.said("check", "icdar2015", data, "--out", place.out)
    assert f"{len(pictures)} of {len(pictures) + 3} pictures cannot be read" in said
    settings = ["--set", *SETTINGS, "training.steps=30"]
    said = place.said("train", "text_small", "--data", data, "--out", place.out, *settings)
    assert said.startswith("img_") and "found " in said
    shutil.rmtree(data)


# Archives


def zipped(entries: list[tuple[str, bytes]], kind: int = zipfile.ZIP_DEFLATED) -> bytearray:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content, kind)
    return bytearray(file.getvalue())


def overlapping(count: int, size: int) -> bytes:
    """Many entries of one zip that all unpack the same bytes."""
    one = zipped([("gt_img_1.txt", b"\0" * size)])
    directory = one.index(b"PK\x01\x02")
    end = one.index(b"PK\x05\x06")
    entry = bytes(one[directory:end])
    entries = b"".join(entry.replace(b"gt_img_1.txt", b"gt_img_%d.txt" % n) for n in range(1, 10))
    entries += b"".join(
        entry[:28] + struct.pack("<H", len(name)) + entry[30:46] + name
        for name in (b"gt_img_%d.txt" % n for n in range(10, count))
    )
    finish = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count - 1, count - 1, len(entries), directory, 0)
    return bytes(one[:directory]) + entries + finish


def hostile_archives() -> dict[str, bytes]:
    """What may lie in the place of the annotations of three pictures."""
    truth = [(f"gt_img_{number}.txt", annotation().encode()) for number in (1, 2)]
    valid = zipped(truth)
    directory = valid.index(b"PK\x01\x02")

    def changed(offset: int, content: bytes) -> bytes:
        """Bytes of the first entry in the directory."""
        return bytes(valid[: directory + offset] + content + valid[directory + offset + len(content) :])

    link = zipfile.ZipInfo("gt_img_2.txt")
    link.external_attr = 0o120777 << 16
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(*truth[0])
        archive.writestr(link, "/etc/passwd")
    return {
        "a bomb": bytes(zipped([truth[0], ("gt_img_2.txt", b"\n" * 2**28)])),
        "a bomb in a bomb": bytes(zipped([truth[0], ("gt_img_2.txt", bytes(zipped([("x", b"\0" * 2**26)])))])),
        "many that are one": overlapping(20_000, 2**20),
        "a name that leaves": bytes(zipped([*truth, ("../../harm", b"x")])),
        "a name from the root": bytes(zipped([*truth, ("/tmp/harm", b"x")])),
        "a name of Windows": bytes(zipped([*truth, ("C:\\harm", b"x")])),
        "a link": file.getvalue(),
        "the same name twice": bytes(zipped([*truth, truth[0]])),
        "the same name in two folders": bytes(zipped([*truth, ("a/gt_img_1.txt", b"")])),
        "encrypted": changed(8, b"\x01\0"),
        "a packing that nobody has": changed(10, b"\x63\0"),
        "a claim of less": changed(24, b"\1\0\0\0"),
        "a claim of more": changed(24, b"\xff\xff\xff\x7f"),
        "an entry beyond the file": changed(42, b"\xff\xff\xff\x7f"),
        "an entry within the directory": changed(42, struct.pack("<I", directory)),
        "a wrong sum": changed(16, b"\0\0\0\0"),
        "a directory cut off": bytes(valid[:-40]),
        "a directory that is elsewhere": bytes(valid[:-6] + struct.pack("<I", 2**31) + valid[-2:]),
        "more entries than there are": bytes(valid[:-14] + b"\xff\x7f\xff\x7f" + valid[-10:]),
        "a name with a NUL": bytes(zipped([*truth, ("gt_img_9.tX", b"")])).replace(b"9.tX", b"9.t\0"),
        "a name from right to left": bytes(zipped([*truth, ("gt_img_\u202e3.txt", b"")])),
        "a name for a terminal": bytes(zipped([*truth, ("\x1b[2J.txt", b"")])),
        "a name that is no UTF-8": bytes(zipped([*truth, ("gt_\u00e9.txt", b"")]).replace(b"\xc3\xa9", b"\xff\xfe")),
        "a name of 65,000 letters": bytes(zipped([*truth, ("x" * 65_000, b"")])),
        "a name of a thousand folders": bytes(zipped([*truth, ("a/" * 1000 + "gt_img_3.txt", b"")])),
        "a folder with something in it": bytes(zipped([*truth, ("inner/", b"x" * 100)])),
        "twenty thousand entries": bytes(zipped([(f"gt_img_{n}.txt", b"") for n in range(20_000)])),
        "not a zip": b"Rar!\x1a\x07\x00",
        "nothing": b"",
    }  # fmt: skip


RIGHT_BY_ACCIDENT = {"a name from right to left", "a name with a NUL", "more entries than there are"}
"""Refused as a file that is not named like an annotation, or passed over and said in a warning."""


def test_archives(place):
    data = shutil.copytree(place.root / "data", place.root / "archived")
    shutil.rmtree(data / TEXTS)
    truth = place.root / "data" / TEXTS
    for name, content in hostile_archives().items():
        (data / f"{TEXTS}.zip").write_bytes(content)
        with naming(name):
            for arguments in (
                ["evaluate", place.root / "valid.safetensors", "--data", data, "--out", place.out],
                ["score", "icdar2015", data / f"{TEXTS}.zip", truth],
                ["check", "icdar2015", data, "--split", "test", "--out", place.out],
            ):
                place.said(*arguments, accepted=name in RIGHT_BY_ACCIDENT)
    shutil.rmtree(data)
