"""Random bytes and random edits of valid files: a parser reads all of it or says what is wrong where, and nothing else.

"All of it" is checked word by word against a second reading that shares no code with the parsers.
"""

import json
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.dom import expatbuilder

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_edits import CHANGES, EDITS, RANDOM_BYTES, SEARCH, changed, edited

from maskrcnn.data.annotation_files import Problem, Word, usable_words
from maskrcnn.data.archives import Files
from maskrcnn.data.ctw1500 import parse_ctw1500
from maskrcnn.data.icdar import parse_icdar2015
from maskrcnn.data.icdar2017 import parse_icdar2017
from maskrcnn.data.mmocr import parse_instances
from maskrcnn.data.total_text import parse_total_text

DATASETS = Path(__file__).parents[1] / "datasets"
NAME = "fuzzed.txt"


def sample(path: str) -> bytes:
    return (DATASETS / path).read_bytes()


ICDAR2015 = sample("icdar2015/sample/ch4_training_localization_transcription_gt/gt_img_1.txt")
ICDAR2017 = sample("icdar2017/sample/ch8_training_localization_transcription_gt_v2/gt_img_1.txt")
CTW1500_XML = sample("ctw1500/sample/ctw1500_train_labels/0001.xml")
CTW1500_TXT = sample("ctw1500/sample/gt_ctw1500/0001001.txt")
CTW1500_OFFSETS = b"\r\n".join(
    b"%d,7,60,40," % left + b",".join(b"%d,%d" % (i, i * i % 9) for i in range(14)) for left in (5, 80, 160)
)
TOTAL_TEXT = sample("totaltext/sample/Groundtruth/Polygon/Train/poly_gt_img1.txt") + b"1,2,3,4,5,9,1996\n"
TOTAL_TEXT_ORIGINAL = (
    b"x: [[206 251 386]], y: [[633 811 931]], ornt: [u'c'], transcriptions: [u'PETROSAINS']\n"
    b"x: [[115 503 494 115]], y: [[322 346\n 426 404]], ornt: [u'm'], transcriptions: [u'#']\n"
    b"x: [[1, 2, 3]], y: [[4, 6, 9]], ornt: [u'h'], transcriptions: [u\"it's \\u20ac\"]\n"
)
INSTANCES = json.dumps(
    {
        "images": [{"file_name": "training/img_1.jpg", "height": 4, "width": 6, "id": 0}],
        "categories": [{"id": 1, "name": "text"}],
        "annotations": [
            {
                "iscrowd": number % 2,
                "category_id": 1,
                "bbox": [number, 2.0, 8.0, 4.0],
                "area": 32 * number,  # the first is left out, and said
                "segmentation": [[number, 2, 9, 2, 9, 6, number, 6]],
                "image_id": 0,
                "id": number,
            }
            for number in (0, 1, 2)
        ],
    },
    indent=1,
).encode()


# what stands in the files, read a second time without the library


class Reading(NamedTuple):
    """An annotation as it stands in a file."""

    corners: list[int]
    text: str | None
    """None where it is not compared."""
    ignore: bool


def lines(content: bytes) -> list[str]:
    text = [line.decode() for line in content.removeprefix(b"\xef\xbb\xbf").splitlines()]
    return [line for line in text if line.strip()]


def integers(fields: list[str]) -> list[int]:
    return [int(field) for field in fields]


def quadrilaterals(content: bytes, scripts: int = 0) -> list[Reading]:
    """Lines of ICDAR2015, or, with a script in front of the text, of ICDAR2017-MLT."""
    readings = []
    for line in lines(content):
        fields = line.split(",")
        text = ",".join(fields[8 + scripts :])
        quoted = re.fullmatch(r'\s*"(.*)"\s*', text)  # what is in quotes has tests of its own
        ignore = (quoted[1] if quoted else text) == "###"
        readings.append(Reading(integers(fields[:8]), None if quoted else text, ignore))
    return readings


def labels(content: bytes) -> list[Reading]:
    """Of CTW1500: boxes of an XML file, lines of 28 numbers and a text, or lines of 32 numbers."""
    if content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        document = expatbuilder.parseString(content, namespaces=False)
        texts = [
            ["".join(node.data for node in box.getElementsByTagName(name)[0].childNodes) for name in ("segs", "label")]
            for box in document.getElementsByTagName("box")
        ]
        return [Reading(integers(segs.split(",")), text, text == "###") for segs, text in texts]
    readings = []
    rows = [line.split(",") for line in lines(content)]
    original = bool(rows) and len(rows[0]) == 32 and "".join(rows[0]).replace("-", "").replace(" ", "").isdigit()
    for fields in rows:
        if original:
            left, top, _, _, *offsets = integers(fields)
            corners = [offset + (top if place % 2 else left) for place, offset in enumerate(offsets)]
            readings.append(Reading(corners, "", False))
        else:
            rest = ",".join(fields[28:])
            text = rest[4:] if rest.startswith("####") else rest.strip().replace("CARE", "")
            readings.append(Reading(integers(fields[:28]), text, text == "###"))
    return readings


def words(content: bytes) -> list[Reading]:
    """Of Total-Text: records of an original file, or lines."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode()
    if text.lstrip().startswith("x:"):
        records = re.findall(r"x:\s*\[\s*\[([^]]*)\].*?y:\s*\[\s*\[([^]]*)\]", text, re.DOTALL)
        sides = [[integers(side.replace(",", " ").split()) for side in record] for record in records]
        return [Reading([value for pair in zip(*both, strict=True) for value in pair], None, None) for both in sides]
    readings = []
    for line in lines(content):
        fields, count = line.split(","), 0
        while count < len(fields) and re.fullmatch(r"[ \t]*-?[0-9]{1,6}[ \t]*", fields[count]):
            count += 1
        count -= count % 2
        rest = ",".join(fields[count:])
        readings.append(Reading(integers(fields[:count]), rest, rest == "###"))
    return readings


def instances(content: bytes) -> list[Reading]:
    """Of MMOCR: the annotations that its own reader keeps, by the order of the pictures."""
    file = json.loads(content.decode("utf-8-sig"))
    readings = []
    for image in file["images"]:
        for entry in file["annotations"]:
            left_out = entry.get("ignore") or entry["area"] <= 0 or min(entry["bbox"][2:]) < 1
            if entry["image_id"] == image["id"] and not left_out:
                (corners,) = entry["segmentation"]
                readings.append(Reading(corners, entry.get("text", ""), bool(entry.get("iscrowd", 0))))
    return readings


def parse_mmocr(content: bytes, name: str) -> tuple[list[Word], list[Problem]]:
    pictures, problems = parse_instances(content, name)
    total = sum(len(found) for _, found in pictures) + len(problems)
    assert total == len(json.loads(content.decode("utf-8-sig"))["annotations"])
    return [word for _, found in pictures for word in found], [problem for _, problem in problems]


class Format(NamedTuple):
    parse: Callable[[bytes, str], list[Word] | tuple[list[Word], list[Problem]]]
    valid: bytes
    read: Callable[[bytes], list[Reading]]
    outline: bytes
    """A pattern of what no two words of the valid file have alike."""


FORMATS = {
    "icdar2015": Format(parse_icdar2015, ICDAR2015, quadrilaterals, rb"(?:\d+,){8}"),
    "icdar2017": Format(parse_icdar2017, ICDAR2017, lambda content: quadrilaterals(content, 1), rb"(?:\d+,){8}"),
    "ctw1500 xml": Format(parse_ctw1500, CTW1500_XML, labels, rb"(?:\d+,){27}\d+"),
    "ctw1500 txt": Format(parse_ctw1500, CTW1500_TXT, labels, rb"(?:\d+,){28}"),
    "ctw1500 offsets": Format(parse_ctw1500, CTW1500_OFFSETS, labels, rb"(?:\d+,){31}\d+"),
    "totaltext": Format(parse_total_text, TOTAL_TEXT, words, rb"(?:\d+,\d+,){3,}"),
    "totaltext original": Format(parse_total_text, TOTAL_TEXT_ORIGINAL, words, rb"x: \[\[[\d ,]+\]\]"),
    "mmocr": Format(parse_mmocr, INSTANCES, instances, rb"(?:\d+,\s+){7}\d+"),
}


def check(form: Format, content: bytes) -> bool:
    """Whether the content could be read. If so, all of it was, and exactly; if not, it is said where and why."""
    with warnings.catch_warnings(action="error"):
        try:
            parsed = form.parse(content, NAME)
        except ValueError as error:
            message = str(error)
            assert re.match(rf"{re.escape(NAME)}(:[1-9][0-9]*)?: (\w+\[\d+\]: )?found .", message), message
            assert message.isprintable() and len(message) < 400, message
            return False
    found, problems = parsed if isinstance(parsed, tuple) else (parsed, [])
    readings = form.read(content)
    assert len(found) == len(readings)
    for word, reading in zip(found, readings, strict=True):
        assert word.polygon.dtype == np.float64 and word.polygon.ndim == 2 and word.polygon.shape[1] == 2
        assert word.polygon.ravel().tolist() == reading.corners
        assert reading.text in (None, word.transcription) and reading.ignore in (None, word.ignore)
        word.transcription.encode()  # no half characters, which nothing could print
    for quadrilaterals_only in (True, False):
        usable = usable_words(found, NAME, quadrilaterals_only)
        assert all(len(str(problem)) < 400 for problem in usable.problems)
        left_out = [problem for problem in usable.problems if problem.skipped]
        assert len(usable.polygons) + len(left_out) == len(found)
        kept = iter(usable.polygons)
        for word in found:  # in their order, each is kept or a problem of its line
            if not any(problem.line == word.line for problem in left_out):
                assert next(kept) is word.polygon
    # Lines may have become one, and words been commented out: whatever still stands in the file is a word, or is said.
    still_there = sum(outline in content for outline in re.findall(form.outline, form.valid))
    swallowed = any("as if two lines were one" in problem.what for problem in usable.problems)
    assert still_there <= len(found) + len(problems) or swallowed
    return True


@pytest.mark.parametrize("name", FORMATS)
def test_the_valid_file_is_read_to_the_last_word(name):
    form = FORMATS[name]
    assert check(form, form.valid)
    outlines = re.findall(form.outline, form.valid)
    assert len(set(outlines)) == len(outlines) == len(form.read(form.valid)) + (name == "mmocr") >= 2


@pytest.mark.parametrize("name", FORMATS)
def test_random_bytes(name):
    @SEARCH
    @given(RANDOM_BYTES)
    def search(content):
        check(FORMATS[name], content)

    search()


@pytest.mark.parametrize("name", FORMATS)
def test_random_edits_of_a_valid_file(name):
    form, readable = FORMATS[name], []

    @SEARCH
    @given(EDITS)
    def search(edits):
        readable.append(check(form, edited(form.valid, edits)))

    search()
    assert any(readable) and not all(readable)


@SEARCH
@given(CHANGES)
def test_hostile_values_in_mmocrs_files(changes):
    check(FORMATS["mmocr"], json.dumps(changed(json.loads(INSTANCES), changes)).encode())


# archives

PARTS = st.sampled_from(
    ["a", "b", "img_1.txt", "IMG_1.TXT", "..", ".", "", "__MACOSX", "._img_1.txt", ".DS_Store", "C:", "\\", "\\\\x",
     " ", "a\nb", "a\x1b[2J", "\u2028", "é", "x" * 300, "nul", "%s", "~", "a:b"]
)  # fmt: skip
MEMBERS = st.lists(
    st.tuples(st.lists(PARTS, min_size=1, max_size=4).map("/".join).filter(len), st.binary(max_size=20)), max_size=6
)


@settings(SEARCH, max_examples=40)
@given(MEMBERS)
def test_archives_with_odd_members(members):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder) / "fuzzed.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members:
                archive.writestr(name, content)
        try:
            files = Files(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: found ") and str(error).isprintable()
        else:
            assert len(set(files.names)) == len(files.names)
            contents: dict[str, list[bytes]] = {}
            for name, content in members:
                bare = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
                contents.setdefault(bare[-1] if bare else "", []).append(content)
            for name in files.names:
                assert "/" not in name and not name.startswith(".") and name.isprintable()
                assert files.read(name) in contents[name]
        assert [entry.name for entry in Path(folder).iterdir()] == ["fuzzed.zip"]


def test_nested_folders_and_what_macos_adds_are_passed_over_in_data_sets(tmp_path):
    """An archive as a Mac makes it, of the sample's annotations in a folder within a folder."""
    with zipfile.ZipFile(tmp_path / "labels.zip", "w") as archive:
        archive.writestr("for you/labels/0001.xml", CTW1500_XML)
        archive.writestr("for you/labels/.DS_Store", b"\x00")
        archive.writestr("__MACOSX/for you/labels/._0001.xml", b"\x00\x05\x16\x07")
        archive.writestr("for you/labels/", b"")
    files = Files(tmp_path / "labels.zip")
    assert files.names == ["0001.xml"] and files.read("0001.xml") == CTW1500_XML
