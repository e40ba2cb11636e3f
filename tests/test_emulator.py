"""The emulator of CUDA kernels, that its sanitizer builds find what is wrong, and that nvcc takes the same sources."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from emulated_kernels import OPS, ROOT, compile_emulated

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
    """A program, or a skip where the sanitizer does not work."""
    probe = folder / "probe.cpp"
    probe.write_text("int main() {}\n")
    flags = [f"-fsanitize={sanitizer}", "-g", "-O1"]
    command = [os.environ.get("CXX", "c++"), *flags, str(probe), "-o", str(folder / "probe")]
    if shutil.which(command[0]) is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip(f"the compiler has no -fsanitize={sanitizer}")
    if run(folder / "probe").returncode != 0:
        pytest.skip(f"programs with -fsanitize={sanitizer} do not run here")
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
