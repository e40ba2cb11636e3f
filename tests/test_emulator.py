"""The emulator of CUDA kernels, that its sanitizer builds find what is wrong, and that nvcc takes the same sources."""

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from emulated_kernels import OPS, ROOT, compile_emulated

from maskrcnn.ops import emulator

ARCHITECTURES = ("75", "80", "90")
BARRIERS = [
    f"{op}/kernel.cuh:{number}"
    for op in OPS
    for number, line in enumerate((ROOT / "csrc" / op / "kernel.cuh").read_text().splitlines(), start=1)
    if "__syncthreads()" in line
]


def run(
    program: Path, *arguments: str, timeout: float | None = None, **environment: str
) -> subprocess.CompletedProcess:
    # ThreadSanitizer's memory layout does not fit the addresses that a kernel with much randomness in them gives out.
    fixed_addresses = ["setarch", "-R"] if shutil.which("setarch") else []
    command = [*fixed_addresses, str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=os.environ | environment)


def build(folder: Path, source: str, *flags: str) -> Path:
    (folder / "kernel.cpp").write_text(f'#include "emulator/emulator.h"\n#include <cstdio>\n{source}')
    compile_emulated([folder / "kernel.cpp"], folder / "program", "-O1", "-g", *flags)
    return folder / "program"


def build_for_sanitizer(folder: Path, sanitizer: str, *sources: Path) -> Path:
    """A program (without sources none), or a skip where the sanitizer does not work."""
    probe = folder / "probe.cpp"
    probe.write_text("int main() {}\n")
    flags = [f"-fsanitize={sanitizer}", "-g", "-O1"]
    command = [os.environ.get("CXX", "c++"), *flags, str(probe), "-o", str(folder / "probe")]
    if shutil.which(command[0]) is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip(f"the compiler has no -fsanitize={sanitizer}")
    if run(folder / "probe").returncode != 0:
        pytest.skip(f"programs with -fsanitize={sanitizer} do not run here")
    if sources:
        compile_emulated(list(sources), folder / "program", *flags)
    return folder / "program"


# The emulator


def test_every_thread_of_every_block_runs_once_and_knows_its_place(tmp_path):
    program = build(
        tmp_path,
        """
        __global__ void count(int* visits) {
          const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
          const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
          atomicAdd(visits + block * 24 + thread, 1);
          __shared__ unsigned votes;
          const unsigned odd = __ballot_sync(~0u, thread % 2 == 1);
          if (thread == 0) { votes = odd; }
          __syncthreads();
          if (votes != 0xaaaaaau) { atomicAdd(visits, 1000); }
          float sum = 0.5f;
          if (atomicAdd(&sum, 1.0f) != 0.5f || sum != 1.5f) { atomicAdd(visits, 1000); }
        }
        int main() {
          int visits[12 * 24] = {};
          emulator::launch(dim3(2, 3, 2), dim3(4, 3, 2), count, visits);
          for (int number : visits) { std::printf("%d", number); }
        }
        """,
    )
    assert run(program).stdout == "1" * 12 * 24


DIVERGENCE = """
__global__ void diverge(int how) {
  if (how == 0) {
    if (threadIdx.x < 7) { __syncthreads(); }
  } else if (how == 1) {
    if (threadIdx.x < 7) {
      __syncthreads();
    } else {
      __syncthreads();
    }
  } else {
    __syncthreads();
  }
}
int main(int, char** arguments) {
  try {
    const dim3 grid(2, arguments[1][0] == '3' ? 1 << 16 : 1);
    emulator::launch(grid, arguments[2][0] - '0', diverge, arguments[1][0] - '0');
    std::printf("well");
  } catch (const std::exception& error) {
    std::printf("%s", error.what());
  }
}
"""


def test_a_barrier_that_not_all_threads_reach_is_an_error_and_no_deadlock(tmp_path):
    program = build(tmp_path, DIVERGENCE)
    assert "the end of the kernel" in run(program, "0", "8").stdout
    assert len(set(re.findall(r"kernel\.cpp:\d+", run(program, "1", "8").stdout))) == 2
    assert run(program, "2", "8").stdout == "well"
    assert "a block has 1 to 1024 threads" in run(program, "2", "0").stdout
    assert "less than 2^16 along y and z" in run(program, "3", "8").stdout


LOST_VOTES = """
__global__ void vote(int how) {
  if (how == 0 && threadIdx.x == 5) { return; }
  if (how != 1 || threadIdx.x != 40) {
    __ballot_sync(~0u, true);
  }
  __syncthreads();
  if (how == 2) { throw std::runtime_error("its own error"); }
}
int main(int, char** arguments) {
  const int how = arguments[1][0] - '0';
  try {
    emulator::launch(3, how == 0 ? 32 : 70, vote, how);
    std::printf("well");
  } catch (const std::exception& error) {
    std::printf("%s", error.what());
  }
}
"""


def test_a_vote_that_not_all_threads_of_the_warp_take_part_in_is_an_error_and_no_deadlock(tmp_path):
    program = build(tmp_path, LOST_VOTES)
    left, absent = run(program, "0", timeout=60).stdout, run(program, "1", timeout=60).stdout
    for message in (left, absent):
        assert message.startswith("all threads of a block wait, and none can go on: some at ")
    assert len(re.findall(r"kernel\.cpp:\d+", left)) == 1 and "the end of the kernel" in left
    assert len(set(re.findall(r"kernel\.cpp:\d+", absent))) == 2
    assert run(program, "2", timeout=60).stdout == "its own error"
    assert run(program, "3", timeout=60).stdout == "well"


def blocks_of_readme(language: str) -> list[str]:
    text = (ROOT / "csrc" / "emulator" / "README.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_example_of_the_readme(tmp_path):
    (source,) = blocks_of_readme("cpp")
    (tmp_path / "sum.cpp").write_text(source)
    compile_emulated([tmp_path / "sum.cpp"], tmp_path / "sum")
    assert run(tmp_path / "sum").stdout == "64 36\n"


# From Python


SUM = """__global__ void sum_blocks(const float* values, unsigned count, float* sums) {
  __shared__ float part[64];
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  part[threadIdx.x] = i < count ? values[i] : 0.0f;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      part[threadIdx.x] += part[threadIdx.x + half];
    }
  }
  if (threadIdx.x == 0) {
    sums[blockIdx.x] = part[0];
  }
}
"""


@pytest.fixture
def launch():
    if missing := emulator.what_is_missing():
        pytest.skip(missing)
    return emulator.launch


def test_a_launch_from_python_changes_its_tensors(launch):
    values, sums = torch.arange(100.0), torch.full((3,), -7.0)
    launch(SUM, "sum_blocks", 2, 64, values, 100, sums)
    assert sums.tolist() == [63 * 64 / 2, 99 * 100 / 2 - 63 * 64 / 2, -7.0]
    assert torch.equal(values, torch.arange(100.0))
    launch(SUM, "sum_blocks", (3, 1), (64, 1, 1), values, 100, sums)  # the same program again
    assert sums.tolist()[2] == 0
    with pytest.raises(RuntimeError, match="a block has 1 to 1024 threads, not 2000"):
        launch(SUM, "sum_blocks", 2, 2000, values, 100, sums)


def test_a_launch_takes_every_kind_of_argument(launch):
    kernel = """
    template <typename T> struct Pair { T a; T b; };
    template <typename T>
    __global__ void fill(
        Pair<T>* bytes, unsigned long long* bits, const double* nothing, bool yes, T half, const bool* flags,
        int* out) {
      out[threadIdx.x] = flags[threadIdx.x] && yes && nothing == nullptr && half == T(0.5) ? 3 : 4;
      if (threadIdx.x == 1) { bytes[1] = {T(1), T(2)}; bits[0] = 1ull << 63; }
    }
    """
    memory, bits = torch.zeros(2, 8, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
    flags, out = torch.tensor([True, False]), torch.zeros(2, dtype=torch.int32)
    launch(kernel, "fill<float>", 1, 2, memory, bits, None, True, 0.5, flags, out)
    assert memory.view(torch.float32).tolist() == [[0, 0], [1, 2]]
    assert bits.item() == -(2**63) and out.tolist() == [3, 4]


def test_what_is_wrong_with_a_kernel_is_said_with_its_line(launch):
    values, sums = torch.ones(100), torch.zeros(2)
    with pytest.raises(ValueError, match=r"kernel\.cu:5:.*error: expected .;"):
        launch(SUM.replace("half > 0;", "half > 0"), "sum_blocks", 2, 64, values, 100, sums)
    with pytest.raises(ValueError, match="another type than the tensor"):
        launch(SUM, "sum_blocks", 2, 64, values.double(), 100, sums)
    astray = SUM.replace("    __syncthreads();\n", "\n").replace("half) {", "half) { __syncthreads();")
    with pytest.raises(RuntimeError, match=r"some threads of a block wait at kernel\.cu:7, others at .*kernel"):
        launch(astray, "sum_blocks", 2, 64, values, 100, sums)
    with pytest.raises(RuntimeError, match="the kernel's process ended with -11"):
        launch(SUM, "sum_blocks", 2, 64, None, 100, sums)
    assert sums.tolist() == [0, 0]


def test_what_a_launch_cannot_take():
    with pytest.raises(ValueError, match=r"argument 0 must be a contiguous tensor on the CPU, .*, not contiguous"):
        emulator.launch(SUM, "sum_blocks", 1, 1, torch.ones(4, 4).t(), 16, torch.zeros(1))
    with pytest.raises(ValueError, match=r"found torch\.float16 on cpu, contiguous"):
        emulator.launch(SUM, "sum_blocks", 1, 1, torch.ones(4).half(), 4, torch.zeros(1))
    with pytest.raises(ValueError, match="argument 1 must be a tensor, a number or None, found '16'"):
        emulator.launch(SUM, "sum_blocks", 1, 1, torch.ones(4), "16", torch.zeros(1))
    with pytest.raises(ValueError, match='sanitizer must be "thread" or "address", found \'threads\''):
        emulator.launch(SUM, "sum_blocks", 1, 1, sanitizer="threads")
    with pytest.raises(ValueError, match="one to three sizes, found 4"):
        emulator.launch("__global__ void nothing() {}", "nothing", (1, 1, 1, 1), 1)


def test_without_a_compiler_a_launch_says_so(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler"):
        emulator.launch("__global__ void nothing() {}", "nothing", 1, 1)


ENDLESS = """#include <chrono>
__global__ void spend(int how, float* out) {
  if (how == 0) { while (*(volatile float*)out == 0) {} }
  if (how == 1) { std::this_thread::sleep_for(std::chrono::seconds(60)); }
  while (how == 2) { int* memory = new int[250000](); out[0] = static_cast<float>(memory[7]); }
  while (how == 3) { std::puts("and so on and so on and so on and so on and so on and so on and so on and so on"); }
  if (how == 4) { std::puts("well"); }
}
"""


def test_what_a_kernel_prints_is_printed(launch, capsys):
    launch(ENDLESS, "spend", 1, 1, 4, torch.zeros(1))
    assert capsys.readouterr().out == "well\n"


@pytest.mark.slow
def test_a_launch_has_limits_if_asked_for(launch):
    out, limits = torch.zeros(1), {"seconds": 1, "megabytes": 100}
    launch(ENDLESS, "spend", 1, 2, 4, out, **limits)
    for how, said in (
        (0, "the kernel was still running after 1 s"),  # of the processor
        (1, "the kernel was still running after 1 s"),  # by the clock
        (3, "the kernel printed more than 100 MB"),
    ):
        with pytest.raises(RuntimeError, match=said):
            launch(ENDLESS, "spend", 1, 2, how, out, **limits)
    if Path("/proc/self/statm").exists():
        with pytest.raises(RuntimeError, match="the kernel wanted more than 100 MB of memory"):
            launch(ENDLESS, "spend", 1, 2, 2, out, seconds=20, megabytes=100)


@pytest.mark.slow
def test_the_sanitizers_of_a_launch_have_limits_too(launch, tmp_path):
    out, limits = torch.zeros(1), {"seconds": 1, "megabytes": 200}
    for sanitizer in ("thread", "address"):
        build_for_sanitizer(tmp_path, sanitizer)
        launch(ENDLESS, "spend", 1, 2, 4, out, sanitizer=sanitizer, **limits)
        with pytest.raises(RuntimeError, match="the kernel was still running after 1 s"):
            launch(ENDLESS, "spend", 1, 2, 0, out, sanitizer=sanitizer, **limits)
        if Path("/proc/self/statm").exists():
            with pytest.raises(RuntimeError, match="the kernel wanted more than 200 MB of memory"):
                launch(ENDLESS, "spend", 1, 1, 2, out, sanitizer=sanitizer, seconds=20, megabytes=200)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_the_sanitizers_of_a_launch_work_where_memory_is_limited(launch, tmp_path):
    build_for_sanitizer(tmp_path, "thread")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (20_000_000_000, hard))
    try:
        launch(ENDLESS, "spend", 1, 2, 4, torch.zeros(1), sanitizer="thread")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.slow
def test_the_sanitizers_of_a_launch_name_what_races_and_what_is_outside(launch, tmp_path):
    for sanitizer in ("thread", "address"):
        build_for_sanitizer(tmp_path, sanitizer)
    values, sums = torch.ones(100), torch.zeros(2)
    launch(SUM, "sum_blocks", 2, 64, values, 100, sums, sanitizer="thread")
    assert sums.tolist() == [64, 36]
    with pytest.raises(RuntimeError, match=r"data race: kernel\.cu:4 and kernel\.cu:8"):
        launch(SUM, "sum_blocks", 2, 64, values, 100, sums, sanitizer="thread", skip_barrier=6)
    outside = SUM.replace("i < count ? values[i] : 0.0f", "values[i]")
    with pytest.raises(RuntimeError, match=r"heap-buffer-overflow: kernel\.cu:4$"):
        launch(outside, "sum_blocks", 2, 64, values, 100, sums, sanitizer="address")
    for sanitizer in ("thread", "address"):
        with pytest.raises(RuntimeError, match=r"SEGV: kernel\.cu:4$"):
            launch(SUM, "sum_blocks", 2, 64, None, 100, sums, sanitizer=sanitizer)
    deeper = '#include "box.h"\n__global__ void f(const float* x, float* y) { *y = maskrcnn::load_box(x).area; }'
    with pytest.raises(RuntimeError, match=r"heap-buffer-overflow: kernel\.cu:2$"):  # not box.h, where it happens
        launch(deeper, "f", 1, 1, torch.ones(3), sums, sanitizer="address")


# ThreadSanitizer finds a missing barrier: in a first kernel, and each one of the real kernels.


@pytest.mark.slow
def test_a_removed_barrier_is_a_race(tmp_path):
    (source,) = blocks_of_readme("cpp")
    barrier = "    __syncthreads();\n"
    assert source.count(barrier) == 1
    (tmp_path / "sum.cpp").write_text(source)
    program = build_for_sanitizer(tmp_path, "thread", tmp_path / "sum.cpp")
    healthy = run(program)
    assert healthy.returncode == 0 and healthy.stdout == "64 36\n", healthy.stderr
    line = source[: source.index(barrier)].count("\n") + 1
    (named,) = re.findall(r"EMULATOR_SKIP_BARRIER=(\S+)", (ROOT / "csrc" / "emulator" / "README.md").read_text())
    assert named == f"sum.cpp:{line}"
    skipped = run(program, EMULATOR_SKIP_BARRIER=named)
    assert skipped.returncode != 0 and "data race" in skipped.stderr
    (tmp_path / "sum.cpp").write_text(source.replace(barrier, ""))
    removed = run(build_for_sanitizer(tmp_path, "thread", tmp_path / "sum.cpp"))
    assert removed.returncode != 0 and "data race" in removed.stderr


def sources_of_every_kernel() -> list[Path]:
    return [ROOT / "tests" / "emulated" / f"{name}.cpp" for name in (*OPS, "every_kernel")]


@pytest.fixture(scope="module")
def race_finder(tmp_path_factory):
    return build_for_sanitizer(tmp_path_factory.mktemp("thread"), "thread", *sources_of_every_kernel())


@pytest.mark.slow
def test_the_kernels_have_no_race(race_finder):
    result = run(race_finder)
    assert result.returncode == 0 and result.stdout.split() == list(OPS), result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("barrier", BARRIERS)
def test_no_barrier_of_the_kernels_can_be_left_out(race_finder, barrier):
    result = run(race_finder, barrier.partition("/")[0], EMULATOR_SKIP_BARRIER=barrier)
    assert result.returncode != 0 and "data race" in result.stderr


@pytest.mark.slow
def test_the_kernels_stay_inside_their_memory(tmp_path):
    program = build_for_sanitizer(tmp_path, "address,undefined", *sources_of_every_kernel())
    result = run(program, UBSAN_OPTIONS="halt_on_error=1")
    assert result.returncode == 0 and "runtime error" not in result.stderr, result.stderr


# nvcc


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
def test_nvcc_compiles_the_real_thing_without_a_warning(tmp_path, op):
    import torch.utils.cpp_extension

    toolkit = os.environ.get("CUDA_HOME") or "/usr/local/cuda"
    nvcc = shutil.which("nvcc") or shutil.which("nvcc", path=str(Path(toolkit) / "bin"))
    if nvcc is None:
        pytest.skip("needs nvcc, which comes with the CUDA toolkit")
    includes = [part for path in torch.utils.cpp_extension.include_paths() for part in ("-isystem", path)]
    command = [
        nvcc, "-c", str(ROOT / "csrc" / op / "cuda.cu"), "-o", str(tmp_path / "cuda.o"), "-std=c++20", "-O3",
        "--fmad=false", "--expt-relaxed-constexpr", "-DTORCH_TARGET_VERSION=0x020a000000000000", *includes,
        "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra",
        *(f"-gencode=arch=compute_{number},code=sm_{number}" for number in ARCHITECTURES),
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr + result.stdout
    assert (tmp_path / "cuda.o").stat().st_size > 0
