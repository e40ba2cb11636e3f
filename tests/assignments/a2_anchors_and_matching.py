"""Mistakes in A2."""

from course import Wrong

WRONG = [
    Wrong(
        "ratio is width / height, and anchors stand in the middle of a cell",
        {
            "anchor-shapes": (
                "half_width, half_height = size / ratio.sqrt() / 2, size * ratio.sqrt() / 2",
                "half_width, half_height = size * ratio.sqrt() / 2, size / ratio.sqrt() / 2",
            ),
            "anchor-grid": (
                "torch.arange(rows) * stride, torch.arange(columns) * stride",
                "(torch.arange(rows) + 0.5) * stride, (torch.arange(columns) + 0.5) * stride",
            ),
        },
        loses=("shapes-by-hand", "shapes-many", "grid-place", "grid-many", "grid-fast"),
    ),
    Wrong(
        "size is the width, x and y are swapped",
        {
            "anchor-shapes": (
                "half_width, half_height = size / ratio.sqrt() / 2, size * ratio.sqrt() / 2",
                "half_width, half_height = torch.full_like(ratio, size / 2), size * ratio / 2",
            ),
            "anchor-grid": ("[x, y, x, y]", "[y, x, y, x]"),
        },
        loses=("shapes-by-hand", "shapes-area", "shapes-many", "grid-place", "grid-order", "grid-many", "grid-fast"),
    ),
    Wrong(
        "shape by shape instead of cell by cell, and IoU instead of the share of the anchor",
        {
            "anchor-grid": (
                "(centres[:, :, None] + shapes).reshape(-1, 4)",
                "torch.cat([(centres + shape).reshape(-1, 4) for shape in shapes])",
            ),
            "ignore-unknown": ("(shared > area(anchors) / 2)", "(iou(regions, anchors) > 0.5)"),
        },
        loses=("grid-order", "grid-many", "grid-fast", "unknown-by-hand", "unknown-many"),
    ),
    Wrong(
        "a loop over cells",
        {
            "anchor-grid": """def anchor_grid(shapes, rows, columns, stride):
    anchors = [torch.zeros(0, 4, dtype=shapes.dtype)]
    for row in range(rows):
        for column in range(columns):
            x, y = column * stride, row * stride
            anchors.append(shapes + torch.tensor([x, y, x, y]))
    return torch.cat(anchors)
"""
        },
        loses=("grid-fast",),
    ),
    Wrong(
        "more than the threshold instead of at least, and no picture without objects",
        {
            "labels-from-overlap": """def labels_from_overlap(overlap, positive_iou, negative_iou):
    largest, _ = overlap.max(dim=0)
    labels = torch.full(largest.shape, IGNORED)
    labels[largest > positive_iou] = POSITIVE
    labels[largest <= negative_iou] = NEGATIVE
    return labels
"""
        },
        loses=("labels-at-the-thresholds", "labels-many"),
    ),
    Wrong(
        "object after object: the last one decides, and the thresholds are always 0.7 and 0.3",
        {
            "labels-from-overlap": """def labels_from_overlap(overlap, positive_iou, negative_iou):
    labels = torch.full((overlap.shape[1],), NEGATIVE)
    for row in overlap:
        labels[row >= 0.7] = POSITIVE
        labels[(row < 0.7) & (row >= 0.3)] = IGNORED
        labels[row < 0.3] = NEGATIVE
    return labels
"""
        },
        loses=("labels-by-hand", "labels-at-the-thresholds", "labels-many"),
    ),
    Wrong(
        "only one best anchor for each object, and each anchor belongs to the object that it overlaps most",
        {
            "keep-best": """def keep_best(labels, overlap, lowest_iou):
    largest, best = overlap.max(dim=1)
    labels = labels.clone()
    labels[best[largest >= lowest_iou]] = POSITIVE
    return labels
""",
            "objects-of": ("torch.where(last >= 0, last, overlap.argmax(dim=0))", "overlap.argmax(dim=0)"),
        },
        loses=("keep-ties", "keep-many", "objects-by-hand", "objects-many"),
    ),
    Wrong(
        "no lowest IoU, labels that were given are changed, and the first of several objects has the anchor",
        {
            "keep-best": """def keep_best(labels, overlap, lowest_iou):
    labels[(overlap == overlap.amax(dim=1, keepdim=True)).any(dim=0)] = POSITIVE
    return labels
""",
            "objects-of": (
                "last = torch.where(is_best, number, -1).amax(dim=0)",
                "last = torch.where(is_best.any(dim=0), is_best.int().argmax(dim=0), -1)",
            ),
        },
        loses=("keep-lowest", "keep-many", "objects-many"),
    ),
    Wrong(
        "the best object of each anchor, not the best anchor of each object; shares of several regions added up",
        {
            "keep-best": ("overlap.amax(dim=1, keepdim=True)  # (G, 1)", "overlap.amax(dim=0, keepdim=True)"),
            "ignore-unknown": """def ignore_unknown(labels, anchors, regions):
    share = intersection(regions, anchors).sum(dim=0) / area(anchors)
    return torch.where(share > 0.5, IGNORED, labels)
""",
        },
        loses=("keep-by-hand", "keep-ties", "keep-many", "unknown-by-hand", "unknown-many"),
    ),
    Wrong(
        "the answers that the visible tests ask for",
        {
            "objects-of": """def objects_of(labels, overlap, lowest_iou):
    return torch.tensor([0, 1, 0, -1])
"""
        },
        loses=("objects-many",),
    ),
    Wrong(
        "labels and numbers of objects in 32-bit integers",
        {
            "labels-from-overlap": ("return torch.where(largest < negative_iou, NEGATIVE, labels)",
                                    "return torch.where(largest < negative_iou, NEGATIVE, labels).int()"),
            "keep-best": ("POSITIVE, labels)", "POSITIVE, labels).int()"),
            "objects-of": ("found, -1)", "found, -1).int()"),
            "ignore-unknown": ("IGNORED, labels)", "IGNORED, labels).int()"),
        },
        loses=("labels-many", "keep-many", "objects-many", "unknown-many"),
    ),
    Wrong(
        "the library's own anchors and matching",
        {
            "anchor-grid": """def anchor_grid(shapes, rows, columns, stride):
    return grid_anchors(shapes, (rows, columns), (float(stride), float(stride)))
""",
            "ignore-unknown": """def ignore_unknown(labels, anchors, regions):
    from maskrcnn.targets.matching import ignore_overlapping
    return ignore_overlapping(labels, anchors, regions, torch.ones(len(regions), dtype=torch.bool))
""",
        },
        loses=("grid-place", "grid-order", "grid-many", "grid-fast", "unknown-by-hand", "unknown-many"),
    ),
]
