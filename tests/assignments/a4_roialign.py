"""Mistakes in A4."""

from course import Wrong

ROI_ALIGN = ("roi-align-ramp", "roi-align-many", "roi-align-edges", "roi-align-fast")
BACKWARD = ("backward-gradcheck", "backward-by-hand", "backward-many")

WRONG = [
    Wrong(
        "x and y swapped",
        {
            "interpolate": """def interpolate(feature, y, x):
    height, width = feature.shape[1:]
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    below, beside = y - top, x - left
    value = feature[:, left, top] * (1 - below) * (1 - beside)
    value += feature[:, right, top] * (1 - below) * beside
    value += feature[:, left, bottom] * below * (1 - beside)
    value += feature[:, right, bottom] * below * beside
    return (value * inside).to(feature.dtype)
"""
        },
        loses=(
            "interpolate-by-hand", "interpolate-border", "interpolate-many", *ROI_ALIGN, "backward-gradcheck",
        ),
    ),
    Wrong(
        "y = H and x = W count as outside",
        {"interpolate": ("(y >= -1) & (y <= height) & (x >= -1) & (x <= width)",
                         "(y > -1) & (y < height) & (x > -1) & (x < width)")},
        loses=("interpolate-border",),
    ),
    Wrong(
        "what lies beyond the border counts as the border, however far away",
        {"interpolate": ("return (value * inside).to(feature.dtype)", "return value.to(feature.dtype)")},
        loses=("interpolate-border", "roi-align-edges", "backward-gradcheck"),
    ),
    Wrong(
        "the last row and column have no neighbour",
        {"interpolate": ("(top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)", "top + 1, left + 1")},
        loses=(
            "interpolate-by-hand", "interpolate-border", "interpolate-many", "roi-align-edges", "backward-gradcheck",
        ),
    ),
    Wrong(
        "the values have the type of the places",
        {"interpolate": ("return (value * inside).to(feature.dtype)", "return value * inside")},
        loses=("interpolate-many",),
    ),
    Wrong(
        "places in 32-bit floats",
        {"sample_places": ("return start + steps * size", "return (start + steps * size).float()")},
        loses=("places-degenerate",),
    ),
    Wrong(
        "the half cell is forgotten",
        {"sample_places": ("start -= 0.5", "pass")},
        loses=("places-by-hand", "places-degenerate", "roi-align-ramp", "roi-align-edges", "backward-many"),
    ),
    Wrong(
        "the box is rounded to cells first, as RoIPool does",
        {"sample_places": ("max((high - low) / stride, 0.0)\n",
                           "max((high - low) / stride, 0.0)\n    start, length = round(start), round(length)\n")},
        loses=(
            "places-by-hand", "places-not-aligned", "places-adaptive", "places-degenerate", "roi-align-many",
            "roi-align-edges", "roi-align-fast", "backward-by-hand", "backward-many",
        ),
    ),
    Wrong(
        "a sampling ratio of 0 rounds down, and a box is at least a cell long in any case",
        {"sample_places": """def sample_places(low, high, output_size, stride, sampling_ratio, aligned):
    length = max((high - low) / stride, 1.0)
    samples = sampling_ratio or max(int(length / output_size), 1)
    steps = (torch.arange(output_size * samples, dtype=torch.float64) + 0.5) / (output_size * samples)
    return low / stride - (0.5 if aligned else 0.0) + steps * length
"""},
        loses=("places-not-aligned", "places-adaptive", "places-degenerate", "roi-align-many", "roi-align-edges",
               "backward-many"),
    ),
    Wrong(
        "a loop over bins",
        {
            "roi_align": """def roi_align(feature, rois, output_size, stride, sampling_ratio, aligned):
    pooled = feature.new_zeros(len(rois), feature.shape[0], output_size, output_size)
    for index, (x1, y1, x2, y2) in enumerate(rois.tolist()):
        y = sample_places(y1, y2, output_size, stride, sampling_ratio, aligned).reshape(output_size, -1)
        x = sample_places(x1, x2, output_size, stride, sampling_ratio, aligned).reshape(output_size, -1)
        for row in range(output_size):
            for column in range(output_size):
                points = [(v, u) for v in y[row] for u in x[column]]
                for v, u in points:
                    pooled[index, :, row, column] += interpolate(feature, v[None], u[None])[:, 0] / len(points)
    return pooled
"""
        },
        loses=("roi-align-fast",),
    ),
    Wrong(
        "the given loops of the library instead of an own function",
        {"roi_align": "roi_align = by_loops"},
        loses=(*ROI_ALIGN, "backward-gradcheck"),
    ),
    Wrong(
        "each cell is written once, however many points have read it",
        {"spread": ("cells.index_add_(1, row * width + column, gradient * (weight * inside).to(gradient.dtype))",
                    "cells[:, row * width + column] += gradient * (weight * inside).to(gradient.dtype)")},
        loses=("spread-by-hand", "spread-many", "backward-gradcheck", "backward-many"),
    ),
    Wrong(
        "the whole gradient of a bin for each of its samples",
        {"roi_align_backward": ("gradient[index] / (down * across)", "gradient[index]")},
        loses=BACKWARD,
    ),
    Wrong(
        "autograd instead of an own backward",
        {
            "roi_align_backward": """def roi_align_backward(gradient, rois, height, width, *settings):
    with torch.enable_grad():
        feature = torch.zeros(gradient.shape[1], height, width, dtype=gradient.dtype, requires_grad=True)
        roi_align(feature, rois, gradient.shape[-1], *settings).backward(gradient)
    return feature.grad
"""
        },
        loses=("backward-by-hand", "backward-many"),
    ),
    Wrong(
        "the answers that the visible tests ask for",
        {
            "roi_align_backward": """def roi_align_backward(gradient, rois, height, width, *settings):
    found = torch.zeros(1, height, width)
    found[0, 1:3, 1:3] = gradient.sum() / 4
    return found
"""
        },
        loses=("backward-gradcheck", "backward-many"),
    ),
]
