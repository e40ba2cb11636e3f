"""Running a detector over a data set: counts and thresholds by hand, and which pictures are worst."""

import zipfile

import numpy as np
import pytest
from small_text import picture, small_config, small_model

from maskrcnn.data.annotation_files import Annotations
from maskrcnn.detector import Detector, Found
from maskrcnn.evaluate import LOWEST_SCORE, Evaluation, above, evaluate_texts
from maskrcnn.evaluation.result_files import read_image_texts
from maskrcnn.evaluation.submission_files import write_submission
from maskrcnn.evaluation.text_scores import FINE_THRESHOLDS, ImageTexts, score_at_thresholds, score_texts
from maskrcnn.structures import Sample
from maskrcnn.text import TextShape


def rectangle(x: float, y: float = 10.0) -> np.ndarray:
    """A word of 20 x 10 pixels."""
    return np.array([[x, y], [x + 20, y], [x + 20, y + 10], [x, y + 10]])


FAR = rectangle(100, 100)
TRUTHS = (
    ((rectangle(0), rectangle(40)), (False, False)),
    ((rectangle(0), rectangle(80)), (False, True)),
    ((), ()),
    ((rectangle(0),), (True,)),
)
ANSWERS = (
    ((rectangle(40), 0.35), (rectangle(0), 0.95), (FAR, 0.1)),
    ((rectangle(3), 0.6), (rectangle(80), 0.7)),
    ((FAR, 0.45),),
    ((rectangle(0), 0.99),),
)
"""Of each picture the words, whether they are don't-care, and what is found with which score."""


class Pictures:
    """Four pictures with TRUTHS."""

    def __len__(self) -> int:
        return len(TRUTHS)

    def __getitem__(self, index: int) -> Sample:
        polygons, ignore = TRUTHS[index]
        image = np.full((120, 160, 3), index, np.uint8)
        return Sample(f"img_{index}", image, polygons, np.ones(len(polygons), np.int64), np.array(ignore, bool))


class Answers:
    """A detector that recognises each picture by its colour and gives ANSWERS."""

    def __init__(self) -> None:
        self.thresholds = []

    def __call__(self, image: np.ndarray, threshold: float) -> Found:
        self.thresholds.append(threshold)
        texts = [TextShape(polygon, score) for polygon, score in ANSWERS[image[0, 0, 0]] if score >= threshold]
        return Found(image, None, tuple(sorted(texts, key=lambda text: -text.score)), 0)


@pytest.fixture
def evaluation() -> Evaluation:
    return evaluate_texts(Answers(), Pictures())


def test_the_official_score_at_a_threshold_by_hand(evaluation):
    # From 0.3 on: both words of img_0, the first of img_1 (3 pixels off: IoU 17/23), a false one in img_2; the
    # findings on don't-care words do not count.
    score = evaluation.at(0.3)
    assert (score.matched, score.ground_truths, score.detections) == (3, 3, 4)
    assert (score.recall, score.precision) == (1.0, 0.75)
    assert score.hmean == pytest.approx(6 / 7) and score.threshold == 0.3
    # From 0.65 on only the best word of img_0 is left.
    score = evaluation.at(0.65)
    assert (score.matched, score.ground_truths, score.detections) == (1, 3, 1)


def test_the_sweep_by_hand(evaluation):
    sweep = evaluation.sweep()
    assert [score.threshold for score in sweep] == [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert [(score.matched, score.detections) for score in sweep] == [(3, 4), (2, 3), (2, 2), (2, 2), *[(1, 1)] * 3]


def test_the_curve_has_the_fine_thresholds(evaluation):
    curve = evaluation.curve()
    assert tuple(score.threshold for score in curve) == FINE_THRESHOLDS
    assert curve[0].detections == 5  # 0.05: the false one of img_0 counts as well
    assert evaluation.curve((0.3,)) == (evaluation.at(0.3),)


def test_pictures_are_ranked_worst_first_without_those_that_have_nothing_to_find(evaluation):
    # At 0.65: img_0 finds one of two, img_1 none; img_2 has no words and img_3 only don't-care ones.
    assert evaluation.ranked(0.65) == [1, 0]
    assert evaluation.ranked(0.3) == [0, 1]  # both perfect: in the order of the data set


class Files(Pictures):
    """TRUTHS in files, of which that of the second picture is damaged."""

    names = tuple(f"img_{index}" for index in range(len(TRUTHS)))

    def __getitem__(self, index: int) -> Sample:
        if index == 1:
            raise ValueError("img_1: found a damaged picture, expected a complete one")
        return super().__getitem__(index)

    def annotations(self, index: int) -> Annotations:
        polygons, ignore = TRUTHS[index]
        return Annotations(polygons, (), np.array(ignore, bool), ())


def test_a_picture_that_cannot_be_read_counts_as_one_in_which_nothing_was_found(evaluation):
    broken = evaluate_texts(Answers(), Files())
    assert broken.unreadable == {1: "img_1: found a damaged picture, expected a complete one"}
    assert [image.name for image in broken.images] == ["img_0", "img_1", "img_2", "img_3"]
    # Its word is among the three to be found, its one finding is gone.
    score = broken.at(0.3)
    assert (score.matched, score.ground_truths, score.detections) == (2, 3, 3)
    assert score.hmean < evaluation.at(0.3).hmean and evaluation.unreadable == {}
    assert broken.ranked(0.65) == [0], "there is nothing to be seen of it"


def test_a_picture_whose_words_nobody_knows_stops_the_evaluation():
    class WithoutAnnotations(Files):
        annotations = property()

    with pytest.raises(ValueError, match=r"^img_1: found a damaged picture"):
        evaluate_texts(Answers(), WithoutAnnotations())


def test_above_keeps_what_reaches_the_threshold_best_first():
    scores = np.array([0.2, 0.9, 0.5])
    image = ImageTexts("img", (), np.zeros(0, bool), [rectangle(0), rectangle(30), rectangle(60)], scores)
    assert [polygon[0, 0] for polygon in above(image, 0.5)] == [30, 60]


def test_every_picture_is_evaluated_once_at_the_lowest_score_and_progress_is_told():
    detector, told = Answers(), []
    evaluation = evaluate_texts(detector, Pictures(), lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert detector.thresholds == [LOWEST_SCORE] * 4
    assert [image.name for image in evaluation.images] == ["img_0", "img_1", "img_2", "img_3"]
    assert evaluation.images[0].scores.tolist() == [0.95, 0.35, 0.1]


def test_without_pictures():
    class Nothing(Pictures):
        def __len__(self) -> int:
            return 0

    evaluation = evaluate_texts(Answers(), Nothing())
    assert evaluation.ranked(0.5) == []
    assert evaluation.at(0.5).hmean == 0


def test_what_is_found_in_a_picture_does_not_depend_on_the_others():
    class Drawn(Pictures):
        def __init__(self, seeds: list[int]) -> None:
            self.seeds = seeds

        def __len__(self) -> int:
            return len(self.seeds)

        def __getitem__(self, index: int) -> Sample:
            image = picture(self.seeds[index])
            return Sample(f"img_{self.seeds[index]}", image, (), np.zeros(0, np.int64), np.zeros(0, bool))

    config = small_config()
    detector = Detector(small_model(config), config)
    both, alone = evaluate_texts(detector, Drawn([1, 2])), evaluate_texts(detector, Drawn([2]))
    assert len(alone.images[0].detections) > 0
    assert both.images[1].scores.tolist() == alone.images[0].scores.tolist()


def test_corners_count_in_whole_pixels_as_they_are_submitted(tmp_path):
    """Rounded like the submission's; cut off, as the rules do with fractions, this word would be missed."""
    truth = np.array([[100.0, 100], [120, 100], [120, 108], [100, 108]])
    found = truth - [1.1, 2.1]
    images = (ImageTexts("img_1.jpg", (truth,), np.array([False]), (found,), np.array([0.9])),)
    score = Evaluation(images).at(0.5)
    assert (score.matched, score.hmean) == (1, 1.0)
    assert score_at_thresholds(images, (0.5,), "official")[0].matched == 0

    write_submission(tmp_path / "found.zip", {1: [(found, 0.9)]})
    with zipfile.ZipFile(tmp_path / "truth.zip", "w") as archive:
        archive.writestr("gt_img_1.txt", "100,100,120,100,120,108,100,108,word")
    assert score_texts(read_image_texts(tmp_path / "truth.zip", tmp_path / "found.zip")).hmean == 1.0


def test_best_threshold_is_the_lowest_of_the_best():
    word, wrong = rectangle(0), rectangle(100)
    images = (ImageTexts("a", (word,), np.array([False]), (word, wrong), np.array([0.68, 0.62])),)
    assert Evaluation(images).best_threshold() == 0.65


def test_a_text_is_one_polygon():
    """Objects of COCO may have several; their masks are scored, not their outlines."""
    parts, zero = (rectangle(0), rectangle(40)), np.zeros(1, np.int64)
    sample = Sample("a.png", picture(0), parts, zero + 1, zero > 0, part_of=np.repeat(zero, 2))
    with pytest.raises(ValueError, match=r"^a.png: found a text of several polygons, expected one each$"):
        evaluate_texts(None, [sample])
