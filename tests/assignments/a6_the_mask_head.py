"""Mistakes in A6. The parts do not need each other, so that one submission holds mistakes in several."""

from course import Wrong

POINTS = ("points-by-hand", "points-clipped", "points-many")
PASTE = ("paste-by-hand", "paste-halves", "paste-edges", "paste-many", "paste-fast")

WRONG = [
    Wrong(
        "every half is forgotten: points, pixels and cells are at their corners",
        {
            "sample_points": ("+ 0.5)", ")"),
            "mask_target": ("(y - 0.5).clamp(0, height - 1), (x - 0.5).clamp(0, width - 1)",
                            "y.clamp(0, height - 1), x.clamp(0, width - 1)"),
            "paste": """def paste(masks, boxes, height, width):
    x1, y1, x2, y2 = boxes[:, :, None].unbind(dim=1)
    x = (torch.arange(width) + 0.5 - x1) / (x2 - x1) * masks.shape[-1]
    y = (torch.arange(height) + 0.5 - y1) / (y2 - y1) * masks.shape[-1]
    proper = (x2 > x1) & (y2 > y1)
    return (look_up(masks, y, x) >= 0.5) & proper[:, :, None]
""",
        },
        loses=(*POINTS, "target-by-hand", "target-half", "target-many", *PASTE),
    ),
    Wrong(
        "more than a half instead of at least a half; the sigmoid first, then the logarithm",
        {
            "mask_target": ("mean >= 0.5", "mean > 0.5"),
            "mask_loss": ("binary_cross_entropy_with_logits(own, ", "binary_cross_entropy(own.sigmoid(), "),
            "paste": ("y, x) >= 0.5", "y, x) > 0.5"),
        },
        loses=("target-half", "loss-large", "paste-edges"),
    ),
    Wrong(
        "the target fades at the edge of the picture; pasted masks do not at the edge of the box",
        {
            "mask_target": ("(y - 0.5).clamp(0, height - 1), (x - 0.5).clamp(0, width - 1)", "y - 0.5, x - 0.5"),
            "paste": ("(look_up(masks, y, x) >= 0.5)",
                      "(look_up(masks, y.clamp(0, masks.shape[-1] - 1), x.clamp(0, masks.shape[-1] - 1)) >= 0.5)"),
        },
        loses=("target-edges", "target-many", *PASTE),
    ),
    Wrong(
        "pixels per cell are rounded down; the points of a cell are taken from all over the RoI; x and y are swapped",
        {
            "sample_points": ("math.ceil((end - start) / cells)", "int((end - start) / cells)"),
            "mask_target": ("values.reshape(size, len(y) // size, size, len(x) // size).mean(dim=(1, 3))",
                            "values.reshape(len(y) // size, size, len(x) // size, size).mean(dim=(0, 2))"),
            "paste": ("x1, y1, x2, y2 = boxes", "y1, x1, y2, x2 = boxes"),
        },
        loses=(
            *POINTS, "target-by-hand", "target-half", "target-many",
            "paste-by-hand", "paste-halves", "paste-many", "paste-fast",
        ),
    ),
    Wrong(
        "the points are clipped, not the RoI; fractions are kept, as by another convention; no case without area",
        {
            "sample_points": """def sample_points(start, end, limit, cells):
    points = cells * math.ceil((end - start) / cells)
    return (start + (torch.arange(points, dtype=torch.float64) + 0.5) * (end - start) / points).clamp(0, limit)
""",
            "mask_target": ("(mean >= 0.5).double()", "mean"),
            "paste": (" & proper[:, :, None]", ""),
        },
        loses=("points-clipped", "points-many", "target-by-hand", "target-half", "target-many", "paste-many"),
    ),
    Wrong(
        "pixels stand at their corners, and a half is not enough",
        {"paste": """def paste(masks, boxes, height, width):
    x1, y1, x2, y2 = boxes[:, :, None].unbind(dim=1)
    x = (torch.arange(width) - x1) / (x2 - x1) * masks.shape[-1] - 0.5
    y = (torch.arange(height) - y1) / (y2 - y1) * masks.shape[-1] - 0.5
    proper = (x2 > x1) & (y2 > y1)
    return (look_up(masks, y, x) > 0.5) & proper[:, :, None]
"""},
        loses=PASTE,
    ),
    Wrong(
        "probabilities where the loss wants logits",
        {"mask_loss": ("_with_logits(own, ", "_with_logits(own.sigmoid(), ")},
        loses=("loss-by-hand", "loss-background", "loss-own-class", "loss-large", "loss-many"),
    ),
    Wrong(
        "the mean is over all RoIs, the background among them",
        {"mask_loss": ("own, targets[positive])", "own, targets[positive]) * len(positive) / len(labels)")},
        loses=("loss-background", "loss-many"),
    ),
    Wrong(
        "the channel is that of the label, not of the class; a plain 0 without positives",
        {"mask_loss": """def mask_loss(logits, targets, labels):
    positive = labels.nonzero()[:, 0]
    if len(positive) == 0:
        return torch.tensor(0.0)
    own = logits[positive, labels[positive].clamp(max=logits.shape[1] - 1)]
    return torch.nn.functional.binary_cross_entropy_with_logits(own, targets[positive])
"""},
        loses=("loss-own-class", "loss-nothing", "loss-many"),
    ),
    Wrong(
        "all channels are asked for the same mask; the mean of nothing, which is NaN",
        {"mask_loss": """def mask_loss(logits, targets, labels):
    own = logits[labels > 0]
    asked = targets[labels > 0][:, None].expand_as(own)
    return torch.nn.functional.binary_cross_entropy_with_logits(own, asked)
"""},
        loses=("loss-own-class", "loss-nothing", "loss-many"),
    ),
    Wrong(
        "a loop over pixels; the background is multiplied by 0, and 0 times NaN is NaN",
        {
            "mask_loss": """def mask_loss(logits, targets, labels):
    positive = (labels > 0).to(logits.dtype)
    own = logits[torch.arange(len(labels)), (labels - 1).clamp(min=0)]
    each = torch.nn.functional.binary_cross_entropy_with_logits(own, targets, reduction="none")
    return (each.mean(dim=(1, 2)) * positive).sum() / positive.sum().clamp(min=1)
""",
            "paste": """def paste(masks, boxes, height, width):
    pictures = torch.zeros(len(masks), height, width, dtype=torch.bool)
    for picture, mask, (x1, y1, x2, y2) in zip(pictures, masks, boxes.tolist()):
        if x2 <= x1 or y2 <= y1:
            continue
        for i in range(height):
            for j in range(width):
                y = torch.tensor([(i + 0.5 - y1) / (y2 - y1) * len(mask) - 0.5])
                x = torch.tensor([(j + 0.5 - x1) / (x2 - x1) * len(mask) - 0.5])
                picture[i, j] = look_up(mask, y, x).item() >= 0.5
    return pictures
"""
        },
        loses=("loss-many", "paste-fast"),
    ),
    Wrong(
        "the answers that the visible tests ask for, and the library's own paste",
        {
            "sample_points": """def sample_points(start, end, limit, cells):
    known = {3: [2.5, 3.5, 4.5, 5.5, 6.5, 7.5], 2: [0.41667, 1.25, 2.08333, 2.91667, 3.75, 4.58333]}
    return torch.tensor(known.get(cells, [4.125, 4.375, 4.625, 4.875]))
""",
            "paste": """def paste(masks, boxes, height, width):
    from maskrcnn.ops import paste_masks
    return paste_masks(masks, boxes, height=height, width=width, convention="pixel_centres")
""",
        },
        loses=("points-clipped", "points-many", *PASTE),
    ),
]
