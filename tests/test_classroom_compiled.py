"""C++ and CUDA in the cells of a notebook: compiled, called within limits, and what is said about what is wrong."""

import os
import subprocess

import pytest
import torch

from maskrcnn.classroom import Assignment, Limits, NotPassed, compiled
from maskrcnn.classroom.compiled import CppSource, source
from maskrcnn.ops import emulator

SHORT = Limits(seconds=1, megabytes=300)
WITH_IOU = """#include "box.h"
inline float iou(const float* a, const float* b) { return maskrcnn::iou(maskrcnn::load_box(a), maskrcnn::load_box(b)); }
"""

pytestmark = pytest.mark.skipif(bool(emulator.what_is_missing()), reason=emulator.what_is_missing())


@pytest.fixture(scope="module")
def work():
    """An assignment whose functions may be in C++."""
    return Assignment("a test", may_use=("maskrcnn.classroom.compiled",))


def cell(text: str) -> CppSource:
    return CppSource("f_cpp", f"#include <cstdint>\n{text}\n")


def complaint(action, *arguments: object, **options: object) -> str:
    with pytest.raises(NotPassed) as caught:
        action(*arguments, **options)
    return str(caught.value)


# The magic


class Shell:
    """As much of IPython as the extension asks for."""

    def __init__(self) -> None:
        self.names: dict[str, object] = {}

    def push(self, names: dict[str, object]) -> None:
        self.names |= names

    def register_magic_function(self, function, kind: str, name: str) -> None:
        assert (kind, name) == ("cell", "cpp")
        self.cpp = function


def test_the_magic_keeps_the_text_of_a_cell():
    shell = Shell()
    compiled.load_ipython_extension(shell)
    assert "no cell that begins with %%cpp kept_cpp" in complaint(source, "kept_cpp")
    shell.cpp(" kept_cpp ", "first\n")
    shell.cpp("kept_cpp", "second\n")  # nothing is compiled yet
    assert source("kept_cpp") == shell.names["kept_cpp"] == CppSource("kept_cpp", "second\n")
    assert "needs a name behind it" in complaint(shell.cpp, "", "text")
    assert "found 'two names'" in complaint(shell.cpp, "two names", "text")


# Functions

SCALE = cell("""extern "C" float scale(float* values, int64_t count, float factor) {
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    values[i] *= factor;
    sum += values[i];
  }
  return sum;
}
extern "C" int64_t seven() { return 7; }
extern "C" void nothing() {}""")


def test_a_function_is_called_and_changes_its_tensors(work):
    in_cpp = SCALE.function("scale", returns=float)

    def scale(values, factor):
        total = in_cpp(values, len(values), factor)
        return total, values

    given = torch.arange(1000.0)
    total, values = work.attempt(scale, given, 0.5)
    assert total == 999 * 1000 / 4 and torch.equal(values, torch.arange(1000.0) / 2)
    assert torch.equal(given, torch.arange(1000.0))  # it happened elsewhere
    assert work.attempt(scale, torch.zeros(0), 0.5)[0] == 0
    assert in_cpp.__name__ == "scale"
    assert in_cpp(given, 2, 3.0) == 3 and given[:3].tolist() == [0, 3, 2]
    assert SCALE.function("seven", returns=int)() == 7 and SCALE.function("nothing")() is None


def test_a_text_is_compiled_once_and_a_new_one_again(monkeypatch):
    count = []
    compile_text = emulator.compile_text
    monkeypatch.setattr(emulator, "compile_text", lambda *words: count.append(1) or compile_text(*words))
    text = 'extern "C" int64_t f() { return 1; }'
    assert [cell(text).function("f", int)() for _ in range(3)] == [1, 1, 1] and len(count) == 1
    assert cell(text.replace("1", "2")).function("f", int)() == 2 and len(count) == 2
    for _ in range(2):
        complaint(cell("int;").function, "f")
    assert len(count) <= 4


def test_text_may_come_before_that_of_the_cell(work):
    text = 'extern "C" float f(const float* a) { return iou(a, a + 4); }'
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10]])
    assert cell(text).function("f", float, given=WITH_IOU)(boxes) == pytest.approx(1 / 3)
    assert "line 3: 'iou' was not declared" in complaint(cell(text).function, "f")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'extern "C" void f(float* x) {\n  x[0] = 1\n}',
            ["f_cpp does not compile:", "    line 4: expected ';' before '}' token", "        x[0] = 1"],
        ),
        (
            'extern "C" float f(float* x) {\n}',
            ["f_cpp does not compile:", "    line 4: no return statement in function returning non-void", "        }"],
        ),
        (
            'float g(float);\nextern "C" float f() {\n  return g(1);\n}',
            ["f_cpp does not compile:", "    line 5: 'g(float)' is used, but nobody has written it"],
        ),
        (
            '#include <algorithm>\nstruct A {};\nextern "C" void f(A* x) {\n  std::sort(x, x + 3);\n}',
            ["f_cpp does not compile:", "    line 6: no match for 'operator<' (operand types are 'A' and 'A')"],
        ),
        ('// YOUR CODE HERE\n#error "not written yet"', ["f_cpp is not written yet; what you write takes the place"]),
        ("#include <nowhere.h>", ["f_cpp does not compile:", "    line 3: nowhere.h: No such file or directory"]),
    ],
)
def test_what_does_not_compile_is_told_with_the_line(text, said):
    found = complaint(cell(text).function, "f").splitlines()
    assert found[0].startswith(said[0]) and not any("/" in line for line in found)
    compiler = subprocess.run([os.environ.get("CXX", "c++"), "--version"], capture_output=True, text=True).stdout
    if "Free Software Foundation" in compiler:  # GCC; others have words of their own
        assert [line[: len(start)] for line, start in zip(found, said, strict=False)] == said


def test_a_few_errors_are_enough():
    said = complaint(cell('extern "C" void f() {\n  a;\n  b;\n  c;\n  d;\n  e;\n}').function, "f")
    assert said.endswith("    and 2 more, which may be due to the first") and len(said.splitlines()) == 8


@pytest.mark.parametrize("header", ['"box.h"', "<box.h>", "<nms/kernel.cuh>", '"../csrc/box.h"', "BOX", '\\\n "box.h"'])
def test_the_library_s_headers_are_refused(header):
    said = complaint(cell(f'#define BOX "box.h"\n  # include {header}').function, "f")
    assert said.startswith("f_cpp includes ") and "this assignment asks for your own work" in said
    assert complaint(cell(f'#define BOX "box.h"\n#include {header}').launch, "f", 1, 1) == said
    for directive in ("#import", "#include_next", "%:include", "/**/ # /* and\nmore */ include"):
        assert complaint(cell(f'#define BOX "box.h"\n{directive} {header}').function, "f") == said


def test_other_headers_are_fine():
    text = '#include <vector>  // a list\n#include <cmath> /* and */\n#include <math.h>\nextern "C" void f() {}'
    assert cell(text).function("f")() is None


# What goes wrong when it runs


def attempted(work, text: str, *arguments: object, **returns: type) -> str:
    return complaint(work.attempt, cell(text).function("f", **returns), *arguments, limits=SHORT)


@pytest.mark.parametrize("count", [0, 1, 4, 1000, 1024, 5000])
def test_one_number_too_far_is_a_crash_always(work, count):
    read = 'extern "C" float f(const float* x, int64_t i) { return x[i]; }'
    values = torch.arange(float(count))
    if count:
        assert work.attempt(cell(read).function("f", float), values, count - 1) == count - 1
    assert "ended its process (signal SIG" in attempted(work, read, values, count, returns=float)
    write = 'extern "C" void f(int64_t* x, int64_t i) { x[i] = 1; }'
    assert "ended its process (signal SIG" in attempted(work, write, torch.zeros(count, dtype=torch.int64), count)


def test_writing_in_front_of_a_tensor_is_noticed(work):
    text = 'extern "C" void f(const float* x, float* y) { y[-1] = x[0]; }'
    assert "it has written in front of its argument 2" in attempted(work, text, torch.ones(3), torch.ones(3))


def test_loops_crashes_and_memory_cost_the_attempt_only(work):
    loop = 'extern "C" int64_t f(int64_t n) { int64_t i = 0; while (i < n) { } return i; }'
    assert "your f was still running after 1 s" in attempted(work, loop, 3, returns=int)
    much = '#include <vector>\nextern "C" int64_t f(int64_t n) { std::vector<double> v(n); return v.size(); }'
    assert "your f gave up (signal SIGABRT)" in attempted(work, much, 10**10, returns=int)
    assert work.attempt(cell(much).function("f", int), 10) == 10


def test_an_endless_function_is_not_another_one(work):
    loop = 'extern "C" int64_t f(int64_t n) { while (true) { } }'
    assert "your f was still running after 1 s" in attempted(work, loop, 3, returns=int)
    text = '#include <ctime>\nextern "C" int64_t f(int64_t n) { while (clock() < 1500000) { } return n; }'
    assert work.attempt(cell(text).function("f", int), 3) == 3  # takes longer than the endless have


def test_what_it_prints_is_shown(monkeypatch, capsys):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    text = '#include <cstdio>\nextern "C" void f() { std::printf("half-way"); }'
    Assignment("prints", may_use=("maskrcnn.classroom.compiled",)).attempt(cell(text).function("f"))
    assert capsys.readouterr().out == "half-way\n"


def test_a_division_by_0_is_taken_for_one(work):
    said = attempted(work, 'extern "C" int64_t f(int64_t n) { return 7 / n; }', 0, returns=int)
    assert said == "your f ended its process (signal SIGFPE): is a whole number divided by 0?"


def test_a_function_that_is_not_there_is_missed(work):
    said = attempted(work, "float f(float x) { return x; }", 1.0)
    assert 'NameError: there is no function extern "C" f' in said


def test_what_cannot_be_handed_over():
    function = SCALE.function("scale", float)
    with pytest.raises(ValueError, match="contiguous and on the CPU"):
        function(torch.ones(3, 3).t(), 9, 1.0)


def test_an_assignment_has_to_allow_it():
    said = complaint(Assignment("strict").attempt, SCALE.function("seven", int))
    assert "maskrcnn.classroom.compiled.CppFunction" in said


def test_without_a_compiler_it_is_said(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    for action in (lambda: cell("int a;").function("f"), lambda: cell("int f;").launch("f", 1, 1)):
        with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler"):
            action()


# Kernels


@pytest.fixture(scope="module")
def sanitizers():
    """A skip where they do not work."""
    for sanitizer in ("address", "thread"):
        try:
            emulator.launch("__global__ void nothing() {}", "nothing", 1, 2, sanitizer=sanitizer)
        except (RuntimeError, ValueError) as error:
            pytest.skip(f"-fsanitize={sanitizer} does not work here: {error}")


MANY_WAYS = cell("""#include <vector>
#include <cstdio>
__global__ void f(float* x, int count, int how) {
  __shared__ volatile int shared[4];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (how == 0 && i < count) { x[i] = 2 * x[i]; }
  if (how == 1) { x[i] = 1; }
  if (how == 2) { shared[i] = 1; }
  if (how == 3) { *(volatile float*)nullptr = 1; }
  if (how == 4 && i < 2) { __syncthreads(); }
  if (how == 5) { while (*(volatile float*)x == 0) {} }
  if (how == 6) { x[0] = std::vector<float>(12500000000)[count]; }
  if (how == 7 && i == 2) { std::printf("thread %d\\n", i); }
  if (how == 8) { for (;;) { std::vector<int>* v = new std::vector<int>(250000, i); x[0] = v->size(); } }
}""")


def launched(how: int, count: int = 3, **options: object) -> torch.Tensor:
    values = torch.zeros(count) if how == 5 else torch.arange(float(count))
    MANY_WAYS.launch("f", 2, 4, values, count, how, **options)
    return values


def test_a_kernel_is_launched(capsys, sanitizers):
    assert launched(0).tolist() == [0, 2, 4]
    launched(7)
    assert capsys.readouterr().out == "thread 2\n"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (1, ["your f: it uses memory outside of its tensors (line 9)", "    line 9: if (how == 1) { x[i] = 1; }"]),
        (2, ["your f: it uses memory outside of its shared arrays (line 10)"]),
        (3, ["your f: it uses memory that it has no right to (line 11)"]),
        (4, ["your f: some threads of a block wait at "]),
        (5, ["your f: the kernel was still running after 1 s; is there a loop that does not end?"]),
        (6, ["your f: it wants more memory than there is (line 14)"]),
        (8, ["your f: the kernel wanted more than 300 MB of memory"]),
    ],
)
def test_what_is_wrong_with_a_kernel_is_said_to_a_student(how, said, sanitizers):
    found = complaint(launched, how, limits=SHORT).splitlines()
    assert [line[: len(start)] for line, start in zip(found, said, strict=False)] == said


def test_a_kernel_in_the_plain_crashes_for_itself():
    assert "it uses memory that it has no right to" in complaint(launched, 3, sanitizer="")


def test_a_race_is_told_with_its_lines(sanitizers):
    race = cell("""__global__ void f(int* x) {
  __shared__ int first;
  if (threadIdx.x == 0) {
    first = x[0];
  }
  x[1 + threadIdx.x] = first;
}""")
    said = complaint(race.launch, "f", 1, 4, torch.ones(5, dtype=torch.int32), sanitizer="thread")
    assert said.splitlines() == [
        "your f: it has a data race (line 6 and line 8): two threads use the same memory there, at least one of them "
        "writes, and nothing says who comes first",
        "    line 6: first = x[0];",
        "    line 8: x[1 + threadIdx.x] = first;",
    ]


def test_a_place_inside_of_what_was_given_is_told_as_the_line_of_the_cell_that_led_there(sanitizers):
    text = "__global__ void f(const float* boxes, float* out) {\n  out[0] = iou(boxes, boxes + 4);\n}"
    said = complaint(cell(text).launch, "f", 1, 1, torch.ones(1, 4), torch.ones(1), given=WITH_IOU)
    assert said.startswith("your f: it uses memory outside of its tensors (line 4)")


def test_a_kernel_that_does_not_compile_or_is_not_there():
    said = complaint(cell("__global__ void f(int* x) {\n  x[0] = 1\n}").launch, "f", 1, 1, torch.ones(1).int())
    assert said.startswith("f_cpp does not compile:\n    line 4: ")
    assert complaint(cell("__global__ void g() {}").launch, "f", 1, 1) == "f_cpp has no kernel called f"
    assert "is not written yet" in complaint(cell('#error "not written yet"\nvoid f() {}').launch, "f", 1, 1)


def test_a_wrong_launch_is_not_the_student_s_fault():
    with pytest.raises(ValueError, match=r"^launch: argument 0 must be a contiguous tensor"):
        MANY_WAYS.launch("f", 1, 1, torch.ones(3).half(), 3, 0)
