"""Two processes on gloo: they take the steps of one, tell each other what they must, and end together.

What one process can say about that is in `test_ranks.py`.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rank_cases import evaluated, run_cases, trained
from small_text import SETTINGS, WORDS, annotation, save_small_weights, write_icdar2015

from maskrcnn.training.checkpoint import load_checkpoint, load_weights
from maskrcnn.training.distributed import ALONE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[dict, dict, Path]:
    """What the two ranks have found, and the folder with their files."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.multiprocessing.spawn(run_cases, (2, folder), nprocs=2)
    first, second = (torch.load(folder / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1))
    return first, second, folder


def difference(left: dict, right: dict) -> float:
    """The largest of all weights."""
    assert left.keys() == right.keys()
    return max((left[name] - right[name]).abs().max().item() for name in left)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    """The weights of one process with the whole batches."""
    return trained(ALONE, tmp_path_factory.mktemp("alone") / "run")


# The arithmetic


def test_two_processes_with_half_the_batch_each_are_one_with_the_whole(both, alone):
    first, second, _ = both
    assert difference(first["whole"], second["whole"]) == 0
    assert difference(first["whole"], alone) < 1e-8


def test_five_steps_move_the_weights_by_far_more_than_that(alone, tmp_path):
    start = trained(ALONE, tmp_path / "run", learning_rate=0.0)
    assert difference(start, alone) > 1e-3


def test_ranks_that_divide_by_their_own_counts_take_other_steps(both, alone):
    first, second, _ = both
    assert difference(first["each_rank"], second["each_rank"]) == 0
    assert 1e-6 < difference(first["each_rank"], alone) < 1


def test_ranks_with_parts_take_the_steps_of_one_process_with_parts_up_to_their_counts(both, tmp_path):
    """Part p of all ranks together divides by the counts of these pictures: not those of part p of a process alone."""
    first, second, _ = both
    assert difference(first["parts"], second["parts"]) == 0
    assert difference(first["parts"], trained(ALONE, tmp_path / "run", parts=2)) < 1e-2


def test_the_mean_is_that_of_all_samples_not_of_ranks(both):
    """6 on one rank, 1 2 3 on the other: the mean of all four is 3, the mean of the ranks' means 4."""
    for found in both[:2]:
        assert found["all_ranks gradient"] == pytest.approx(3.0, abs=1e-12)
        assert found["each_rank gradient"] == pytest.approx(4.0, abs=1e-12)


def test_a_rank_without_samples_has_no_say_in_the_mean(both):
    for found in both[:2]:
        assert found["nothing here"] == pytest.approx(2.0, abs=1e-12)
        assert found["nothing anywhere"] == 0


# What they tell each other


def test_values_are_averaged_told_and_gathered_in_order(both):
    first, second, _ = both
    assert first["mean"].tolist() == second["mean"].tolist() == [1.5, 15.0]
    assert first["from_first"] == second["from_first"] == "rank 0"
    assert first["gathered"] == [f"picture {index}" for index in range(5)] and second["gathered"] == []


def test_a_loss_that_is_no_number_ends_all_and_is_told_where_its_images_are(both):
    first, second, _ = both
    assert first["one complains"].startswith("step 3: a loss or the gradient is not finite: class nan")
    assert "in another process" in first["one complains"] and "images of_1.jpg" in second["one complains"]
    assert first["nobody complains"] == second["nobody complains"] == ""


def test_what_the_first_cannot_read_ends_all(both):
    assert both[0]["failure"] == both[1]["failure"] == "checkpoint.pt: damaged"


def test_two_that_evaluate_find_what_one_finds(both):
    first, second, _ = both
    expected = evaluated(ALONE)
    assert first["evaluated"] == expected and second["evaluated"] == []
    assert [name for name, _, _ in expected] == [f"img_{index}.jpg" for index in range(5)]
    assert any(scores for _, _, scores in expected)


def test_a_signal_to_one_stops_all_after_the_same_step(both):
    first, second, folder = both
    assert first["stopped"] == (3, "another process") and second["stopped"] == (3, "SIGTERM")
    assert load_checkpoint(folder / "stopped" / "checkpoint.pt").step == 3


def test_only_the_first_writes_files(both):
    folder = both[2]
    assert sorted(path.name for path in (folder / "whole").iterdir()) == ["checkpoint.pt", "log.csv"]
    assert len((folder / "whole" / "log.csv").read_text().splitlines()) == 1 + 5


# As a user starts them


def torchrun(processes: int, *arguments: str) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "maskrcnn"]
    return [sys.executable, *launcher, *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_is_killed_goes_on_as_if_it_had_not_been(tmp_path, processes):
    """kill -9 in mid-epoch, after the checkpoint of step 4. One process ends with the same weights to the last bit;
    what two have begun, one ends with the same up to the rounding of float32."""
    data = write_icdar2015(tmp_path / "data", training=5)
    settings = ["--set", *SETTINGS, "training.steps=14", "training.checkpoint_every=4", "training.warmup_steps=2"]
    if processes == 2:
        # AdamW divides by the size of a gradient, and makes a step of the rounding of one that is almost 0.
        settings += ["training.optimiser=sgd", "training.learning_rate=0.01"]

    def command(out: str) -> list[str]:
        return ["train", "text_small", "--data", str(data), "--out", str(tmp_path / out), *settings]

    alone = [sys.executable, "-m", "maskrcnn"]
    subprocess.run([*alone, *command("whole")], env=environment(), check=True, capture_output=True, timeout=300)

    started = torchrun(2, *command("killed")) if processes == 2 else [*alone, *command("killed")]
    killed = subprocess.Popen(started, env=environment(), start_new_session=True, stdout=subprocess.DEVNULL)
    log = tmp_path / "killed" / "log.csv"
    deadline = time.monotonic() + 200
    while not (log.exists() and log.read_text().count("\n") > 6):  # a header and six steps
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    for straggler in children_named(str(tmp_path / "killed")):
        os.kill(straggler, signal.SIGKILL)
    assert load_checkpoint(tmp_path / "killed" / "checkpoint.pt").step in (4, 8)

    resumed = [*alone, *command("killed"), "--resume"]
    subprocess.run(resumed, env=environment(), check=True, capture_output=True, timeout=300)
    expected, found = (load_weights(tmp_path / out / "model.safetensors")[0] for out in ("whole", "killed"))
    assert difference(expected, found) <= (0 if processes == 1 else 1e-3)
    steps = [line.split(",")[0] for line in log.read_text().splitlines()[1:]]
    assert steps == [str(step) for step in range(1, 15)]


def children_named(word: str) -> list[int]:
    """Processes that still have a word in their command line: torchrun gives each a session of its own."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if word in (folder / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(folder.name))
        except OSError:
            continue
    return [number for number in found if number != os.getpid()]


def test_two_that_evaluate_print_what_one_prints(tmp_path):
    data, weights = write_icdar2015(tmp_path / "data", test=3), save_small_weights(tmp_path / "small.safetensors")
    arguments = ["evaluate", str(weights), "--data", str(data)]
    one = [sys.executable, "-m", "maskrcnn", *arguments, "--out", str(tmp_path / "one")]
    printed = [
        subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=200).stdout
        for command in (one, torchrun(2, *arguments, "--out", str(tmp_path / "one")))
    ]
    assert printed[0] == printed[1] and "threshold   recall" in printed[0]


def test_of_two_that_evaluate_the_first_tells_of_all_pictures_that_cannot_be_read(tmp_path):
    """One in each one's share: the score is that of one process, and neither waits for the other."""
    data, weights = write_icdar2015(tmp_path / "data", test=4), save_small_weights(tmp_path / "small.safetensors")
    for number in (2, 3):
        (data / "ch4_test_images" / f"img_{number}.jpg").write_text("404 not found")
    arguments = ["evaluate", str(weights), "--data", str(data), "--out", str(tmp_path / "out")]
    one, two = (
        subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=200)
        for command in ([sys.executable, "-m", "maskrcnn", *arguments], torchrun(2, *arguments))
    )
    assert one.returncode == 2 and two.returncode != 0 and one.stdout == two.stdout
    listed = [line for line in two.stdout.splitlines() if "404 not found" in line]
    assert [line.partition(":")[0] for line in listed] == ["img_2.jpg", "img_3.jpg"]
    said = [line for line in two.stderr.splitlines() if line.startswith("maskrcnn evaluate: ")]
    assert said == [line for line in one.stderr.splitlines() if line.startswith("maskrcnn evaluate: ")]
    assert len(said) == 1 and said[0].startswith("maskrcnn evaluate: 2 of 4 pictures cannot be read and counted as")


def test_a_batch_that_two_cannot_share_is_refused_in_one_line_each(tmp_path):
    data = write_icdar2015(tmp_path / "data")
    arguments = ["train", "text_small", "--data", str(data), "--out", str(tmp_path / "run"), "--set", *SETTINGS]
    ended = subprocess.run(
        torchrun(2, *arguments, "training.batch_size=3"), env=environment(), capture_output=True, text=True, timeout=200
    )
    assert ended.returncode != 0 and not (tmp_path / "run").exists()
    assert "maskrcnn train: found batch size 3 for 2 processes, expected a multiple of that\n" in ended.stderr


def test_what_ends_one_ends_the_other_with_a_line_and_no_traceback(tmp_path):
    data = write_icdar2015(tmp_path / "data", training=5)
    picture = sorted((data / "ch4_training_images").iterdir())[3]
    picture.write_bytes(picture.read_bytes()[:-200])
    arguments = ["train", "text_small", "--data", str(data), "--out", str(tmp_path / "run"), "--set", *SETTINGS]
    ended = subprocess.run(
        torchrun(2, *arguments, "training.steps=14"), env=environment(), capture_output=True, text=True, timeout=200
    )
    assert ended.returncode != 0
    said = [line for line in ended.stderr.splitlines() if line.startswith("maskrcnn train: ")]
    assert any(picture.name in line for line in said) and "maskrcnn/" not in ended.stderr.replace(str(data), "")
    # The launcher may have ended the other before it noticed.
    assert set(said) - {line for line in said if picture.name in line} <= {
        "maskrcnn train: another process has ended; if it could say why, that stands above"
    }


def test_each_says_what_it_left_out_of_its_own_pictures(tmp_path):
    """Four pictures, each with a word that lies outside: two warnings of each process."""
    data = write_icdar2015(tmp_path / "data", training=4)
    for file in (data / "ch4_training_localization_transcription_gt").iterdir():
        file.write_text(annotation([*WORDS, ((500, 500, 540, 500, 540, 520, 500, 520), "far")]), "utf-8")
    arguments = ["train", "text_small", "--data", str(data), "--out", str(tmp_path / "run")]
    settings = ["--set", *SETTINGS, "training.steps=4", "data.crop=0"]
    ended = subprocess.run(
        torchrun(2, *arguments, *settings), env=environment(), capture_output=True, text=True, timeout=200, check=True
    )
    warned = [line for line in ended.stderr.splitlines() if line.startswith("maskrcnn train: warning: ")]
    assert len(warned) == len(set(warned)) == 4 and all("left out" in line for line in warned)
