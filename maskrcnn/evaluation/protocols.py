"""What differs between the text benchmarks when they are scored: the files, and what is don't-care.

The rules of matching are the same for all of them and stand in `text_scores.py`.
"""

from __future__ import annotations

from typing import NamedTuple

from maskrcnn.data.annotation_files import ParseFile
from maskrcnn.data.ctw1500 import parse_ctw1500
from maskrcnn.data.icdar import parse_icdar2015
from maskrcnn.data.icdar2017 import parse_icdar2017
from maskrcnn.data.total_text import parse_total_text


class Protocol(NamedTuple):
    """How one benchmark is scored."""

    parse: ParseFile
    """Reads a file of its ground truth."""
    quadrilaterals: bool
    """Whether results must be clockwise quadrilaterals in integers; otherwise they are any polygons."""
    result_name: str
    """How a submission names a file; formatted with the number of the picture."""
    sweep_ignores: bool = True
    """Whether don't-care regions are ignored in MMOCR's sweep: its files for CTW1500 mark none as such."""


ICDAR2015 = Protocol(parse_icdar2015, quadrilaterals=True, result_name="res_img_{}.txt")

PROTOCOLS = {
    "icdar2015": ICDAR2015,
    "icdar2017": Protocol(parse_icdar2017, quadrilaterals=True, result_name="res_img_{:05}.txt"),
    "ctw1500": Protocol(parse_ctw1500, quadrilaterals=False, result_name="{:04}.txt", sweep_ignores=False),
    "totaltext": Protocol(parse_total_text, quadrilaterals=False, result_name="img{}.txt"),
}
"""By the names that `score` and `data.format` know."""
