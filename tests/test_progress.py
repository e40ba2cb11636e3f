"""The progress line and the training log."""

import io

import pytest

from maskrcnn.training import progress
from maskrcnn.training.progress import ProgressLine, StepReport, TrainingLog


def report(step: int, box: float = 0.25) -> StepReport:
    return StepReport(
        step=step, seconds=0.5 * step, step_seconds=0.5, images=4, learning_rate=0.01, losses={"class": 0.5, "box": box}
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_plain_line_every_five_seconds_and_at_the_end(clock):
    stream = io.StringIO()
    line = ProgressLine(8000, stream)
    for step in range(1, 24):
        line.show(report(step))
        clock[0] += 0.5
    line.close()
    lines = stream.getvalue().splitlines()
    assert [text.split("  ")[0] for text in lines] == [f"step {step}/8000" for step in (1, 11, 21, 23)]
    assert lines[0] == "step 1/8000  1:06:40 left  8.0 images/s  rate 1.00e-02  loss 0.750 = class 0.500 box 0.250"


def test_losses_are_means_of_the_last_twenty_steps():
    stream = io.StringIO()
    line = ProgressLine(100, stream)
    for step in range(1, 31):
        line.show(report(step, box=float(step)))
    line.close()
    assert (
        stream.getvalue()
        .splitlines()[-1]
        .endswith("0:35 left  8.0 images/s  rate 1.00e-02  loss 21.000 = class 0.500 box 20.500")
    )


def test_a_terminal_shows_one_line_that_fits(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    line = ProgressLine(10, stream)
    for step in range(1, 11):
        line.show(report(step))
        clock[0] += 0.06
    line.close()
    text = stream.getvalue()
    assert text.count("\n") == 1 and text.endswith("\n")
    shown = [part.removesuffix("\x1b[K") for part in text.rstrip("\n").split("\r")[1:]]
    assert shown[0] == "step 1/10  0:04 left  8.0 images/s  rat" and len(shown[0]) == 39
    # At most ten times a second, and the last step in any case.
    assert [part.split()[1] for part in shown] == ["1/10", "3/10", "5/10", "7/10", "9/10", "10/10"]


def test_nothing_is_shown_before_the_first_step():
    stream = Terminal()
    ProgressLine(10, stream).close()
    assert stream.getvalue() == ""


def test_the_log_by_hand(tmp_path):
    log = TrainingLog(tmp_path / "log.csv", steps_done=0)
    log.write(report(1))
    # Each row is in the file at once, whatever happens to the process.
    assert (tmp_path / "log.csv").read_text() == (
        "step,seconds,learning_rate,images_per_second,total,class,box\n1,0.5,0.01,8,0.75,0.5,0.25\n"
    )
    log.write(report(2, box=1e-9))
    log.close()
    assert (tmp_path / "log.csv").read_text().endswith("\n2,1,0.01,8,0.5,0.5,1e-09\n")


HEADER = "step,seconds,learning_rate,images_per_second,total,class,box\n"
ROWS = [f"{step},0,0,0,0,0,0\n" for step in range(1, 6)]


@pytest.mark.parametrize(
    ("before", "steps_done", "after"),
    [
        ([HEADER, *ROWS], 5, [HEADER, *ROWS]),
        ([HEADER, *ROWS], 3, [HEADER, *ROWS[:3]]),  # the run went on for two steps after its last checkpoint
        ([HEADER, *ROWS[:3], "4,0,0"], 4, [HEADER, *ROWS[:3]]),  # and was killed while writing
        ([HEADER, *ROWS], 0, []),  # a new run
        ([HEADER[:10]], 3, []),
        ([], 3, []),
        (None, 3, []),
    ],
)
def test_a_resumed_log_has_each_step_once(tmp_path, before, steps_done, after):
    path = tmp_path / "log.csv"
    if before is not None:
        path.write_text("".join(before))
    log = TrainingLog(path, steps_done)
    assert path.read_text() == "".join(after)
    log.write(report(steps_done + 1))
    log.close()
    lines = path.read_text().splitlines(keepends=True)
    assert lines[0] == HEADER and lines[1:-1] == after[1:] and lines[-1].startswith(f"{steps_done + 1},")
