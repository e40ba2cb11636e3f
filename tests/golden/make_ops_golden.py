"""Runs the cases of `ops_case.py` through torchvision's ops and stores what they give.

    PYTHONPATH=. python tests/golden/make_ops_golden.py    (from the repository root, where torchvision is installed)
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

import torchvision
from golden import ops_case as case

FILE = pathlib.Path(__file__).with_name("torchvision_ops.npz")


def torchvision_results() -> dict[str, np.ndarray]:
    """What torchvision's nms, roi_pool and roi_align give, under the names of the golden file."""
    results = {}
    for name, (corners, score, threshold) in case.suppression_cases().items():
        results[name] = torchvision.ops.nms(corners, score, threshold).to(torch.int16)
    feature = case.feature()
    for name, (rois, size, stride) in case.pooling_cases().items():
        results[f"roi_pool_{name}"] = torchvision.ops.roi_pool(feature, [rois], size, 1 / stride)
        for aligned, ratio in case.ALIGNMENTS:
            readable = case.without_swapped_corners(rois) if aligned else rois
            results[f"roi_align_{name}_{aligned}_{ratio}"] = torchvision.ops.roi_align(
                feature, [readable], size, 1 / stride, ratio, aligned
            )
    return {name: value.numpy() for name, value in results.items()}


def main() -> None:
    torch.set_num_threads(1)
    results, ours = torchvision_results(), case.our_results()
    assert results.keys() == ours.keys()
    for name, value in results.items():
        same = value.shape == ours[name].shape
        difference = np.abs(value.astype(np.float64) - ours[name]).max() if same else np.inf
        print(f"{name:32} {value.shape!s:18} ours differs by {difference:.2g}")
    versions = {"torch_version": np.array(torch.__version__), "torchvision_version": np.array(torchvision.__version__)}
    np.savez_compressed(FILE, **results, **versions)
    print(f"{FILE.name}: {FILE.stat().st_size / 1024:.0f} KB")


if __name__ == "__main__":
    main()
