"""What assignments check functions with: limits, whose work a function is, and what is said about it."""

import ctypes
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from maskrcnn.boxes import area
from maskrcnn.classroom import Assignment, Limits, NotPassed, check, sandbox
from maskrcnn.classroom.own_work import Refused, is_foreign, serialise

SHORT = Limits(seconds=1, megabytes=300)


@pytest.fixture(scope="module")
def work():
    """An assignment without anything that may be used."""
    return Assignment("a test")


def by_value(text: str, **known: object):
    """The function `f` of a text, as a notebook would have it."""
    space = {"__name__": "__main__", "torch": torch, **known}
    exec(text, space)
    return space["f"]


def complaint(work, text: str, *arguments: object, limits: Limits = SHORT, **known: object) -> str:
    with pytest.raises(NotPassed) as caught:
        work.attempt(by_value(text, **known), *arguments, limits=limits)
    return str(caught.value)


def test_a_function_is_computed_with_all_that_it_refers_to(work):
    text = "def g(x):\n    return 2 * x\ndef f(x, y):\n    return g(x) + y"
    assert torch.equal(work.attempt(by_value(text), torch.ones(3), 1.0), torch.full((3,), 3.0))
    layer = "class Layer(torch.nn.Module):\n    def forward(self, x):\n        return x + 1\n"
    layer += "def f(x):\n    return Layer()(x)"
    assert work.attempt(by_value(layer), torch.zeros(())).item() == 1.0


def test_it_runs_elsewhere_and_leaves_nothing_behind(work):
    counted = []
    work.attempt(by_value("def f():\n    counted.append(1)", counted=counted))
    assert counted == []
    assert work.attempt(by_value("import os\ndef f():\n    return os.getpid()")) != os.getpid()
    written = "def f():\n    open('left', 'w').write('x')\n    import os\n    return os.path.abspath('left')"
    assert not os.path.exists(work.attempt(by_value(written)))


def test_what_it_prints_is_shown(work, capsys):
    work.attempt(by_value("def f():\n    print('half-way')"))
    assert capsys.readouterr().out == "half-way\n"


def test_a_loop_without_end(work, monkeypatch):
    begin = time.monotonic()
    said = complaint(work, "def f():\n    while True:\n        pass")
    assert said == "your f was still running after 1 s; is there a loop that does not end?"
    endless = by_value("def f(n):\n    while n:\n        pass\n    return 0")
    for limits, after in ((Limits(seconds=2), "2 s; is there"), (Limits(seconds=10), "1 s; it ran into its limit")):
        with pytest.raises(NotPassed, match=f"still running after {after}"):
            work.attempt(endless, 1, limits=limits)
    assert work.attempt(endless, 0) == 0
    monkeypatch.setattr(sandbox, "USUAL", Limits(seconds=2))
    with pytest.raises(NotPassed, match="still running after 3 s"):  # more than usual: the work is long
        work.attempt(endless, 1, limits=Limits(seconds=3))
    said = complaint(work, "import time\ndef f():\n    time.sleep(600)")
    assert said.startswith("your f was still running") and time.monotonic() - begin < 60


def test_a_mended_function_is_not_taken_for_the_endless_one(work):
    def wrapped(text):
        inner = by_value(text)
        return by_value("def f(x):\n    return inner(x)", inner=inner)

    with pytest.raises(NotPassed, match="still running after 1 s"):
        work.attempt(wrapped("def f(x):\n    while True:\n        pass"), 1, limits=SHORT)
    slow = "import time\ndef f(x):\n    end = time.process_time() + 1.5\n    while time.process_time() < end:\n"
    assert work.attempt(wrapped(slow + "        pass\n    return x"), 1) == 1


def test_what_a_function_has_done_to_its_arguments(work):
    text = "def f(x, y):\n    x[0] = 7.0\n    x = x + 1\n    return None"
    after = work.arguments_after(by_value(text), torch.zeros(2), 3)
    assert torch.equal(after[0], torch.tensor([7.0, 0.0])) and after[1] == 3
    with pytest.raises(NotPassed, match="your f is not written yet"):
        work.arguments_after(by_value("def f(x):\n    raise NotImplementedError"), 1)


def test_what_is_no_function_and_what_cannot_travel(work):
    with pytest.raises(NotPassed, match=r"^found None where a function of yours should be$"):
        work.attempt(None, 1)
    with pytest.raises(NotPassed, match=r"^f uses what cannot be sent to the process that checks it: cannot pickle "):
        work.attempt(by_value("import threading\nlock = threading.Lock()\ndef f():\n    return lock"))
    lazy = "class Lazy:\n    def __reduce__(self):\n        raise ValueError('never')\nlazy = Lazy()\n"
    with pytest.raises(NotPassed, match=r"the process that checks it: never$"):
        work.attempt(by_value(lazy + "def f():\n    return lazy"))
    silent = "class Silent(Exception):\n    def __str__(self):\n        raise RuntimeError\n"
    said = complaint(work, silent + "def f():\n    raise Silent")
    assert said == "your f raised Silent: (an exception whose text cannot be had)"
    said = complaint(work, "def f():\n    return torch.ones(2).long().log_softmax(0)")
    assert said.startswith("your f raised NotImplementedError: ")  # PyTorch's own


def test_a_recursion_is_told_once(work, tmp_path):
    cell = tmp_path / "cell.py"
    cell.write_text("def f(x):\n    return f(x) + 1\n")
    space = {"__name__": "__main__"}
    exec(compile(cell.read_text(), str(cell), "exec"), space)
    with pytest.raises(NotPassed, match="RecursionError") as caught:
        work.attempt(space["f"], 1)
    assert str(caught.value).splitlines()[1:] == ["    line 2 of f: return f(x) + 1"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
@pytest.mark.parametrize("make", ["torch.zeros(12_500_000_000)", "bytearray(50_000_000_000)", "[0] * 10_000_000_000"])
def test_a_huge_allocation(work, make):
    assert complaint(work, f"def f():\n    return {make}") == "your f wanted more than 0.3 GB of memory"


def test_a_crash_and_an_exit(work):
    said = complaint(work, "def f():\n    ctypes.string_at(0)", ctypes=ctypes)
    assert said.startswith("your f ended its process (signal SIGSEGV)")
    stopped = complaint(work, "import os, signal\ndef f():\n    os.kill(os.getpid(), signal.SIGTERM)")
    assert stopped == "your f ended its process (signal SIGTERM)"
    assert "(signal SIGABRT): an exception in C++" in complaint(work, "import os\ndef f():\n    os.abort()")
    assert "exit 3" in complaint(work, "import os\ndef f():\n    os._exit(3)")
    assert "SystemExit" in complaint(work, "def f():\n    raise SystemExit(0)")
    assert work.attempt(by_value("def f():\n    return 1")) == 1  # the next one is unaffected


def test_megabytes_of_output(work, capsys):
    said = complaint(work, "def f():\n    for _ in range(20000):\n        print('x' * 100)")
    assert said == "your f printed more than 1 MB" and len(capsys.readouterr().out) <= 2001


def test_children_end_with_it(work, tmp_path):
    text = """import subprocess
def f(path):
    subprocess.Popen(["sh", "-c", f"sleep 1; touch {path}"])"""
    work.attempt(by_value(text), str(tmp_path / "alive"))
    time.sleep(1.5)
    assert not (tmp_path / "alive").exists()


def test_an_exception_is_told_with_the_line(work, tmp_path):
    cell = tmp_path / "cell.py"
    cell.write_text("def g(x):\n    return x[7]\n\ndef f(x):\n    return g(x) + 1\n")
    space = {"__name__": "__main__"}
    exec(compile(cell.read_text(), str(cell), "exec"), space)
    with pytest.raises(NotPassed) as caught:
        work.attempt(space["f"], torch.ones(3))
    assert str(caught.value).splitlines() == [
        "your f raised IndexError: index 7 is out of bounds for dimension 0 with size 3",
        "    line 5 of f: return g(x) + 1",
        "    line 2 of g: return x[7]",
    ]


@pytest.mark.parametrize(
    ("text", "known", "named"),
    [
        ("def f(x):\n    return area(x)", {"area": area}, "maskrcnn.boxes.area"),
        ("from maskrcnn.boxes import area as f", {}, "maskrcnn.boxes.area"),
        ("import maskrcnn\ndef f(x):\n    return maskrcnn.boxes.area(x)", {}, "uses maskrcnn.boxes,"),
        ("def g(x):\n    return area(x)\ndef f(x):\n    return g(x)", {"area": area}, "maskrcnn.boxes.area"),
        ("def f(x):\n    from maskrcnn.boxes import area\n    return area(x)", {}, "maskrcnn.boxes.area is somebody"),
        ("def f(x):\n    from maskrcnn import boxes", {}, "maskrcnn.boxes is somebody else's work"),
        ("def f(x):\n    import maskrcnn", {}, "maskrcnn is somebody else's work"),
        ("import importlib\ndef f(x):\n    importlib.import_module('maskrcnn.boxes')", {}, "maskrcnn.boxes is"),
        ("def f(x):\n    import torchvision", {}, "torchvision is somebody else's work"),
        ("def f(x):\n    import own_work, __main__\n    own_work.FOREIGN = ()\n"
         "    __main__.is_foreign = lambda *names: False\n    import maskrcnn.boxes", {}, "maskrcnn.boxes is somebody"),
    ],
)  # fmt: skip
def test_the_library_s_answer_is_refused(work, text, known, named):
    said = complaint(work, text, torch.ones(1, 4), **known)
    assert named in said and said.endswith("this assignment asks for your own")


def test_what_an_assignment_hands_out_may_be_used(capsys):
    generous = Assignment("another", may_use=("maskrcnn.boxes",))
    box = torch.tensor([[0.0, 0.0, 2.0, 3.0]])
    assert generous.attempt(by_value("def f(x):\n    return area(x)", area=area), box).item() == 6.0
    for text in ("from maskrcnn import boxes", "from maskrcnn.boxes import area", "import maskrcnn.boxes as boxes"):
        generous.attempt(by_value(f"def f(x):\n    {text}"), box)
    said = complaint(generous, "def f(x):\n    from maskrcnn import boxes, ops", box)
    assert "maskrcnn.ops is somebody else's work" in said
    assert is_foreign("maskrcnn.ops", ("maskrcnn.op",)) and not is_foreign("maskrcnn.ops.nms", ("maskrcnn.ops",))
    with pytest.raises(Refused, match="g uses maskrcnn"):
        serialise(by_value("def g(x):\n    return area(x)\nf = g", area=area), "g", ())


def test_time_is_compared_with_the_reference_s(work):
    loop = "def f(n):\n    total = 0\n    for i in range({} * n):\n        total += 1\n    return n"
    slow, fast = by_value(loop.format(20)), by_value(loop.format(1))
    work.require_speed(slow, fast, 200_000, at_most=100)
    with pytest.raises(NotPassed, match=r"takes [\d.]+ times as long as the reference, expected at most 3 t"):
        work.require_speed(slow, fast, 200_000, at_most=3)
    with pytest.raises(NotPassed, match=r"your f of a large input \(its time .* wrong\): found 0, expected 200000"):
        work.require_speed(by_value("def f(n):\n    return 0"), fast, 200_000, at_most=3)


def test_random_numbers_are_those_of_the_seed(work, monkeypatch):
    first = torch.rand(3, generator=work.generator(1))
    assert torch.equal(first, torch.rand(3, generator=work.generator(1)))
    others = [work.generator(2), Assignment("another").generator(1)]
    monkeypatch.setenv("ASSIGNMENT_SEED", "7")
    others.append(work.generator(1))
    assert not any(torch.equal(first, torch.rand(3, generator=other)) for other in others)


@pytest.mark.parametrize(
    ("found", "expected", "said"),
    [
        (None, torch.ones(2), "it: found nothing (is there a return?), expected a tensor (2,)"),
        ([1.0, 1.0], torch.ones(2), "it: found a list, expected a tensor (2,)"),
        (torch.ones(2, 1), torch.ones(2), "it: found the shape (2, 1), expected (2,)"),
        (torch.ones(2, dtype=torch.int64), torch.ones(2), "it: found torch.int64, expected torch.float32"),
        (torch.ones(2), torch.ones(2, dtype=torch.bool), "it: found torch.float32, expected torch.bool"),
        (torch.tensor([1.0, 2.0]), torch.ones(2), "it: found 2 at [1], expected 1 (1 of 2 are wrong)"),
        (torch.tensor([1.0, torch.nan]), torch.ones(2), "it: found nan at [1], expected 1 (1 of 2 are wrong)"),
        (torch.tensor([[3, 4]]), torch.tensor([[3, 5]]), "it: found 4 at [0, 1], expected 5 (1 of 2 are wrong)"),
        (0.5, 0.25, "it: found 0.5, expected 0.25"),
        ("no", 0.25, "it: found a str, expected a number"),
        (0.1 + 3e-5, 0.1, "it: found 0.10003, expected 0.1"),
    ],
)
def test_a_comparison_says_where_it_differs(found, expected, said):
    with pytest.raises(NotPassed) as caught:
        check(found, expected, "it")
    assert str(caught.value) == said


def test_a_comparison_forgives_rounding_and_the_kind_of_number():
    check(torch.tensor([1.0 + 5e-6]), torch.tensor([1.0]), "it")
    check(torch.tensor([1.0], dtype=torch.float64), torch.tensor([1.0]), "it")
    check(np.float32(2.0), 2.0, "it")
    check(torch.zeros(0, 4), torch.zeros(0, 4), "it")
    check(torch.tensor([torch.inf, -torch.inf]), torch.tensor([torch.inf, -torch.inf]), "it")
    with pytest.raises(NotPassed):
        check(torch.tensor([torch.inf]), torch.tensor([1e30]), "it")


def test_the_worker_knows_nothing_of_the_library(work):
    text = "import sys\ndef f():\n    return [name for name in sys.modules if name.startswith('maskrcnn')]"
    assert work.attempt(by_value(text)) == []


def test_the_worker_ends_with_its_notebook():
    code = (
        "from maskrcnn.classroom import Assignment, sandbox; Assignment('x').attempt(abs, -1); "
        "print(sandbox.shared_worker.process.pid, flush=True); import os; os._exit(0)"
    )
    worker = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout)
    for _ in range(50):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("the worker is still there")
