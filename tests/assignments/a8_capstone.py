"""Mistakes in A8. The parts do not need each other, so that one submission holds mistakes in several.

Most of these students have not come to part 3, which would take the whole budget of each.
"""

from course import Wrong

NO_DETECTOR = {"choose_settings": "def choose_settings():\n    raise NotImplementedError\n"}
DETECTOR = ("detector-learns", "detector-hmean")

WRONG = [
    Wrong(
        "the gradient is never forgotten; a text can be found twice; ignored detections count as false",
        NO_DETECTOR | {
            "training_step": ("    optimiser.zero_grad()\n", ""),
            "match": ("            free[candidates.argmax()] = False\n", ""),
            "count": ("int((outcomes == FALSE).sum())", "int((outcomes != RIGHT).sum())"),
        },
        loses=(*DETECTOR, "step-twice", "step-many", "match-taken", "match-many", "count-numbers"),
    ),
    Wrong(
        "nothing is refused; don't-care regions count for nothing; precision is read off without its envelope",
        NO_DETECTOR | {
            "training_step": ("    if not (total.isfinite() and length.isfinite()):\n"
                              '        raise ValueError(f"not finite: losses {told}, gradient {length.item()}")\n', ""),
            "match": ("outcomes[index] = IGNORED", "outcomes[index] = FALSE"),
            "average_precision": ("precision.flip(0).cummax(0).values.flip(0)", "precision"),
        },
        loses=(*DETECTOR, "step-refused", "step-many", "match-dont-care", "match-many", "ap-many"),
    ),
    Wrong(
        "each gradient is clipped by itself; detections choose in the order of the list, and so does the line of AP",
        NO_DETECTOR | {
            "training_step": ("length = nn.utils.clip_grad_norm_(model.parameters(), longest)",
                              "length = sum(nn.utils.clip_grad_norm_(p, longest) for p in model.parameters())"),
            "match": ("torch.argsort(scores, descending=True, stable=True).tolist()", "range(len(scores))"),
            "average_precision": ("outcomes[torch.argsort(scores, descending=True, stable=True)]", "outcomes"),
        },
        loses=(*DETECTOR, "step-clipped", "match-taken", "match-many", "ap-by-hand", "ap-many"),
    ),
    Wrong(
        "more than a half instead of at least a half; recalls above instead of at least; the loss alone is looked at",
        NO_DETECTOR | {
            "training_step": ("total.isfinite() and length.isfinite()", "total.isfinite()"),
            "match": ("candidates.max() >= 0.5", "candidates.max() > 0.5"),
            "average_precision": ("torch.arange(101).double() / 100)", "torch.arange(101).double() / 100, right=True)"),
        },
        loses=(*DETECTOR, "step-many", "match-by-hand", "ap-by-hand", "ap-many"),
    ),
    Wrong(
        "refused when it is too late; only the best text of each detection is looked at; 0 / 0; AP as a tensor",
        NO_DETECTOR | {
            "training_step": """def training_step(model, batch, optimiser, longest):
    model.train()
    losses = model(batch).losses
    optimiser.zero_grad()
    sum(losses.values()).backward()
    nn.utils.clip_grad_norm_(model.parameters(), longest)
    optimiser.step()
    told = {name: loss.item() for name, loss in losses.items()}
    if not math.isfinite(sum(told.values())):
        raise ValueError(f"not finite: {told}")
    return told
""",
            "match": ("""        candidates = overlap[index].masked_fill(~free, -1)
        if len(candidates) and candidates.max() >= 0.5:
""", """        candidates = overlap[index].masked_fill(dont_care, -1)
        if len(candidates) and candidates.max() >= 0.5 and free[candidates.argmax()]:
"""),
            "count": """def count(outcomes, texts):
    right, false = int((outcomes == RIGHT).sum()), int((outcomes == FALSE).sum())
    recall, precision = right / texts, right / (right + false)
    return recall, precision, 2 * recall * precision / (recall + precision)
""",
            "average_precision": ("mean().item()", "mean()"),
        },
        loses=(
            *DETECTOR, "step-refused", "step-many", "match-taken", "match-many", "count-numbers", "ap-by-hand",
            "ap-many",
        ),
    ),
    Wrong(
        "the mean of the losses, and no training mode; arguments of match are changed; a setting that does not exist",
        {
            "training_step": """def training_step(model, batch, optimiser, longest):
    losses = model(batch).losses
    total = sum(losses.values()) / len(losses)
    optimiser.zero_grad()
    total.backward()
    length = nn.utils.clip_grad_norm_(model.parameters(), longest)
    told = {name: loss.item() for name, loss in losses.items()}
    if not (total.isfinite() and length.isfinite()):
        raise ValueError(f"not finite: losses {told}, gradient {length.item()}")
    optimiser.step()
    return told
""",
            "match": """def match(overlap, scores, dont_care):
    outcomes = torch.full((len(scores),), FALSE)
    legible = ~dont_care
    for index in torch.argsort(scores, descending=True, stable=True).tolist():
        row = overlap[index]
        if (row[legible] >= 0.5).any():
            outcomes[index] = RIGHT
            overlap[:, row.masked_fill(~legible, -1).argmax()] = 0
        elif (row[dont_care] >= 0.5).any():
            outcomes[index] = IGNORED
    return outcomes
""",
            "choose_settings": ('"model.backbone.depth=tiny"', '"model.backbone.size=tiny"'),
        },
        loses=(*DETECTOR, "step-by-hand", "step-twice", "step-clipped", "step-many", "match-many"),
    ),
    Wrong(
        "answers to the visible tests; the library's average precision; a rate that no network survives; a list of "
        "numbers; tensors instead of numbers, and a refusal without values",
        {
            "training_step": """def training_step(model, batch, optimiser, longest):
    model.train()
    losses = model(batch).losses
    total = sum(losses.values())
    optimiser.zero_grad()
    total.backward()
    length = nn.utils.clip_grad_norm_(model.parameters(), longest)
    if not (total.isfinite() and length.isfinite()):
        raise ValueError(f"not finite: {list(losses)}")
    optimiser.step()
    return {name: loss.detach() for name, loss in losses.items()}
""",
            "count": ("return recall, precision, hmean", "return [recall, precision, hmean]"),
            "match": """def match(overlap, scores, dont_care):
    known = {3: [RIGHT, RIGHT, FALSE], 4: [IGNORED, IGNORED, RIGHT, FALSE]}
    return torch.tensor(known.get(len(scores), [FALSE, RIGHT] if overlap.shape[1] == 1 else [RIGHT, RIGHT]))
""",
            "average_precision": """def average_precision(outcomes, scores, texts):
    return library_ap(outcomes, scores, texts)
""",
            "choose_settings": ('"training.learning_rate=0.0025"', '"training.learning_rate=1e30"'),
        },
        loses=(
            *DETECTOR, "step-by-hand", "step-refused", "match-many", "count-numbers", "ap-by-hand", "ap-many",
        ),
    ),
    Wrong(
        "the recipe as it is",
        {"choose_settings": "def choose_settings():\n    return []\n"},
        loses=DETECTOR,
    ),
]
