// Which boxes lie in a region, on the GPU: a thread for each box goes through the regions, a round of them at a time.
#pragma once

#include <cstdint>

#include "covered_boxes.h"

namespace maskrcnn {

constexpr int kThreads = 256;

// No block with boxes of two images. covered: (images, boxes).
template <typename T>
__global__ void __launch_bounds__(kThreads) find_covered(
    const T* boxes, int64_t box_count, const T* regions, const bool* regions_valid, int64_t region_count, T fraction,
    bool* covered) {
  __shared__ Box<T> here[kThreads];
  __shared__ int real;  // regions of this round
  const int64_t threads = blockDim.x, blocks_per_image = (box_count + threads - 1) / threads;
  const int64_t image = blockIdx.x / blocks_per_image;
  const int64_t i = blockIdx.x % blocks_per_image * threads + threadIdx.x;
  boxes += image * box_count * 4, covered += image * box_count;
  regions += image * region_count * 4, regions_valid += image * region_count;

  const Box<T> box = i < box_count ? load_box(boxes + 4 * i) : Box<T>{};
  T largest = T(0);
  for (int64_t first = 0; first < region_count; first += threads) {
    __syncthreads();  // all are done with the regions before
    if (threadIdx.x == 0) {
      real = 0;
    }
    __syncthreads();
    const int64_t mine = first + threadIdx.x;
    if (mine < region_count && regions_valid[mine]) {
      here[atomicAdd(&real, 1)] = load_box(regions + 4 * mine);  // in any order: the largest area has none
    }
    __syncthreads();
    for (int k = 0; k < real; ++k) {
      largest = larger_share(largest, box, here[k]);
    }
  }
  if (i < box_count) {
    covered[i] = is_enough(largest, box.area, fraction);
  }
}

}  // namespace maskrcnn
