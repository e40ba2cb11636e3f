"""Counts in words."""

from maskrcnn.wording import counted


def test_counts_are_said_with_the_right_number():
    said = [counted(number, "ground truths") for number in (0, 1, 2, 1000)]
    assert said == ["0 ground truths", "1 ground truth", "2 ground truths", "1,000 ground truths"]
