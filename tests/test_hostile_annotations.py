"""Random bytes and random edits of valid files: a parser reads all of it or says what is wrong where, and nothing else.

"All of it" is checked against counts that do not come from the parser: lines, elements, list entries.
"""

import json
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskrcnn.data.annotation_files import Word, usable_words
from maskrcnn.data.archives import Files
from maskrcnn.data.ctw1500 import parse_ctw1500
from maskrcnn.data.icdar import parse_icdar2015
from maskrcnn.data.icdar2017 import parse_icdar2017
from maskrcnn.data.mmocr import parse_instances
from maskrcnn.data.total_text import parse_total_text
from maskrcnn.evaluation.result_files import parse_result_line

DATASETS = Path(__file__).parents[1] / "datasets"
NAME = "fuzzed.txt"
SEARCH = settings(derandomize=True, deadline=None, database=None, max_examples=120)


def sample(path: str) -> bytes:
    return (DATASETS / path).read_bytes()


ICDAR2015 = sample("icdar2015/sample/ch4_training_localization_transcription_gt/gt_img_1.txt")
ICDAR2017 = sample("icdar2017/sample/ch8_training_localization_transcription_gt_v2/gt_img_1.txt")
CTW1500_XML = sample("ctw1500/sample/ctw1500_train_labels/0001.xml")
CTW1500_TXT = sample("ctw1500/sample/gt_ctw1500/0001001.txt")
CTW1500_OFFSETS = b"\r\n".join(3 * [b"5,7,60,40," + b",".join(b"%d,%d" % (i, i * i % 9) for i in range(14))])
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
                "iscrowd": number,
                "category_id": 1,
                "bbox": [1.0, 2.0, 8.0, 4.0],
                "area": 32 * number,
                "segmentation": [[1, 2, 9, 2, 9, 6, 1, 6]],
                "image_id": 0,
                "id": number,
            }
            for number in (0, 1)
        ],
    },
    indent=1,
).encode()


def lines(content: bytes) -> int:
    text = [line.decode() for line in content.removeprefix(b"\xef\xbb\xbf").splitlines()]
    return sum(bool(line.strip()) for line in text)


def labels(content: bytes) -> int:
    """Boxes of an XML file, else lines."""
    if content.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<"):
        return sum(1 for _ in ElementTree.fromstring(content).iter("box"))
    return lines(content)


def records(content: bytes) -> int:
    """Records of an original Total-Text file, else lines."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode()
    return len(re.findall(r"transcriptions:\s*\[", text)) if text.lstrip().startswith("x:") else lines(content)


def instances(content: bytes, name: str) -> list[Word]:
    """All annotations of a file, with a word in place of each that was left out and said."""
    pictures, problems = parse_instances(content, name)
    words = [word for _, found in pictures for word in found]
    assert all(problem.skipped for _, problem in problems)
    return words + [Word(0, np.eye(3, 2), "", False) for _ in problems]


class Format(NamedTuple):
    parse: Callable[[bytes, str], list[Word]]
    valid: bytes
    count: Callable[[bytes], int]
    corners: tuple[int, ...] = ()
    """Which numbers of corners there may be; any from 3 on if empty."""


FORMATS = {
    "icdar2015": Format(parse_icdar2015, ICDAR2015, lines, (4,)),
    "icdar2017": Format(parse_icdar2017, ICDAR2017, lines, (4,)),
    "ctw1500 xml": Format(parse_ctw1500, CTW1500_XML, labels, (14,)),
    "ctw1500 txt": Format(parse_ctw1500, CTW1500_TXT, labels, (14,)),
    "ctw1500 offsets": Format(parse_ctw1500, CTW1500_OFFSETS, labels, (14,)),
    "totaltext": Format(parse_total_text, TOTAL_TEXT, records),
    "totaltext original": Format(parse_total_text, TOTAL_TEXT_ORIGINAL, records),
    "mmocr": Format(instances, INSTANCES, lambda content: len(json.loads(content.decode("utf-8-sig"))["annotations"])),
}

TOKENS = [
    *(bytes([value]) for value in b",\n\r\t \"'\\#-.0[]{}<>&;:/x\x00\xff\x1a\x1c"),
    *(b"####", b"###", b"CARE", b"999999", b"1000000", b"1e9", b"-1", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xd9\xa3"),
    *(b"NaN", b"null", b"true", b"[[", b"]]", b"u'", b"\\u", b"x:", b"<box>", b"</box>", b"<!--", b"-->", b"<![CDATA["),
    *(b"&lt;", b"<!DOCTYPE a>", b"Latin,", b",,", b"1,2,3,4,5,6,7,8"),
]  # fmt: skip
EDIT = st.tuples(
    st.sampled_from(["insert", "delete", "replace", "repeat"]),
    st.floats(0, 1),
    st.integers(1, 40),
    st.one_of(st.sampled_from(TOKENS), st.binary(max_size=4)),
)


def edited(content: bytes, edits: list[tuple[str, float, int, bytes]]) -> bytes:
    for kind, where, length, token in edits:
        start = int(where * len(content))
        end = start + length
        if kind == "insert":
            content = content[:start] + token + content[start:]
        elif kind == "delete":
            content = content[:start] + content[end:]
        elif kind == "replace":
            content = content[:start] + token + content[end:]
        else:
            content = content[:end] + content[start:end] + content[end:]
    return content


def check(form: Format, content: bytes) -> bool:
    """Whether the content could be read; what is read and what is said is as promised."""
    with warnings.catch_warnings(action="error"):
        try:
            words = form.parse(content, NAME)
        except ValueError as error:
            message = str(error)
            assert re.match(rf"{re.escape(NAME)}(:[1-9][0-9]*)?: (\w+\[\d+\]: )?found .", message), message
            assert message.isprintable() and len(message) < 400, message
            return False
    assert len(words) == form.count(content)
    for word in words:
        assert word.polygon.dtype == np.float64 and word.polygon.ndim == 2 and word.polygon.shape[1] == 2
        assert len(word.polygon) in form.corners if form.corners else len(word.polygon) >= 3
        assert np.abs(word.polygon).max() < 2e6 and type(word.ignore) is bool
        word.transcription.encode()  # no half characters, which nothing could print
    found = usable_words(words, NAME, quadrilaterals=True)
    assert len(found.polygons) + sum(problem.skipped for problem in found.problems) == len(words)
    return True


@pytest.mark.parametrize("name", FORMATS)
def test_random_bytes(name):
    form = FORMATS[name]

    @SEARCH
    @given(st.binary(max_size=200) | st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join))
    def search(content):
        check(form, content)

    search()


@pytest.mark.parametrize("name", FORMATS)
def test_random_edits_of_a_valid_file(name):
    form = FORMATS[name]
    assert check(form, form.valid)
    readable = []

    @SEARCH
    @given(st.lists(EDIT, min_size=1, max_size=4))
    def search(edits):
        readable.append(check(form, edited(form.valid, edits)))

    search()
    assert 2 < sum(readable) < len(readable) - 5  # both ends are reached


@SEARCH
@given(st.lists(EDIT, max_size=3), st.booleans(), st.sampled_from([b"1,2,9,2,9,6,1,6", b"1,2,9,2,9,6,1,6,0.5"]))
def test_lines_of_results(edits, quadrilaterals, line):
    text = edited(line, edits).decode("utf-8", "replace")
    try:
        polygon, score = parse_result_line(text, quadrilaterals)
    except ValueError as error:
        assert str(error).startswith("found ") and str(error).isprintable()
    else:
        assert 2 * len(polygon) + (score is not None) == text.count(",") + 1
        assert np.isfinite(polygon).all() and (score is None or 0 <= score <= 1)


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
