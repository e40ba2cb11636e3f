"""Memory that a step of training no longer needs goes back to the system, and gradients add up where they are."""

import os
import subprocess
import sys

import pytest
import torch
from torch.profiler import profile

from maskrcnn import ops
from maskrcnn.ops import register

FREED = """
import gc, sys, torch
from maskrcnn.benchmarks.memory import resident_bytes
from maskrcnn.training.freed_memory import return_freed_memory
torch.ones(4 * 2**20)  # 16 MiB: freed once, blocks of up to this size are kept from then on
if sys.argv[1] == "asked" and not return_freed_memory():
    sys.exit("not this C library")
before = resident_bytes("VmRSS")
large, small = [], []
for _ in range(50):
    large.append(torch.ones(2**20))  # 4 MiB
    small.append(torch.ones(2**10))  # stays, and the end of the heap with it
del large
gc.collect()
print((resident_bytes("VmRSS") - before) // 2**20)
"""
"""Prints how many of 200 MiB that were freed are still there."""


def kept(how: str) -> int:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run([sys.executable, "-c", FREED, how], env=environment, capture_output=True, text=True)
    if "not this C library" in ended.stderr:
        pytest.skip("only glibc keeps what was freed")
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what is resident")
def test_large_blocks_go_back_to_the_system_when_asked():
    assert kept("asked") < 20
    assert kept("unasked") > 150  # else there was nothing to ask for


def summed_gradients(features: torch.Tensor, poolings: int) -> list[str]:
    """The names of PyTorch's functions that add up the gradients of a map that is pooled from several times."""
    rois = torch.tensor([[[0.0, 0, 40, 40]]])
    whole = features * 1  # as if from the layer before
    pool = {"strides": [4.0], "sampling_ratio": 2, "aligned": True}
    pooled = [ops.pyramid_roi_align([whole], rois, output_size=7, **pool).sum() for _ in range(poolings)]
    with profile(record_shapes=True) as record:
        sum(pooled).backward()
    shape = list(features.shape)
    return [event.name for event in record.events() if "add" in event.name and event.input_shapes[:2] == [shape] * 2]


@pytest.mark.skipif(register.extension is None, reason="the compiled op's memory")
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_of_several_poolings_are_added_in_place(layout):
    """Box head and mask head both pool from the finest map, the largest of a step. A gradient that is a view of another
    tensor would be added into a new one: three such maps at once, where two will do."""
    features = torch.rand(1, 8, 12, 16).to(memory_format=layout).requires_grad_()
    assert summed_gradients(features, poolings=3) == ["aten::add_", "aten::add_"]
    assert features.grad.is_contiguous(memory_format=layout)
