"""Mistakes in A3."""

from course import Wrong

WRONG = [
    Wrong(
        "equal to the threshold is enough to fall",
        {
            "nms-loop": ("overlap[better, candidate] > threshold", "overlap[better, candidate] >= threshold"),
            "nms": ("[0] > threshold", "[0] >= threshold"),
        },
        loses=("loop-threshold", "loop-many", "steps-settled", "steps-many"),
    ),
    Wrong(
        "boxes that have fallen suppress others",
        {"nms-loop": ("for better in kept", "for better in candidates[: candidates.index(candidate)]")},
        loses=("loop-fallen", "loop-many"),
    ),
    Wrong(
        "survivors in the order of the boxes",
        {"nms-loop": ("return torch.tensor(kept,", "return torch.tensor(sorted(kept),")},
        loses=("loop-by-hand", "loop-ties", "loop-nothing", "loop-many"),
    ),
    Wrong(
        "sorted the other way and turned round: of equal scores the higher index comes first, and NaN before all",
        {
            "nms": """def nms(boxes, scores, threshold):
    order = scores.argsort(stable=True).flip(0)
    order = order[scores[order] != -torch.inf]
    kept = []
    while len(order) > 0:
        best, order = order[0], order[1:]
        kept.append(best.item())
        order = order[iou(boxes[best][None], boxes[order])[0] <= threshold]
    return torch.tensor(kept, dtype=torch.int64)
"""
        },
        loses=("steps-settled", "steps-nothing", "steps-many"),
    ),
    Wrong(
        "a box without area is the best one for ever",
        {"nms": ("        remaining[best] = -torch.inf  # without an area it does not overlap even itself\n", "")},
        loses=("steps-nothing",),
    ),
    Wrong(
        "the scores that were given are used up, and without boxes there is no largest score",
        {
            "nms": """def nms(boxes, scores, threshold):
    kept = []
    while scores.max() > -torch.inf:
        best = scores.argmax()
        kept.append(best.item())
        scores[iou(boxes[best][None], boxes)[0] > threshold] = -torch.inf
        scores[best] = -torch.inf
    return torch.tensor(kept, dtype=torch.int64)
"""
        },
        loses=("steps-nothing", "steps-many"),
    ),
    Wrong(
        "part 1 once more: a loop over pairs",
        {
            "nms": """def nms(boxes, scores, threshold):
    overlap = iou(boxes, boxes)
    kept = []
    for candidate in scores.argsort(descending=True, stable=True):
        suppressed = not scores[candidate] > -torch.inf
        for better in kept:
            if overlap[better, candidate] > threshold:
                suppressed = True
                break
        if not suppressed:
            kept.append(candidate.item())
    return torch.tensor(kept, dtype=torch.int64)
"""
        },
        loses=("steps-fast",),
    ),
    Wrong(
        "groups moved apart by as much as the picture is wide, in 32-bit floats",
        {
            "nms-of-groups": """def nms_of_groups(boxes, scores, groups, threshold):
    if len(boxes) == 0:
        return nms(boxes, scores, threshold)
    return nms(boxes + (groups * (boxes.max() + 1))[:, None], scores, threshold)
"""
        },
        loses=("groups-anywhere",),
        calls=("nms",),
    ),
    Wrong(
        "group after group",
        {
            "nms-of-groups": """def nms_of_groups(boxes, scores, groups, threshold):
    kept = []
    for group in groups.unique():
        own = (groups == group).nonzero()[:, 0]
        kept.append(own[nms(boxes[own], scores[own], threshold)])
    return torch.cat(kept)
"""
        },
        loses=("groups-order", "groups-many", "groups-anywhere"),
        calls=("nms",),
    ),
    Wrong(
        "in groups, places without a candidate survive",
        {
            "nms-of-groups": """def nms_of_groups(boxes, scores, groups, threshold):
    order = scores.argsort(descending=True, stable=True)
    kept = []
    while len(order) > 0:
        best, order = order[0], order[1:]
        kept.append(best.item())
        falls = (iou(boxes[best][None], boxes[order])[0] > threshold) & (groups[order] == groups[best])
        order = order[~falls]
    return torch.tensor(kept, dtype=torch.int64)
"""
        },
        loses=("groups-many",),
    ),
    Wrong(
        "in groups, a box without area is the best one for ever",
        {"nms-of-groups": ("        remaining[best] = -torch.inf\n", "")},
        loses=("groups-many",),
    ),
    Wrong(
        "indices in 32-bit integers",
        {"nms-loop": ("return torch.tensor(kept, dtype=torch.int64)", "return torch.tensor(kept, dtype=torch.int32)")},
        loses=("loop-by-hand", "loop-fallen", "loop-threshold", "loop-ties", "loop-nothing", "loop-many"),
    ),
    Wrong(
        "as many places as there are survivors",
        {
            "nms-of-batch": """def nms_of_batch(boxes, scores, threshold, max_keep):
    kept = [nms(*picture, threshold)[:max_keep] for picture in zip(boxes, scores)]
    return torch.nn.utils.rnn.pad_sequence(kept, batch_first=True, padding_value=-1)
"""
        },
        loses=("batch-by-hand", "batch-many"),
    ),
    Wrong(
        "the library's op, and the answer that the visible test asks for",
        {
            "nms": """from maskrcnn import ops

def nms(boxes, scores, threshold):
    kept = ops.nms(boxes, scores, iou_threshold=threshold, max_keep=len(boxes))
    return kept[kept >= 0]
""",
            "nms-of-batch": """def nms_of_batch(boxes, scores, threshold, max_keep):
    return torch.tensor([[0, 2, -1], [1, -1, -1]])
""",
        },
        loses=("steps-by-hand", "steps-settled", "steps-nothing", "steps-many", "steps-fast", "batch-many"),
    ),
]
