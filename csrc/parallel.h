// Running a function for each of many instances that differ in the work they make.
#pragma once

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>

namespace maskrcnn {

// Calls function(i) for i in [0, count). A thread that is done takes the next i there is, so that one long instance
// does not hold up the others. parallel_for would lose an exception: the first is raised again when all threads are done.
template <typename Function>
void for_each_in_parallel(int64_t count, const Function& function) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  const int64_t workers = std::min<int64_t>(count, torch::stable::get_num_threads());
  torch::stable::parallel_for(0, workers, 1, [&](int64_t, int64_t) {
    try {
      for (int64_t i = next++; i < count && !failed; i = next++) {
        function(i);
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

}  // namespace maskrcnn
