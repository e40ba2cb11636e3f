// Running a function for each of many instances that differ in the work they make.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

namespace maskrcnn {

// How many threads at most work on so many instances at a time.
inline int64_t worker_count(int64_t count) { return std::min<int64_t>(count, torch::stable::get_num_threads()); }

// Calls function(i, worker) for i in [0, count), with worker in [0, worker_count(count)), of which none has two calls at
// a time. A thread that is done takes the next i there is, so that one long instance does not hold up the others.
// parallel_for would lose an exception: the first is raised again when all threads are done.
template <typename Function>
void for_each_with_worker(int64_t count, const Function& function) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  torch::stable::parallel_for(0, worker_count(count), 1, [&](int64_t worker, int64_t) {
    try {
      for (int64_t i = next++; i < count && !failed; i = next++) {
        function(i, worker);
      }
    } catch (...) {
      if (!failed.exchange(true)) {
        failure = std::current_exception();
      }
    }
  });
  if (failure) {
    std::rethrow_exception(failure);
  }
}

// The same for a function that needs no memory of its own.
template <typename Function>
void for_each_in_parallel(int64_t count, const Function& function) {
  for_each_with_worker(count, [&](int64_t i, int64_t) { function(i); });
}

}  // namespace maskrcnn
