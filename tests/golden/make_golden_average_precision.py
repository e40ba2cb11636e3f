"""Draws annotations and results, and stores how pycocotools scores them. From the repository root, with pycocotools:

    PYTHONPATH=tests python tests/golden/make_golden_average_precision.py
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import pathlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from golden.average_precision_case import draw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

FILE = pathlib.Path(__file__).with_name("average_precision.json")
SIGMAS = [0.05, 0.1, 0.02, 0.08]
"""Of a skeleton that is not COCO's."""


def draw_inputs() -> list[dict[str, Any]]:
    """Two cases of each kind; the keypoints of one have sigmas of their own."""
    cases = []
    for seed, kind, sigmas in [
        (0, "bbox", None), (1, "bbox", None), (2, "segm", None), (3, "segm", None),
        (4, "keypoints", SIGMAS), (5, "keypoints", None),
    ]:  # fmt: skip
        annotations, results = draw(seed, kind, *([len(sigmas)] if sigmas else []))
        cases.append({"kind": kind, "sigmas": sigmas, "annotations": annotations, "results": results})
    return cases


def ask_pycocotools(
    annotations: dict[str, Any], results: list[dict[str, Any]], kind: str, sigmas: Sequence[float] | None = None
) -> list[float]:
    """The 12 or 10 numbers; -1 where there is no ground truth."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(annotations)  # it writes into what it is given
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(copy.deepcopy(results)), kind)
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


if __name__ == "__main__":
    cases = draw_inputs()
    versions = {"pycocotools": version("pycocotools"), "numpy": np.__version__}
    numbers = [ask_pycocotools(**case) for case in cases]
    FILE.write_text(json.dumps({"versions": versions, "inputs": cases, "outputs": numbers}) + "\n")
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} KB")
