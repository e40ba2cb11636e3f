"""One page that tells what a run did: numbers and what they mean, pictures, settings, and how to do it again.

The page is a single file: pictures are inside it, nothing is loaded from anywhere, and no script runs. So it can be
mailed, kept beside the weights, and opened in ten years.
"""

from __future__ import annotations

import base64
import html
import io
import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from maskrcnn.evaluation.text_scores import TextScores
from maskrcnn.files import write_and_rename

_LONGEST_SIDE = 2000
_LARGEST_FILE = 400_000
_WIDE = 1000


@dataclass(frozen=True)
class Number:
    """A headline number."""

    name: str
    value: str
    """As it is to be read: "0.87", "142 s"."""
    meaning: str
    """One sentence for someone who has never seen this number."""


@dataclass(frozen=True)
class Picture:
    """A picture with a heading above and an explanation below."""

    title: str
    picture: Image.Image | str | Path
    """A Pillow image, or a PNG or JPEG file."""
    caption: str


def score_numbers(scores: TextScores) -> tuple[Number, ...]:
    """The score of a data set as headline numbers, each with what it means."""
    found, truths, reported = (f"{count:,}" for count in (scores.matched, scores.ground_truths, scores.detections))
    numbers = (
        Number(
            "hmean", f"{scores.hmean:.3f}", "Recall and precision in one: their harmonic mean, high only if both are."
        ),
        Number("recall", f"{scores.recall:.3f}", f"Of {truths} legible texts, {found} were found (IoU above 0.5)."),
        Number("precision", f"{scores.precision:.3f}", f"Of {reported} texts that were reported, {found} are there."),
    )
    if scores.threshold is None:
        return numbers
    meaning = "What the network is less sure of, on a scale from 0 to 1, is not reported."
    return (*numbers, Number("score threshold", f"{scores.threshold:g}", meaning))


def write_report(
    path: str | Path,
    *,
    title: str,
    summary: str,
    numbers: Sequence[Number],
    pictures: Sequence[Picture],
    command: str,
    versions: Mapping[str, str],
    settings: Mapping[str, Any],
) -> None:
    """Writes the page to `path`. All text is taken as text: markup in a file name or a transcription stays visible.

    command: what to type to get the same result; versions: name of a program or library to its version; settings:
    nested, as `Config.to_dict` gives them. Photographs are shrunk to 2000 pixels, so a page stays below a few MB.
    A page that is already there is replaced in one step, or stays as it was if anything goes wrong.
    Raises ValueError if a picture file cannot be read.
    """
    rows = list(_setting_rows(settings))
    template = string.Template(resources.files("maskrcnn").joinpath("report_template.html").read_text("utf-8"))
    page = template.substitute(
        title=html.escape(title),
        summary=html.escape(summary),
        numbers="\n".join(_number(number) for number in numbers),
        pictures="\n".join(_figure(picture) for picture in pictures),
        command=html.escape(command),
        versions="\n".join(_row(name, version) for name, version in versions.items()),
        setting_count=sum(1 for row in rows if row.startswith("<tr><td")),
        settings="\n".join(rows),
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_and_rename(path, page.encode("utf-8", errors="replace"))


def _number(number: Number) -> str:
    name, value, meaning = (html.escape(text) for text in (number.name, number.value, number.meaning))
    return f'<div><dt>{name}</dt><dd class="value">{value}</dd><dd class="meaning">{meaning}</dd></div>'


def _figure(picture: Picture) -> str:
    kind, content, (width, height) = _encoded(picture.picture)
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
    title, caption = html.escape(picture.title), html.escape(picture.caption)
    wide = ' class="wide"' if width > _WIDE else ""
    image = f'<img{wide} src="{source}" width="{width}" height="{height}" alt="{title}">'
    return f'<h2>{title}</h2>\n<figure><div class="scroll">{image}</div>\n<figcaption>{caption}</figcaption></figure>'


def _encoded(picture: Image.Image | str | Path) -> tuple[str, bytes, tuple[int, int]]:
    """Format, file content and (width, height). Small files stay as they are, the rest becomes JPEG."""
    if not isinstance(picture, Image.Image):
        try:
            content = Path(picture).read_bytes()
            opened = Image.open(io.BytesIO(content), formats=("PNG", "JPEG"))
            opened.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{picture}: {error}, expected a PNG or JPEG file") from error
        if len(content) <= _LARGEST_FILE:
            return opened.format.lower(), content, opened.size
        picture = opened
    picture = picture.convert("RGB")
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=85)
    return "jpeg", encoded.getvalue(), picture.size


def _row(name: str, value: Any) -> str:
    return f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>"


def _setting_rows(settings: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    """A row for each plain value, and for each section its full name above its own rows."""
    sections = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
    for name, value in settings.items():
        if name not in sections:
            yield _row(name, value)
    for name, section in sections.items():
        yield f'<tr><th colspan="2">{html.escape(prefix + name)}</th></tr>'
        yield from _setting_rows(section, f"{prefix}{name}.")
