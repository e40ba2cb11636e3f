"""What two processes do for `test_distributed.py`: `run_cases` runs in each of them and saves what it found."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import torch.distributed
from small_model import SMALL
from small_text import WORDS, picture, small_config, small_model
from torch import Tensor, nn

from maskrcnn.config import Config, TrainingConfig
from maskrcnn.data.loader import Share, TrainingBatches, training_loader
from maskrcnn.detector import Detector
from maskrcnn.evaluate import evaluate_texts
from maskrcnn.model.mask_rcnn import MaskRCNN
from maskrcnn.structures import Batch, Sample
from maskrcnn.training.distributed import Ranks
from maskrcnn.training.loop import train, training_step
from maskrcnn.training.optimiser import make_optimiser
from maskrcnn.training.reports import NonFiniteLoss, Outcome

TRAINING = TrainingConfig(
    steps=5, batch_size=4, learning_rate=0.02, warmup_steps=0, gradient_clip=1.0, checkpoint_every=0, workers=0
)
CONFIG = Config(name="tests", model=SMALL, training=TRAINING)


class Crowded:
    """Pictures of 64 x 96 pixels; the first has one object, the last nine: ranks get very different numbers of them."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> Sample:
        random = np.random.default_rng(index)
        polygons = []
        for number in range(index + 1):
            x, y = 30 * (number % 3) + random.integers(0, 4), 20 * (number // 3) + random.integers(0, 3)
            polygons.append(np.array([[x, y], [x + 24, y + 1], [x + 23, y + 15], [x + 1, y + 14]], np.float64))
        image = random.integers(0, 255, (64, 96, 3), dtype=np.uint8)
        labels = np.array([1 + number % 2 for number in range(len(polygons))])
        return Sample(f"{index}.jpg", image, tuple(polygons), labels, np.zeros(len(labels), bool))


def unchanged(sample: Sample, random: np.random.Generator) -> Sample:
    return sample


def batches(ranks: Ranks, config: Config) -> Callable[[int], Iterator[Batch]]:
    """This rank's share, in float64."""
    training = config.training
    whole = TrainingBatches(
        Crowded(),
        unchanged,
        config.model.image,
        batch_size=training.batch_size,
        seed=0,
        share=Share(ranks.rank, ranks.count, training.parts),
    )

    def stream(start: int) -> Iterator[Batch]:
        for batch in training_loader(whole, steps=training.steps, start=start, workers=0):
            yield replace(batch, images=batch.images.double())

    return stream


def trained(ranks: Ranks, folder: Path, **settings: object) -> dict[str, Tensor]:
    """The weights of a float64 network with GroupNorm after five steps."""
    config = replace(CONFIG, training=replace(TRAINING, **settings))
    torch.manual_seed(7 + ranks.rank)  # another start on each rank, which the first's replaces
    model = MaskRCNN(config.model).double()
    weights = train(model, batches(ranks, config), config, folder, ranks=ranks).weights
    return {name: value.clone() for name, value in weights.items()}


class MeanOfNumbers(nn.Module):
    """Loss = w * (sum of this rank's numbers) / max(1, how many): a mean whose count differs between ranks."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, batch: SimpleNamespace) -> SimpleNamespace:
        count = torch.tensor(len(batch.numbers))
        loss = self.w * batch.numbers.sum() / count.clamp(min=1)
        return SimpleNamespace(losses={"loss": loss}, counts={"loss": count})


def gradient_of_means(ranks: Ranks, numbers: list[float], denominators: str) -> float:
    """The gradient at w after one step in which this rank has `numbers`."""
    model, images = MeanOfNumbers(), SimpleNamespace(device=torch.device("cpu"))
    wrapped = ranks.wrapped(model)
    part = SimpleNamespace(numbers=torch.tensor(numbers, dtype=torch.float64), images=images)
    training = replace(TRAINING, denominators=denominators, gradient_clip=0.0)
    training_step(wrapped, [part], make_optimiser(model, training), training, 0, ranks)
    return model.w.grad.item()


def complaint(ranks: Ranks, losses: list[float]) -> str:
    """What a rank says of a step in which rank r's loss is losses[r]."""
    loss = torch.tensor(losses[ranks.rank])
    try:
        Outcome(3, (f"of_{ranks.rank}.jpg",), {"class": loss}, ranks.mean(loss), False, ranks).read(0.1)
    except NonFiniteLoss as error:
        return str(error)
    return ""


def failure(ranks: Ranks) -> str:
    """What each rank hears of a file that the first cannot read."""

    def read() -> None:
        raise ValueError("checkpoint.pt: damaged")

    try:
        ranks.from_first(read)
    except ValueError as error:
        return str(error)
    return ""


def stopped(ranks: Ranks, folder: Path) -> tuple[int, str]:
    """Steps and reason of a run that only the last rank is told to stop, after its third step."""
    config = replace(CONFIG, training=replace(TRAINING, steps=9))

    def stream(start: int) -> Iterator[Batch]:
        for step, batch in enumerate(batches(ranks, config)(start)):
            if step == 2 and ranks.rank == ranks.count - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    summary = train(MaskRCNN(config.model).double(), stream, config, folder, ranks=ranks)
    return summary.steps, summary.stopped_by


class Pictures:
    """Five pictures of two words each."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Sample:
        words = [np.array(corners, np.float64).reshape(-1, 2) for corners, text in WORDS if text != "###"]
        return Sample(f"img_{index}.jpg", picture(index), tuple(words), np.ones(2, np.int64), np.zeros(2, bool))


def evaluated(ranks: Ranks) -> list[tuple[str, list[list[float]], list[float]]]:
    """Name, outlines and scores of what random weights find in each picture, on the first rank."""
    detector = Detector(small_model(small_config()), small_config())
    images = evaluate_texts(detector, Pictures(), ranks=ranks).images
    return [(image.name, [p.ravel().tolist() for p in image.detections], image.scores.tolist()) for image in images]


def run_cases(rank: int, count: int, folder: Path) -> None:
    """All cases, in one of `count` processes; their results go to `folder`."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=count)
    ranks = Ranks(rank, count)
    found = {
        "whole": trained(ranks, folder / "whole"),
        "parts": trained(ranks, folder / "parts", parts=2),
        "each_rank": trained(ranks, folder / "each_rank", denominators="each_rank"),
        "mean": ranks.mean(torch.tensor([1.0, 10.0]) * (rank + 1)),
        "from_first": ranks.from_first(lambda: f"rank {rank}"),
        "gathered": ranks.gathered([f"picture {index}" for index in range(rank, 5, count)]),
        "all_ranks gradient": gradient_of_means(ranks, [[6.0], [1.0, 2.0, 3.0]][rank], "all_ranks"),
        "each_rank gradient": gradient_of_means(ranks, [[6.0], [1.0, 2.0, 3.0]][rank], "each_rank"),
        "nothing here": gradient_of_means(ranks, [[], [1.0, 2.0, 3.0]][rank], "all_ranks"),
        "nothing anywhere": gradient_of_means(ranks, [], "all_ranks"),
        "one complains": complaint(ranks, [0.5, float("nan")]),
        "nobody complains": complaint(ranks, [0.5, 0.25]),
        "failure": failure(ranks),
        "evaluated": evaluated(ranks),
        "stopped": stopped(ranks, folder / "stopped"),
    }
    torch.save(found, folder / f"rank_{rank}.pt")
    torch.distributed.destroy_process_group()
