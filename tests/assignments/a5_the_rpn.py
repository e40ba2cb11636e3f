"""Mistakes in A5."""

from course import Wrong

TRAINING = ("training-losses", "training-recall", "training-proposals")

WRONG = [
    Wrong(
        "the objectness is flattened shape by shape",
        {"head": ("self.objectness(hidden).permute(0, 2, 3, 1).flatten(1)", "self.objectness(hidden).flatten(1)")},
        loses=("head-objectness", "head-many", *TRAINING),
    ),
    Wrong(
        "of the channels of the deltas, the first ones are for dx of all shapes",
        {"head": ("self.deltas(hidden).permute(0, 2, 3, 1).reshape(len(feature), -1, 4)",
                  "self.deltas(hidden).unflatten(1, (4, -1)).permute(0, 3, 4, 2, 1).reshape(len(feature), -1, 4)")},
        loses=("head-deltas", "head-many"),
    ),
    Wrong(
        "no ReLU, and PyTorch's usual beginning",
        {"head": """class RPNHead(nn.Module):
    def __init__(self, channels, anchors):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, anchors, 1)
        self.deltas = nn.Conv2d(channels, anchors * 4, 1)

    def forward(self, features):
        hidden = [self.convolution(feature) for feature in features]
        objectness = [self.objectness(one).permute(0, 2, 3, 1).flatten(1) for one in hidden]
        return objectness, [self.deltas(one).permute(0, 2, 3, 1).reshape(len(one), -1, 4) for one in hidden]
"""},
        loses=("head-layers", "head-many"),
    ),
    Wrong(
        "the library's head",
        {"head": "from maskrcnn.model.rpn import RPNHead"},
        loses=("head-layers", "head-objectness", "head-deltas", "head-many", *TRAINING),
    ),
    Wrong(
        "sigmoid twice",
        {"objectness-loss": ("with_logits(logits,", "with_logits(logits.sigmoid(),")},
        loses=("objectness-by-hand", "objectness-batch", "objectness-many", "training-losses"),
    ),
    Wrong(
        "ln of a sigmoid that has become 1, and a box loss divided by the positives",
        {
            "objectness-loss": """def objectness_loss(logits, labels):
    p = logits.sigmoid()[labels >= 0]
    y = labels[labels >= 0]
    return -(y * p.log() + (1 - y) * (1 - p).log()).mean() if len(y) else logits.sum() * 0
""",
            "box-loss": ("(labels >= 0).sum()", "positive.sum()"),
        },
        loses=("objectness-many", "box-count", "box-many"),
    ),
    Wrong(
        "ignored anchors are negatives, and the mean is over all",
        {"objectness-loss": ("sampled = labels >= 0", "sampled = labels >= -1")},
        loses=("objectness-by-hand", "objectness-batch", "objectness-many"),
    ),
    Wrong(
        "a mean for each picture, then the mean of these; plain L1, and a mask that is a factor",
        {
            "objectness-loss": ("return each.masked_fill(~sampled, 0.0).sum() / sampled.sum().clamp(min=1)",
                                "return (each.masked_fill(~sampled, 0.0).sum(1) / sampled.sum(1).clamp(min=1)).mean()"),
            "box-loss": """def box_loss(deltas, goals, labels):
    each = (deltas - goals).abs().sum(dim=2) * (labels == 1)
    return each.sum() / (labels >= 0).sum().clamp(min=1)
""",
        },
        loses=("objectness-batch", "objectness-many", "box-by-hand", "box-count", "box-many"),
    ),
    Wrong(
        "small boxes are dropped before clipping, and those of exactly the smallest size as well",
        {"propose": ("""        boxes = clip(decode(level_deltas.detach()[best], level_anchors[best]), height, width)
        large = ((boxes[:, 2:] - boxes[:, :2]) >= minimum_size).all(dim=1)
""", """        boxes = decode(level_deltas.detach()[best], level_anchors[best])
        large = ((boxes[:, 2:] - boxes[:, :2]) > minimum_size).all(dim=1)
        boxes = clip(boxes, height, width)
""")},
        loses=("propose-clipped", "propose-many"),
    ),
    Wrong(
        "all levels in one go, and a gradient",
        {"propose": """def propose(objectness, deltas, anchors, height, width, candidates, kept, nms_iou, minimum_size):
    scores, deltas, anchors = torch.cat(objectness), torch.cat(deltas), torch.cat(anchors)
    scores, best = scores.topk(min(candidates, len(scores)))
    boxes = clip(decode(deltas[best], anchors[best]), height, width)
    large = ((boxes[:, 2:] - boxes[:, :2]) >= minimum_size).all(dim=1)
    boxes, scores = boxes[large], scores[large]
    return boxes[nms(boxes, scores, nms_iou)][:kept]
"""},
        loses=("propose-levels", "propose-detached", "propose-many"),
    ),
    Wrong(
        "level after level, not sorted by objectness, and more candidates than there may be",
        {"propose": """def propose(objectness, deltas, anchors, height, width, candidates, kept, nms_iou, minimum_size):
    proposals = []
    for scores, changes, places in zip(objectness, deltas, anchors):
        scores, best = scores.detach().topk(candidates)
        boxes = clip(decode(changes.detach()[best], places[best]), height, width)
        large = ((boxes[:, 2:] - boxes[:, :2]) >= minimum_size).all(dim=1)
        proposals.append(boxes[large][nms(boxes[large], scores[large], nms_iou)])
    return torch.cat(proposals)[:kept]
"""},
        loses=("propose-levels", "propose-many"),
    ),
]
