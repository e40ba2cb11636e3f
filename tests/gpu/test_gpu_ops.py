"""What all ops promise on a GPU: the results of the C++ ops, no waiting, any stream, any device, CUDA graphs."""

import shutil
import subprocess
import sys
from pathlib import Path

import every_op
import pytest
import torch
from every_op import CALLS, cover_arguments, crop_arguments, match_arguments, on_gpu, to_cpu, to_gpu
from torch.utils._pytree import tree_leaves

SAME_BITS = ("nms", "match_boxes", "covered_boxes", "crop_masks", "paste_masks", "roi_pool", "roi_pool_backward")
CALL = pytest.mark.parametrize("op, make_arguments", CALLS.values(), ids=CALLS)


def assert_close(found, expected):
    for result, right in zip(tree_leaves(to_cpu(found)), tree_leaves(to_cpu(expected)), strict=True):
        torch.testing.assert_close(result, right, rtol=1e-4, atol=1e-4)


def assert_equal(found, expected):
    for result, right in zip(tree_leaves(to_cpu(found)), tree_leaves(to_cpu(expected)), strict=True):
        assert result.dtype == right.dtype and torch.equal(result, right)


# Results


def test_each_op_has_a_cuda_kernel():
    for name in CALLS:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"maskrcnn::{name}", "CUDA"), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SAME_BITS)
def test_the_bits_of_the_cpp_op(name, dtype):
    op, make_arguments = CALLS[name]
    for seed in range(5):
        arguments = make_arguments(dtype=dtype, seed=seed)
        assert_equal(on_gpu(op)(*arguments), op(*arguments))


@pytest.mark.parametrize("slots, count", [(0, 5), (5, 0), (1, 1), (8, 1024), (9, 1025), (257, 255), (300, 5000)])
def test_matching_in_any_size(slots, count):
    arguments = match_arguments(slots, count)
    assert_equal(on_gpu(torch.ops.maskrcnn.match_boxes)(*arguments), torch.ops.maskrcnn.match_boxes(*arguments))


@pytest.mark.parametrize("slots, count", [(0, 5), (5, 0), (1, 1), (256, 256), (257, 257), (600, 5000)])
def test_covering_in_any_size(slots, count):
    arguments = cover_arguments(slots, count)
    assert_equal(on_gpu(torch.ops.maskrcnn.covered_boxes)(*arguments), torch.ops.maskrcnn.covered_boxes(*arguments))


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("size", [1, 14, 56])
def test_mask_targets_in_any_size(size, binary):
    arguments = crop_arguments(size, binary)
    assert_equal(on_gpu(torch.ops.maskrcnn.crop_masks)(*arguments), torch.ops.maskrcnn.crop_masks(*arguments))


@CALL
def test_registration_keeps_pytorchs_rules(op, make_arguments):
    report = torch.library.opcheck(op.default, to_gpu(make_arguments()))
    assert set(report.values()) == {"SUCCESS"}


@CALL
def test_tensors_on_two_devices_are_an_error(op, make_arguments):
    arguments = list(to_gpu(make_arguments()))
    arguments[1] = to_cpu(arguments[1])
    with pytest.raises((RuntimeError, ValueError)):
        op(*arguments)


# Streams, graphs, devices


@CALL
def test_nothing_waits_for_the_gpu(op, make_arguments):
    arguments = to_gpu(make_arguments())
    op(*arguments)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        op(*arguments)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@CALL
def test_launches_go_to_the_current_stream(op, make_arguments):
    """The input arrives late, in a stream of its own: who does not queue up there computes with what was before."""
    early, late = to_gpu(make_arguments(seed=1)), to_gpu(make_arguments(seed=2))
    expected = op(*late)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)  # a tenth of a second
        overwrite(early, late)
        found = op(*early)
    stream.synchronize()
    assert_equal(found, expected)


@CALL
def test_a_captured_graph_computes_with_new_input(op, make_arguments):
    early, late = to_gpu(make_arguments(seed=1)), to_gpu(make_arguments(seed=2))
    expected = op(*late)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        op(*early)  # once outside, as PyTorch's guide asks for
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = op(*early)
    overwrite(early, late)
    for _ in range(2):
        graph.replay()
        torch.cuda.synchronize()
        assert_equal(found, expected)


def overwrite(arguments, others):
    for tensor, other in zip(tree_leaves(arguments), tree_leaves(others), strict=True):
        if isinstance(tensor, torch.Tensor) and tensor.numel() and tensor.shape == other.shape:
            expanded = any(stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
            if not expanded:
                tensor.copy_(other, non_blocking=True)


@CALL
def test_a_device_that_is_not_the_current_one(op, make_arguments):
    if torch.cuda.device_count() < 2:
        pytest.skip("needs a second GPU, and there is one")
    arguments = make_arguments()
    found = op(*to_gpu(arguments, "cuda:1"))
    assert torch.cuda.current_device() == 0
    assert all(leaf.device.index == 1 for leaf in tree_leaves(found))
    assert_close(found, op(*arguments))


# compute-sanitizer


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck"])
def test_compute_sanitizer_finds_nothing(tool):
    sanitizer = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
    if sanitizer is None:
        pytest.skip("needs compute-sanitizer, which comes with the CUDA toolkit")
    # Without PyTorch's cache every tensor is an allocation of its own, with an end that is watched.
    command = ["env", "PYTORCH_NO_CUDA_MEMORY_CACHING=1", sanitizer, "--tool", tool, "--error-exitcode", "9"]
    result = subprocess.run(
        [*command, sys.executable, str(Path(every_op.__file__))], capture_output=True, text=True, timeout=1800
    )
    assert result.returncode == 0 and "every op ran" in result.stdout, result.stdout[-4000:] + result.stderr[-2000:]
