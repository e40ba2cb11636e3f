"""The CUDA kernels on the emulator (csrc/emulator), with the signatures of the ops they belong to.

What `csrc/<op>/cuda.cu` launches on a GPU, `tests/emulated/<op>.cpp` launches on threads of the host. Blocks are small
here, so that small inputs need several of them.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
OPS = ("nms", "match_boxes", "covered_boxes", "crop_masks", "paste_masks", "pyramid_roi_align", "roi_pool")
WARNINGS = ("-Wall", "-Wextra", "-Werror")
_BUILT = ROOT / "build" / "emulated"
_NAMES = {torch.float32: "float", torch.float64: "double", torch.float16: "half", torch.bfloat16: "bfloat16"}


def compiler() -> str:
    """The C++ compiler, or a reason to skip."""
    found = shutil.which(os.environ.get("CXX", "c++").split()[0])
    if found is None or os.name == "nt":
        pytest.skip("the emulator needs GCC or Clang")
    return found


def compile_emulated(sources: list[Path], output: Path, *flags: str) -> None:
    """Compiles C++ sources that include kernels; warnings are errors."""
    import torch.utils.cpp_extension

    includes = [f"-I{ROOT / 'csrc'}", *(f"-isystem{path}" for path in torch.utils.cpp_extension.include_paths())]
    # No a * b + c in one rounding: the kernels promise the bits of the C++ ops.
    arguments = ["-std=c++17", "-pthread", "-ffp-contract=off", *WARNINGS, *flags, *includes]
    result = subprocess.run(
        [compiler(), *arguments, *map(str, sources), "-o", str(output)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


@functools.cache
def library(op: str) -> ctypes.CDLL:
    """The kernels of one op, compiled when first asked for; kept in build/ until a source changes."""
    source = ROOT / "tests" / "emulated" / f"{op}.cpp"
    headers = sorted(path for path in (ROOT / "csrc").rglob("*") if path.suffix in (".h", ".cuh"))
    contents = b"".join(path.read_bytes() for path in (Path(__file__), source, *headers))
    path = _BUILT / f"{op}-{hashlib.sha256(contents + compiler().encode()).hexdigest()[:16]}.so"
    if not path.exists():
        _BUILT.mkdir(parents=True, exist_ok=True)
        for stale in set(_BUILT.glob(f"{op}-*.so")) - {path}:
            stale.unlink(missing_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        compile_emulated([source], unfinished, "-O1", "-fPIC", "-shared")
        unfinished.replace(path)
    return ctypes.CDLL(str(path))


def _call(op: str, function: str, *arguments: Tensor | int | float | bool | ctypes.Array | None) -> None:
    converted = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            converted.append(ctypes.c_void_p(argument.data_ptr()))
        elif isinstance(argument, bool):
            converted.append(ctypes.c_bool(argument))
        elif isinstance(argument, int):
            converted.append(ctypes.c_int64(argument))
        elif isinstance(argument, float):
            converted.append(ctypes.c_double(argument))
        else:
            converted.append(argument)
    function = getattr(library(op), function)
    function.restype = None
    function(*converted)


def nms(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor | None,
    iou_threshold: float,
    max_keep: int,
    rank_threads: int = 32,
    survivor_threads: int = 64,
) -> Tensor:
    batch, count = scores.shape
    keep = torch.full((batch, max_keep), -7)
    if batch:
        boxes, scores = boxes.contiguous(), scores.contiguous()
        groups = None if groups is None else groups.contiguous()
        _call(
            "nms", f"nms_{_NAMES[boxes.dtype]}", boxes, scores, groups, batch, count, float(iou_threshold), max_keep,
            keep, rank_threads, survivor_threads,
        )  # fmt: skip
    return keep


def match_boxes(
    ground_truths: Tensor,
    ground_truths_valid: Tensor,
    boxes: Tensor,
    boxes_valid: Tensor,
    floor: float,
    threads: int = 32,
) -> tuple[Tensor, Tensor, Tensor]:
    batch, count = boxes_valid.shape
    results = (boxes.new_full((batch, count), -7), torch.full((batch, count), -7), torch.full((batch, count), -7))
    if batch * count:
        inputs = [tensor.contiguous() for tensor in (ground_truths, ground_truths_valid, boxes, boxes_valid)]
        slots = ground_truths.shape[1]
        name = f"match_boxes_{_NAMES[boxes.dtype]}"
        _call("match_boxes", name, *inputs, batch, slots, count, float(floor), *results, threads)
    return results


def covered_boxes(
    boxes: Tensor, regions: Tensor, regions_valid: Tensor, fraction: float, threads: int = 32
) -> Tensor:
    batch, count = boxes.shape[:2]
    covered = torch.full((batch, count), 7, dtype=torch.uint8)
    if batch * count:
        inputs = boxes.contiguous(), regions.contiguous(), regions_valid.contiguous()
        name = f"covered_boxes_{_NAMES[boxes.dtype]}"
        _call("covered_boxes", name, *inputs, batch, count, regions.shape[1], float(fraction), covered, threads)
    assert (covered <= 1).all(), "every box has an answer"
    return covered.bool()


def crop_masks(
    bitmaps: Tensor,
    offsets: Tensor,
    bitmap_boxes: Tensor,
    rois: Tensor,
    image_sizes: Tensor,
    size: int,
    binary: bool,
    threads: int = 64,
) -> Tensor:
    batch, count = offsets.shape
    targets = rois.new_full((batch, count, size, size), -7.0)
    if targets.numel():
        inputs = [tensor.contiguous() for tensor in (offsets, bitmap_boxes, rois, image_sizes)]
        _call(
            "crop_masks", f"crop_masks_{_NAMES[rois.dtype]}", bitmaps.contiguous(), len(bitmaps), *inputs, batch, count,
            size, binary, targets, threads,
        )  # fmt: skip
    return targets


def paste_masks(
    masks: Tensor, boxes: Tensor, height: int, width: int, padded_resize: bool, threads: int = 32
) -> Tensor:
    # Not to begin at a whole word, which no picture but the first can rely on.
    memory = torch.full((len(masks) * height * width + 3,), 7, dtype=torch.uint8)
    pictures = memory[3:].view(torch.bool).view(len(masks), height, width)
    if pictures.numel():
        _call(
            "paste_masks", f"paste_masks_{_NAMES[masks.dtype]}", masks.contiguous(), boxes.contiguous(), len(masks),
            masks.shape[1], height, width, padded_resize, pictures, threads,
        )  # fmt: skip
    assert (memory[:3] == 7).all() and (memory[3:] <= 1).all(), "every pixel is written, and nothing else"
    return pictures


def roi_pool(
    feature: Tensor, rois: Tensor, output_size: int, stride: float, channels_last: bool, threads: int = 64
) -> tuple[Tensor, Tensor]:
    (batch, count), channels = rois.shape[:2], feature.shape[1]
    shape = (output_size, output_size, channels) if channels_last else (channels, output_size, output_size)
    results = feature.new_full((batch, count, *shape), -7.0), torch.full((batch, count, *shape), -7).int()
    if results[0].numel():
        numbers = (ctypes.c_int64 * 6)(*feature.shape[2:], *feature.stride())
        _call(
            "roi_pool", f"roi_pool_{_NAMES[feature.dtype]}", feature, numbers, float(stride), rois.contiguous(), batch,
            count, channels, output_size, channels_last, *results, threads,
            channels_last and _whole_vectors(feature, 1),
        )  # fmt: skip
    return tuple(result.permute(0, 1, 4, 2, 3) if channels_last else result for result in results)


def roi_pool_backward(
    gradient: Tensor,
    argmax: Tensor,
    height: int,
    width: int,
    channels_last: bool,
    reach_threads: int = 4,
    tiles_per_block: int = 1,
) -> Tensor:
    batch, count, channels, size = gradient.shape[:4]
    shape = (height, width, channels) if channels_last else (channels, height, width)
    result = torch.full((batch, *shape), -7.0, dtype=torch.promote_types(gradient.dtype, torch.float32))
    if result.numel():
        _call(
            "roi_pool", f"roi_pool_backward_{_NAMES[gradient.dtype]}", gradient,
            (ctypes.c_int64 * 5)(*gradient.stride()), argmax, (ctypes.c_int64 * 5)(*argmax.stride()), batch, count,
            channels, size, height, width, channels_last, result, reach_threads, tiles_per_block,
        )  # fmt: skip
    return result.permute(0, 3, 1, 2) if channels_last else result


def pyramid_roi_align(
    features: list[Tensor],
    rois: Tensor,
    output_size: int,
    strides: list[float],
    sampling_ratio: int,
    aligned: bool,
    finest_size: float,
    channels_last: bool,
    threads: int = 64,
) -> Tensor:
    (batch, count), channels, dtype = rois.shape[:2], features[0].shape[1], features[0].dtype
    shape = (output_size, output_size, channels) if channels_last else (channels, output_size, output_size)
    output = features[0].new_full((batch, count, *shape), -7.0)
    if output.numel():
        vectorised = channels_last and all(_whole_vectors(level, 1) for level in features)
        _call(
            "pyramid_roi_align", f"pool_{_NAMES[dtype]}", *_describe(features), _doubles(strides), len(features),
            rois.contiguous(), batch, count, channels, output_size, sampling_ratio, aligned, float(finest_size),
            channels_last, output, threads, vectorised,
        )  # fmt: skip
    return output.permute(0, 1, 4, 2, 3) if channels_last else output


def pyramid_roi_align_backward(
    gradient: Tensor,
    rois: Tensor,
    heights: list[int],
    widths: list[int],
    output_size: int,
    strides: list[float],
    sampling_ratio: int,
    aligned: bool,
    finest_size: float,
    channels_last: bool,
    lanes: int = 4,
) -> list[Tensor]:
    (batch, count), channels = rois.shape[:2], gradient.shape[2]
    levels = []
    for height, width in zip(heights, widths, strict=True):
        shape = (height, width, channels) if channels_last else (channels, height, width)
        level = gradient.new_full((batch, *shape), -7.0)
        levels.append(level.permute(0, 3, 1, 2) if channels_last else level)
    if batch * channels:
        _call(
            "pyramid_roi_align", f"collect_{_NAMES[gradient.dtype]}", *_describe(levels), _doubles(strides),
            len(levels), rois.contiguous(), batch, count, channels, output_size, sampling_ratio, aligned,
            float(finest_size), gradient, (ctypes.c_int64 * 5)(*gradient.stride()), lanes,
            channels_last and _whole_vectors(gradient, 2),
        )  # fmt: skip
    return levels


def _whole_vectors(tensor: Tensor, channel_dimension: int) -> bool:
    """As `has_whole_vectors` in csrc/channels.h."""
    vector = 16 // tensor.element_size()
    others = [stride for dimension, stride in enumerate(tensor.stride()) if dimension != channel_dimension]
    return (
        tensor.stride(channel_dimension) == 1
        and tensor.shape[channel_dimension] % vector == 0
        and tensor.data_ptr() % 16 == 0
        and all(stride % vector == 0 for stride in others)
    )


def _describe(levels: list[Tensor]) -> tuple[ctypes.Array, ctypes.Array]:
    """Where each level (B, C, H, W) lies, and height, width and strides of all of them, one after another."""
    numbers = [number for level in levels for number in (*level.shape[2:], *level.stride())]
    addresses = (ctypes.c_void_p * len(levels))(*(level.data_ptr() for level in levels))
    return addresses, (ctypes.c_int64 * len(numbers))(*numbers)


def _doubles(values: list[float]) -> ctypes.Array:
    return (ctypes.c_double * len(values))(*values)
