"""`render`: what is written in each format is read back as it was drawn, byte by byte, word by word, and counted."""

import json
import re
import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from small_files import every_file
from small_text import mistake, run

from maskrcnn.cli import main
from maskrcnn.cli.render import FORMATS as WRITERS
from maskrcnn.data.annotation_files import DONT_CARE
from maskrcnn.data.polygons import rasterize_parts
from maskrcnn.data.rendered_text import RenderedText
from maskrcnn.data.sources import FORMATS
from maskrcnn.data.text_polygons import resampled_sides, text_bend
from maskrcnn.reference import polygon_masks, run_length
from maskrcnn.sample import Sample

DATASETS = Path(__file__).parents[1] / "datasets"
WIDTH, HEIGHT, SEED = 300, 200, 3
COUNTS = {"train": 5, "test": 2}
OTHER_SPLITS = {"icdar2017": "validation", "coco": "val"}
"""What the split that is not for training is called, where it is not "test"."""


@pytest.fixture(scope="module", params=WRITERS)
def rendered(request, tmp_path_factory):
    """The name of a format, and a folder that `render` has written in it."""
    folder = tmp_path_factory.mktemp("rendered") / request.param
    arguments = ["--format", request.param, "--count", 5, "--seed", SEED, "--size", f"{WIDTH}x{HEIGHT}"]
    assert main([str(argument) for argument in ["render", folder, *arguments]]) == 0
    return request.param, folder


@cache
def drawn_anew(name: str, split: str) -> list[Sample]:
    """What `render` has drawn."""
    settings = replace(WRITERS[name].settings, width=(WIDTH, WIDTH), height=(HEIGHT, HEIGHT))
    drawn = RenderedText(COUNTS[split], 2 * SEED + (split == "test"), settings)
    return [drawn[index] for index in range(len(drawn))]


def name_of(name: str, split: str) -> str:
    return split if split == "train" else OTHER_SPLITS.get(name, split)


# round trips


def assert_polygon(name: str, parts: tuple[np.ndarray, ...], drawn: np.ndarray, ignore: bool) -> None:
    """That an object was read as it was drawn: in the integers, or to the digits, that the format has for it."""
    if name == "coco" and ignore:
        bitmap = run_length.decode(polygon_masks.from_polygon(np.round(drawn, 2), HEIGHT, WIDTH), HEIGHT, WIDTH)
        assert bitmap.any() and np.array_equal(rasterize_parts(parts, (0, 0, WIDTH, HEIGHT)), bitmap)
        return
    expected = {
        "ctw1500": lambda: np.rint(resampled_sides(drawn, 7)),
        "totaltext": lambda: np.rint(drawn[::-1]),
        "coco": lambda: np.round(drawn, 2),
    }.get(name, lambda: np.rint(drawn))()
    (found,) = parts
    np.testing.assert_array_equal(found, expected)


def assert_picture(name: str, found: np.ndarray, drawn: np.ndarray) -> None:
    """That pixels are the same, as far as the kind of file keeps them; JPEG keeps less of the colours."""
    assert found.shape == drawn.shape
    if name.endswith(".png"):
        np.testing.assert_array_equal(found, drawn)
    brightness = [image.mean(axis=2) for image in (found, drawn)]
    assert np.abs(brightness[0] - brightness[1]).mean() < 4


@pytest.mark.parametrize("split", COUNTS)
def test_what_is_rendered_is_read_back_exactly(rendered, split):
    name, folder = rendered
    read, drawn = FORMATS[name](folder, name_of(name, split)), drawn_anew(name, split)
    assert len(read) == len(drawn) and read.problems == ()
    curved = 0
    for there, here in zip(read, drawn, strict=True):
        assert len(here.polygons) > 0
        np.testing.assert_array_equal(there.ignore, here.ignore)
        for parts, polygon, ignore in zip(there.parts, here.polygons, here.ignore, strict=True):
            assert_polygon(name, parts, polygon, ignore)
            curved += len(polygon) > 4
        if name not in ("coco", "mmocr"):  # whose files do not say what is written
            texts = zip(here.transcriptions, here.ignore, strict=True)
            assert there.transcriptions == tuple(DONT_CARE if ignore else text for text, ignore in texts)
        assert_picture(there.name, there.image, here.image)
    assert (curved > 0) == (WRITERS[name].settings.curved_fraction > 0)


@pytest.mark.parametrize("split", COUNTS)
def test_a_check_counts_what_was_rendered(capsys, monkeypatch, tmp_path, rendered, split):
    monkeypatch.setattr("maskrcnn.cli.check.write_pictures", lambda *arguments: ())  # which has tests of its own
    name, folder = rendered
    ignore = [word for sample in drawn_anew(name, split) for word in sample.ignore]
    assert sum(ignore) > 0
    said = run(capsys, "check", name, folder, "--split", name_of(name, split), "--out", tmp_path)
    assert said.startswith(f"{COUNTS[split]} images, {len(ignore)} words, {sum(ignore)} of them don't care\n")
    assert f"\n{len(ignore) - sum(ignore)} words to be found, in pixels of the pictures:\n" in said
    assert "nothing skipped, nothing degenerate" in said


@pytest.mark.parametrize("name", WRITERS)
def test_what_was_rendered_is_told(capsys, monkeypatch, name):
    monkeypatch.setitem(WRITERS, name, WRITERS[name]._replace(write=lambda *arguments: None))
    second = {"validation": "validation", "val": "validation", "test": "testing"}[name_of(name, "test")]
    said = run(capsys, "render", "somewhere", "--format", name, "--count", 2)
    assert said == f"somewhere: 2 pictures for training, 1 for {second}\n"
    assert run(capsys, "render", "x", "--format", name, "--count", 1).startswith("x: 1 picture for training, 1 for ")


# bytes

CORNERS, LINE = r"(?:-?\d+,){8}", r"(?:-?\d+,){28}"
SCRIPTS = "(?:Latin,(?!###)|Symbols,(?!###)|None,###)"
LINES = {
    "icdar2015": rf"{CORNERS}[^\r\n]+\r\n",
    "icdar2017": rf"{CORNERS}{SCRIPTS}[^\r\n]*\r\n",  # nine fields, then the text
    "ctw1500": rf"{LINE}####[^\r\n]+\n",
    "totaltext": r"(?:-?\d+,-?\d+,){3,}[^\r\n]+\n",
    "mmocr": rf"{CORNERS}[^\r\n]+\r\n",
}
"""What every line of a text file is."""
WITH_MARK = re.compile(r"ch4_training_localization_transcription_gt/|annotations/training/")
"""Which text files begin with a byte order mark."""
BEGINNINGS = {"jpg": b"\xff\xd8\xff", "gif": b"GIF8", "png": b"\x89PNG\r\n"}


def test_every_byte_is_as_in_the_real_files(rendered):
    name, folder = rendered
    files = every_file(folder)
    lines = pictures = 0
    for path, content in files.items():
        kind = path.rpartition(".")[2].lower()
        if kind == "txt":
            assert content.startswith(b"\xef\xbb\xbf") == bool(WITH_MARK.match(path)), path
            text = content.decode("utf-8-sig")
            assert re.fullmatch(f"(?:{LINES[name]})*", text), text
            lines += text.count("\n")
        elif kind == "xml":
            assert content.startswith(b"<Annotations>\n") and content.endswith(b"</Annotations>\n")
            lines += content.count(b"<box ")
        elif kind == "json":
            content.decode("ascii")
            lines += len(json.loads(content)["annotations"]) if name == "coco" else 0
        else:
            assert content.startswith(BEGINNINGS[kind]), path
            pictures += 1
    assert pictures == sum(COUNTS.values())
    assert lines == sum(len(sample.polygons) for split in COUNTS for sample in drawn_anew(name, split))
    endings = {path.rpartition(".")[2] for path in files} - {"txt", "xml", "json"}
    assert endings == ({"jpg", "JPG", "gif", "png"} if name == "icdar2017" else {"jpg"})


# the share of curved text


@pytest.mark.parametrize("name", [name for name, form in WRITERS.items() if not form.quadrilaterals])
def test_the_share_of_curved_lines_can_be_chosen(capsys, tmp_path, name):
    shares = []
    for fraction in (0, 1):
        folder = tmp_path / f"curved {fraction}"
        run(capsys, "render", folder, "--format", name, "--count", 3, "--size", "240x180", "--curved", fraction)
        samples = [sample for sample in FORMATS[name](folder) if not sample.ignore.all()]
        bends = [
            text_bend(polygon[None])[0]
            for sample in samples
            for polygon in sample.only(np.flatnonzero(~sample.ignore)).polygons
        ]
        shares.append(np.mean(np.array(bends) > 0.04))  # of straight lines no more than rounding does
    assert shares[0] == 0 and shares[1] > 0.8


def test_quadrilaterals_have_no_curved_lines(capsys, tmp_path):
    for name in ("icdar2015", "icdar2017"):
        said = mistake(capsys, "render", tmp_path / "set", "--format", name, "--count", 2, "--curved", 0.5)
        others = "ctw1500 or totaltext or mmocr or coco"
        assert said == f"--curved: found {name}, which has quadrilaterals only, expected {others}"
        assert WRITERS[name].settings.curved_fraction == 0
    assert list(tmp_path.iterdir()) == []


# the samples that come with the repository


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "mmocr"])
def test_the_committed_sample_is_what_its_readme_says(capsys, tmp_path, name):
    """Rendered anew, it has the same label files; pictures depend on the version of the JPEG library."""
    readme = (DATASETS / name / "README.md").read_text("utf-8")
    command = re.search(rf"`python -m maskrcnn (render datasets/{name}/sample [^`]+)`", readme)
    arguments = shlex.split(command[1])
    arguments[1] = str(tmp_path / "sample")
    run(capsys, *arguments)
    committed, drawn = every_file(DATASETS / name / "sample"), every_file(tmp_path / "sample")
    assert committed.keys() == drawn.keys()
    labels = [file for file in committed if file.endswith((".txt", ".xml", ".json"))]
    assert len(labels) == (2 if name == "coco" else 3)
    for file in labels:
        assert committed[file] == drawn[file]
    assert sum(map(len, committed.values())) < 100_000
    data = FORMATS[name](DATASETS / name / "sample")
    assert len(data) == 2 and data.problems == () and sum(len(sample.labels) for sample in data) > 5
