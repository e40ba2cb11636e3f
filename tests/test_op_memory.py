"""What cannot fit in memory ends in an error that says so, not in the end of the process; and what must fit does."""

import os
import subprocess
import sys

import pytest

resource = pytest.importorskip("resource", reason="this system limits no memory")

SCRIPT = """
import resource
import torch
from maskrcnn import ops
from maskrcnn.memory import ran_out_of_memory
from maskrcnn.ops.convolution import LANES, by_winograd

boxes, rois, feature = torch.tensor([[0.0, 0, 2e9, 9]]), torch.tensor([[[0.0, 0, 8, 8]]]), torch.zeros(1, 2, 8, 8)
bitmap = torch.ones(9, dtype=torch.uint8), torch.tensor([0]), torch.tensor([[0, 0, 3, 3]]), boxes
paste = dict(convention="pixel_centres")
pool = dict(strides=[1.0], sampling_ratio=2, aligned=True)
calls = {
    "paste, both": lambda: ops.paste_masks(torch.ones(1, 2, 2), boxes, height=10**9, width=10**9, **paste),
    "paste, high": lambda: ops.paste_masks(torch.ones(1, 2, 2), boxes, height=10**11, width=1, **paste),
    "paste, wide": lambda: ops.paste_masks(torch.ones(1, 2, 2), boxes, height=1, width=3 * 10**8, **paste),
    "paste, beyond 64 bits": lambda: ops.paste_masks(torch.ones(1, 2, 2), boxes, height=2**62, width=2**62, **paste),
    "nms": lambda: ops.nms(boxes, boxes[:, 0], iou_threshold=0.5, max_keep=10**12),
    "align": lambda: ops.pyramid_roi_align([feature], rois, output_size=10**6, **pool),
    "pool": lambda: ops.roi_pool(feature, rois, output_size=10**6, stride=1.0),
    "pool, many pixels": lambda: ops.roi_pool(
        torch.zeros(1).expand(1, 1, 2**16, 2**16), rois, output_size=2, stride=1.0
    ),
    "warp": lambda: ops.roi_warp(feature, rois, output_size=2, stride=1.0, sampling_ratio=10**6, mode="max"),
    "crop": lambda: ops.crop_masks(*bitmap, torch.tensor([9, 9]), size=10**6, convention="soft"),
    "crop, a wide image": lambda: ops.crop_masks(*bitmap, torch.tensor([9, 2**31 - 1]), size=1, convention="soft"),
}
if LANES:
    maps = torch.zeros(1, 16, 256, 256).contiguous(memory_format=torch.channels_last)
    calls["convolve"] = lambda: by_winograd(maps, torch.zeros(8192, 16, 3, 3), None)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 2**29
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for name, call in calls.items():
    try:
        call()
        print(name, "returned")
    except (RuntimeError, MemoryError, ValueError) as error:
        print(name, "raised", type(error).__name__, str(error).splitlines()[0])
        if not isinstance(error, ValueError) and not ran_out_of_memory(error):
            print(name, "is not known to be out of memory")
print("all", len(calls))
"""


def printed_by(script, implementation):
    """The lines that a script prints in a process of its own, with one thread."""
    environment = os.environ | {"MASKRCNN_OPS": implementation, "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


@pytest.mark.parametrize("implementation", ["", "python"])
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux says here how much memory is in use")
def test_what_cannot_fit_in_memory_is_an_error(implementation):
    *calls, last = printed_by(SCRIPT, implementation)
    assert last == f"all {len(calls)}"
    assert [call for call in calls if " raised " not in call] == []


DONT_CARE = """
import resource
import torch
from maskrcnn import boxes as box_functions
from maskrcnn.targets.matching import IGNORED, NEGATIVE, ignore_overlapping

anchors, regions = torch.rand(1, 217_413, 4), torch.rand(1, 200, 4)
anchors[..., 2:] += anchors[..., :2]
regions[..., 2:] += regions[..., :2]
label, real = torch.full((1, 217_413), NEGATIVE), torch.ones(1, 200, dtype=torch.bool)
ignore_overlapping(label[:, :9], anchors[:, :9], regions, real)  # whatever is loaded at the first call
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + 100 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
print((ignore_overlapping(label, anchors, regions, real) == IGNORED).sum().item(), "ignored")
try:
    box_functions.intersection(regions, anchors)
except RuntimeError:
    print("a number for each pair does not fit")
"""


@pytest.mark.parametrize("implementation", ["", "python"])
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="only Linux says here how much memory is in use")
def test_dont_care_regions_need_no_number_for_each_anchor_and_region(implementation):
    """200 regions and the anchors of COCO's pictures, in 100 MiB; a float32 for each pair takes 166."""
    ignored, other = printed_by(DONT_CARE, implementation)
    assert int(ignored.split()[0]) > 0 and other == "a number for each pair does not fit"
