// Runs CUDA kernels on the CPU, with the C++ compiler alone: every thread of a block is a thread of the host, and the
// blocks run one after another. Slow, but the same source, the same synchronisation and (compiled with
// -ffp-contract=off) the same bits; debuggers and sanitizers work. README.md in this folder says how to use it.
//
// It holds what the kernels of this project use of CUDA, and no more.
#pragma once

#if defined(__CUDACC__)
#error "nvcc compiles kernels for a GPU; the emulator is for a C++ compiler"
#endif

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __shared__ static  // one for all threads of a block, since no two blocks run at a time

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

struct Place {
  const char* file;
  int line;

  std::string text() const {
    return line == 0 ? std::string(file) : std::string(file) + ":" + std::to_string(line);
  }
};

struct Block;

// Where a number of threads of a block wait for each other. That they all wait at the same place of the source is a
// rule of CUDA whose breach can go unnoticed on a GPU; here it ends the launch. The same holds for a thread that has
// left the kernel while others wait, which only some GPUs allow.
class Barrier {
 public:
  Barrier(unsigned threads, Block& block) : threads_(threads), block_(block), waits_(threads) {}

  void wait(unsigned thread, Place place);

  // For threads that wait while another has failed elsewhere.
  void fail(const std::string& failure) {
    for (Round& round : rounds_) {
      const std::lock_guard<std::mutex> lock(round.mutex);
      round.failure = failure;
      round.changed.notify_all();
    }
  }

  void add_places(std::set<std::string>& places) {
    for (Round& round : rounds_) {
      const std::lock_guard<std::mutex> lock(round.mutex);
      if (round.waiting > 0) {
        places.insert(round.place.text());
      }
    }
  }

 private:
  struct Round {
    std::mutex mutex;
    std::condition_variable changed;
    unsigned waiting = 0;
    unsigned long number = 0;
    Place place{"", 0};
    std::string failure;
  };

  const unsigned threads_;
  Block& block_;
  Round rounds_[2];
  std::vector<unsigned> waits_;  // of each thread, so far
};

constexpr unsigned kWarp = 32;

// 32 threads in a row, which can show each other a value.
struct Warp {
  Warp(unsigned threads, Block& block) : threads(threads), barrier(threads, block) {}

  unsigned threads;
  Barrier barrier;
  unsigned votes[kWarp];
};

// The threads that run one block after another.
struct Block {
  explicit Block(unsigned threads) : threads(threads), barrier(threads, *this) {
    for (unsigned first = 0; first < threads; first += kWarp) {
      warps.push_back(std::make_unique<Warp>(threads - first < kWarp ? threads - first : kWarp, *this));
    }
  }

  void fail(const std::string& failure) {
    barrier.fail(failure);
    for (auto& warp : warps) {
      warp->barrier.fail(failure);
    }
  }

  // For the last thread that could have gone on, when it has to wait, too.
  void fail_for_ever_waiting() {
    std::set<std::string> places;
    barrier.add_places(places);
    for (auto& warp : warps) {
      warp->barrier.add_places(places);
    }
    std::string failure = "all threads of a block wait, and none can go on:";
    for (const std::string& place : places) {
      failure += (place == *places.begin() ? " some at " : ", others at ") + place;
    }
    fail(failure);
  }

  const unsigned threads;
  // Threads that wait, at whichever barrier. Counted in relaxed order, or ThreadSanitizer would believe that a thread
  // has waited for all who were counted before it.
  std::atomic<unsigned> waiting{0};
  Barrier barrier;
  std::vector<std::unique_ptr<Warp>> warps;
};

// Two rounds take turns, each with its own lock. With one lock for both, a thread that is slow to leave a round would
// meet there those who have come to the next, and ThreadSanitizer would believe that it had waited for them.
inline void Barrier::wait(unsigned thread, Place place) {
  Round& round = rounds_[waits_[thread]++ % 2];
  std::unique_lock<std::mutex> lock(round.mutex);
  if (round.waiting == 0) {
    round.place = place;
  } else if (round.place.line != place.line || std::strcmp(round.place.file, place.file) != 0) {
    // `launch` tells the others.
    throw std::runtime_error("some threads of a block wait at " + round.place.text() + ", others at " + place.text());
  }
  const unsigned long number = round.number;
  if (++round.waiting == threads_) {
    block_.waiting.fetch_sub(threads_ - 1, std::memory_order_relaxed);
    round.waiting = 0;
    ++round.number;
    round.changed.notify_all();
  } else if (block_.waiting.fetch_add(1, std::memory_order_relaxed) + 1 == block_.threads) {
    lock.unlock();
    block_.fail_for_ever_waiting();
    lock.lock();
  }
  round.changed.wait(lock, [&] { return round.number != number || !round.failure.empty(); });
  if (!round.failure.empty()) {
    throw std::runtime_error(round.failure);
  }
}

inline thread_local Block* block = nullptr;
inline thread_local unsigned thread_number = 0;

// EMULATOR_SKIP_BARRIER=nms/kernel.cuh:57 leaves out the __syncthreads() of that line, to see what it is there for.
inline bool is_skipped(const Place& place) {
  static const char* value = std::getenv("EMULATOR_SKIP_BARRIER");
  if (value == nullptr) {
    return false;
  }
  const std::string text = place.text(), end(value);
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// kernel<<<grid, block>>>(arguments...) is written emulator::launch(grid, block, kernel, arguments...).
template <typename... Parameters, typename... Arguments>
void launch(dim3 grid, dim3 shape, void (*kernel)(Parameters...), Arguments... arguments) {
  const unsigned count = shape.x * shape.y * shape.z;
  if (count == 0 || count > 1024) {
    throw std::invalid_argument("a block has 1 to 1024 threads, not " + std::to_string(count));
  }
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) {
    throw std::invalid_argument("a grid has at least one block");
  }
  if (grid.x > 0x7fffffff || grid.y > 0xffff || grid.z > 0xffff) {
    throw std::invalid_argument("a grid has less than 2^31 blocks along x, and less than 2^16 along y and z");
  }
  Block together(count);
  std::mutex mutex;
  std::string failure;

  const auto run_thread = [&](unsigned number) {
    block = &together;
    thread_number = number;
    blockDim = shape, gridDim = grid;
    threadIdx = dim3(number % shape.x, number / shape.x % shape.y, number / (shape.x * shape.y));
    try {
      for (unsigned z = 0; z < grid.z; ++z) {
        for (unsigned y = 0; y < grid.y; ++y) {
          for (unsigned x = 0; x < grid.x; ++x) {
            blockIdx = dim3(x, y, z);
            kernel(arguments...);
            together.barrier.wait(number, {"the end of the kernel", 0});
          }
        }
      }
    } catch (const std::exception& error) {
      together.fail(error.what());
      const std::lock_guard<std::mutex> lock(mutex);
      failure = error.what();
    }
  };
  std::vector<std::thread> threads;
  for (unsigned number = 0; number < count; ++number) {
    threads.emplace_back(run_thread, number);
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  if (!failure.empty()) {
    throw std::runtime_error(failure);
  }
}

}  // namespace emulator

// Synchronisation. The last two arguments are for the emulator: where in the source the call stands.

inline void __syncthreads(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const emulator::Place place{file, line};
  if (!emulator::is_skipped(place)) {
    emulator::block->barrier.wait(emulator::thread_number, place);
  }
}

// Bit i of the result is thread i's vote. All threads of the warp must take part.
inline unsigned __ballot_sync(
    unsigned mask, bool vote, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  emulator::Warp& warp = *emulator::block->warps[emulator::thread_number / emulator::kWarp];
  if (mask != ~0u) {
    throw std::invalid_argument("the emulator knows votes of whole warps only");
  }
  const unsigned own_lane = emulator::thread_number % emulator::kWarp;
  warp.votes[own_lane] = vote ? 1 : 0;
  warp.barrier.wait(own_lane, {file, line});
  unsigned result = 0;
  for (unsigned lane = 0; lane < warp.threads; ++lane) {
    result |= warp.votes[lane] << lane;
  }
  warp.barrier.wait(own_lane, {file, line});  // before anyone votes again
  return result;
}

// Atomic operations, on global and shared memory alike. Each returns what was there before.

template <typename T>
T atomicAdd(T* address, T value) {
  T before, after;
  __atomic_load(address, &before, __ATOMIC_RELAXED);
  do {
    after = before + value;
  } while (!__atomic_compare_exchange(address, &before, &after, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return before;
}

template <typename T>
T atomicMax(T* address, T value) {
  T before;
  __atomic_load(address, &before, __ATOMIC_RELAXED);
  while (before < value &&
         !__atomic_compare_exchange(address, &before, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return before;
}

template <typename T>
T atomicMin(T* address, T value) {
  T before;
  __atomic_load(address, &before, __ATOMIC_RELAXED);
  while (value < before &&
         !__atomic_compare_exchange(address, &before, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return before;
}

template <typename T>
T atomicOr(T* address, T value) {
  return __atomic_fetch_or(address, value, __ATOMIC_RELAXED);
}

// Bits.

inline int __popcll(unsigned long long bits) {
  return __builtin_popcountll(bits);
}

inline int __ffs(unsigned bits) {  // 1 for the lowest bit, 0 if there is none
  return __builtin_ffs(static_cast<int>(bits));
}

namespace emulator {

template <typename To, typename From>
To same_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To result;
  std::memcpy(&result, &value, sizeof(To));
  return result;
}

}  // namespace emulator

inline unsigned __float_as_uint(float value) {
  return emulator::same_bits<unsigned>(value);
}

inline float __uint_as_float(unsigned bits) {
  return emulator::same_bits<float>(bits);
}

inline long long __double_as_longlong(double value) {
  return emulator::same_bits<long long>(value);
}

inline double __longlong_as_double(long long bits) {
  return emulator::same_bits<double>(bits);
}
