"""The page as a browser reads it: whole, harmless, and alone."""

import base64
import io
import os
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from maskrcnn.evaluation.text_scores import TextScores
from maskrcnn.report import Number, Picture, score_numbers, write_report

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects elements, attributes and texts, and checks that every element is closed in its turn."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.images, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data.strip())

    @property
    def pictures(self):
        sources = [attributes["src"] for tag, attributes in self.elements if tag == "img"]
        return [(source.partition(",")[0], base64.b64decode(source.partition(",")[2])) for source in sources]


def write(path, **changes):
    content = {
        "title": "Demo",
        "summary": "What was done.",
        "numbers": [Number("hmean", "0.87", "Recall and precision in one.")],
        "pictures": [Picture("A sheet", PHOTO, "What was found.")],
        "command": "python -m maskrcnn demo --seed 0",
        "versions": {"PyTorch": "2.13.0"},
        "settings": {"name": "demo", "model": {"class_names": ("text",), "rpn": {"samples": 128}}},
    }
    write_report(path, **(content | changes))
    return Page(path.read_text("utf-8"))


def test_everything_is_on_the_page(tmp_path):
    page = write(tmp_path / "report.html")
    for text in (
        "Demo",
        "What was done.",
        "hmean",
        "0.87",
        "Recall and precision in one.",
        "A sheet",
        "What was found.",
    ):
        assert text in page.texts
    assert "python -m maskrcnn demo --seed 0" in page.texts
    position = page.texts.index
    assert page.texts[position("PyTorch") :][:2] == ["PyTorch", "2.13.0"]
    assert page.texts[position("All 3 of them") :][-1] == ""
    settings = [text for text in page.texts[position("All 3 of them") + 1 :] if text]
    assert settings == ["name", "demo", "model", "class_names", "('text',)", "model.rpn", "samples", "128"]


def test_scores_are_explained_with_their_counts():
    numbers = score_numbers(TextScores(0.8, 0.9, 0.84705, 0.55, 1440, 1800, 1600))
    assert [(number.name, number.value) for number in numbers] == [
        ("hmean", "0.847"),
        ("recall", "0.800"),
        ("precision", "0.900"),
        ("score threshold", "0.55"),
    ]
    assert numbers[1].meaning == "Of 1,800 legible texts, 1,440 were found (IoU above 0.5)."
    assert numbers[2].meaning == "Of 1,600 texts that were reported, 1,440 are there."
    assert len(score_numbers(TextScores(0.8, 0.9, 0.847, None, 1440, 1800, 1600))) == 3


def test_the_page_needs_nothing_else(tmp_path):
    page = write(tmp_path / "report.html")
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert attributes.get("src", "data:").startswith("data:") and "href" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "http" not in text and "@import" not in text and "url(" not in text


def test_pictures_are_inside_the_page(tmp_path):
    photograph, diagram = tmp_path / "photo.jpg", tmp_path / "diagram.png"
    PHOTO.save(photograph)
    PHOTO.save(diagram)
    pictures = [Picture("1", PHOTO, ""), Picture("2", photograph, ""), Picture("3", str(diagram), "")]
    found = write(tmp_path / "report.html", pictures=pictures).pictures
    assert [kind for kind, _ in found] == ["data:image/jpeg;base64", "data:image/jpeg;base64", "data:image/png;base64"]
    assert found[1][1] == photograph.read_bytes() and found[2][1] == diagram.read_bytes()
    assert Image.open(io.BytesIO(found[0][1])).size == (60, 40)


def test_names_are_text_and_never_markup(tmp_path):
    hostile = "<script>alert(1)</script>\" onload='x' &amp; ${title} \\ \u202e"
    page = write(
        tmp_path / "report.html",
        title=hostile,
        summary=hostile,
        numbers=[Number(hostile, hostile, hostile)],
        pictures=[Picture(hostile, PHOTO, hostile)],
        command=hostile,
        versions={hostile: hostile},
        settings={hostile: {hostile: hostile}},
    )
    assert [tag for tag, _ in page.elements if tag == "script"] == []
    assert page.texts.count(hostile) == 14
    assert dict(page.elements)["img"]["alt"] == hostile


def test_a_file_name_that_is_not_text_is_survived(tmp_path):
    # What os.fsdecode makes of a Latin-1 name on a UTF-8 system.
    page = write(tmp_path / "report.html", summary=os.fsdecode(b"caf\xe9.jpg"))
    assert any(text.startswith("caf") for text in page.texts)


def test_large_pictures_are_shrunk(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (800, 3000, 3), dtype=np.uint8))
    noise.save(tmp_path / "noise.png", compress_level=0)
    for picture in (noise, tmp_path / "noise.png"):
        ((kind, content),) = write(tmp_path / "report.html", pictures=[Picture("noise", picture, "")]).pictures
        assert kind == "data:image/jpeg;base64"
        assert Image.open(io.BytesIO(content)).size == (2000, 533)
        assert (tmp_path / "report.html").stat().st_size < 2_000_000


def test_the_old_page_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"missing\.png.*expected a PNG or JPEG file"):
        write(path, pictures=[Picture("", tmp_path / "missing.png", "")])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"text\.png.*expected a PNG or JPEG file"):
        write(path, pictures=[Picture("", tmp_path / "text.png", "")])

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, title="New")
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "text.png"]


def test_the_folder_is_made_and_the_page_can_be_read_by_others(tmp_path):
    path = tmp_path / "runs" / "demo" / "report.html"
    write(path)
    assert path.stat().st_mode & 0o444 == 0o444
