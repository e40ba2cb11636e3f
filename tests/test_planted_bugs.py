"""A suite that passes proves little unless it fails when it should: every planted bug must be caught by its test."""

import pytest
import torch
from planted_bugs import BUGS, CLINIC, PlantedBug, planted, resolve

CAUGHT = (AssertionError, pytest.fail.Exception)


def run(bug: PlantedBug) -> None:
    """The bug's test, each time with the same random numbers."""
    torch.manual_seed(0)
    resolve(bug.caught_by)(**bug.arguments)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught_and_its_test_passes_without_it(bug):
    with planted(bug), pytest.raises(CAUGHT):
        run(bug)
    run(bug)


def test_names_are_unique():
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_the_error_clinic_has_ten_different_patients():
    assert len({bug.name for bug in CLINIC}) == len(CLINIC) == 10


def test_a_bug_that_no_longer_fits_the_source_is_an_error():
    stale = PlantedBug("stale", "maskrcnn.boxes:area", "no such line", "", "test_boxes:test_no_boxes")
    with pytest.raises(ValueError, match="found 'no such line' 0 times, expected once"), planted(stale):
        pass


def test_a_bug_is_gone_afterwards_even_if_its_test_raises():
    area = resolve("maskrcnn.boxes:area")
    before = area.__code__
    with pytest.raises(ZeroDivisionError), planted(BUGS[0]):
        assert area.__code__ is not before
        raise ZeroDivisionError
    assert area.__code__ is before
