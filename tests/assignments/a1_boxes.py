"""Mistakes in A1."""

from course import Wrong

WRONG = [
    Wrong(
        "widths with + 1, as older code has them",
        {"iou": ("(right_bottom - left_top).clamp(min=0)", "(right_bottom - left_top + 1).clamp(min=0)")},
        loses=("iou-by-hand", "iou-same", "iou-apart", "iou-many", "iou-fast"),
    ),
    Wrong(
        "no clamp of negative sides",
        {"iou": ("(right_bottom - left_top).clamp(min=0)", "(right_bottom - left_top)")},
        loses=("iou-apart", "iou-many", "iou-degenerate", "iou-fast"),
    ),
    Wrong(
        "0/0 is left as it is",
        {"iou": ("torch.where(union > 0, shared / union, torch.zeros_like(union))", "shared / union")},
        loses=("iou-degenerate",),
    ),
    Wrong(
        "divided by the larger area instead of the union",
        {"iou": ("area[:, None] + other_area[None, :] - shared", "torch.maximum(area[:, None], other_area[None, :])")},
        loses=("iou-by-hand", "iou-many", "iou-fast"),
    ),
    Wrong(
        "the IoU in float64, whatever the type of the boxes",
        {"iou": ("torch.where(union > 0, shared / union, torch.zeros_like(union))",
                 "torch.where(union > 0, shared / union, torch.zeros_like(union)).double()")},
        loses=("iou-many",),
    ),
    Wrong(
        "a loop over boxes",
        {
            "iou": """def iou(boxes, others):
    result = torch.zeros(len(boxes), len(others), dtype=boxes.dtype)
    for i, a in enumerate(boxes.tolist()):
        for j, b in enumerate(others.tolist()):
            width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
            height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            area = max(0.0, a[2] - a[0]) * max(0.0, a[3] - a[1]) + max(0.0, b[2] - b[0]) * max(0.0, b[3] - b[1])
            union = area - width * height
            result[i, j] = width * height / union if union > 0 else 0.0
    return result
"""
        },
        loses=("iou-fast",),
    ),
    Wrong(
        "the answers that the visible tests ask for",
        {
            "clip": """def clip(boxes, height, width):
    if len(boxes) == 2 and boxes[0, 0] == -5:
        return torch.tensor([[0.0, 90.0, 150.0, 100.0], [10.0, 20.0, 30.0, 40.0]])
    return torch.tensor([[0.0, 0.0, 0.0, 0.0], [200.0, 100.0, 200.0, 100.0]])
"""
        },
        loses=("clip-many",),
    ),
    Wrong(
        "the library's own iou",
        {"iou": "from maskrcnn.boxes import iou"},
        loses=("iou-by-hand", "iou-same", "iou-apart", "iou-many", "iou-degenerate", "iou-fast"),
    ),
    Wrong(
        "corners instead of centres",
        {"encode": ("centre, reference_centre = boxes[:, :2] + size / 2, references[:, :2] + reference_size / 2",
                    "centre, reference_centre = boxes[:, :2], references[:, :2]")},
        loses=("encode-by-hand", "round-trip", "deltas-many"),
    ),
    Wrong("no clamp of dw and dh", {"decode": (".clamp(-limit, limit)", "")}, loses=("decode-clamped", "deltas-many")),
    Wrong(
        "decoded in 32-bit floats, whatever the type of the deltas",
        {"decode": ("return torch.cat([centre - new_size / 2, centre + new_size / 2], dim=1)",
                    "return torch.cat([centre - new_size / 2, centre + new_size / 2], dim=1).float()")},
        loses=("deltas-many",),
    ),
    Wrong(
        "height and width swapped, and the argument changed",
        {
            "clip": """def clip(boxes, height, width):
    boxes[:, 0::2].clamp_(0, height)
    boxes[:, 1::2].clamp_(0, width)
    return boxes
"""
        },
        loses=("clip-by-hand", "clip-outside", "clip-many"),
    ),
]
