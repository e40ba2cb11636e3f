// Matching on the GPU, in two passes over all pairs, whose IoUs are computed twice and stored never:
//
// 1. `find_maxima`: the largest IoU of each ground truth with any box.
// 2. `match_each_box`: with those known, a thread for each box finds its best ground truth and the one that forces it.
#pragma once

#include <cstdint>

#include "match_boxes.h"

namespace maskrcnn {

constexpr int kThreads = 256;
constexpr int kBoxesPerThread = 4;        // in the first pass
constexpr int kGroundTruthsPerBlock = 8;  // in the first pass: as many as a thread compares with each box it loads

// An IoU is never negative, and the bits of such numbers, read as integers, are in the order of the numbers. There is
// an atomic maximum of integers; it gives the same result in whatever order the threads come.
template <typename T>
struct OrderedBits;

template <>
struct OrderedBits<float> {
  using Type = unsigned;
  static __device__ Type from(float iou) {
    return __float_as_uint(iou);
  }
  static __device__ float to(Type bits) {
    return __uint_as_float(bits);
  }
};

template <>
struct OrderedBits<double> {
  using Type = unsigned long long;
  static __device__ Type from(double iou) {
    return static_cast<Type>(__double_as_longlong(iou));
  }
  static __device__ double to(Type bits) {
    return __longlong_as_double(static_cast<long long>(bits));
  }
};

// A block of threads for some ground truths and some boxes of an image.
// maxima: (images, ground truths), all 0 before. For one without any overlap 0 is as good as anything: no box ties it.
template <typename T>
__global__ void __launch_bounds__(kThreads) find_maxima(
    const T* ground_truths, const bool* ground_truths_valid, int64_t ground_truth_count, const T* boxes,
    const bool* boxes_valid, int64_t box_count, typename OrderedBits<T>::Type* maxima) {
  __shared__ Box<T> here[kGroundTruthsPerBlock];
  const int64_t boxes_per_block = int64_t{blockDim.x} * kBoxesPerThread;
  const int64_t box_blocks = (box_count + boxes_per_block - 1) / boxes_per_block;
  const int64_t ground_truth_blocks = (ground_truth_count + kGroundTruthsPerBlock - 1) / kGroundTruthsPerBlock;
  const int64_t image = blockIdx.x / (box_blocks * ground_truth_blocks);
  const int64_t first_ground_truth = blockIdx.x / box_blocks % ground_truth_blocks * kGroundTruthsPerBlock;
  const int64_t first_box = blockIdx.x % box_blocks * boxes_per_block;
  ground_truths += image * ground_truth_count * 4, ground_truths_valid += image * ground_truth_count;
  boxes += image * box_count * 4, boxes_valid += image * box_count;
  maxima += image * ground_truth_count;

  if (threadIdx.x < kGroundTruthsPerBlock) {
    const int64_t g = first_ground_truth + threadIdx.x;
    here[threadIdx.x] = g < ground_truth_count ? load_matchable_box(ground_truths + 4 * g, ground_truths_valid[g])
                                               : unmatchable_box<T>();
  }
  __syncthreads();
  T largest[kGroundTruthsPerBlock] = {};
  for (int64_t i = first_box + threadIdx.x; i < first_box + boxes_per_block && i < box_count; i += blockDim.x) {
    const Box<T> box = load_matchable_box(boxes + 4 * i, boxes_valid[i]);
    MASKRCNN_UNROLL
    for (int k = 0; k < kGroundTruthsPerBlock; ++k) {
      const T overlap = iou(here[k], box);
      largest[k] = overlap > largest[k] ? overlap : largest[k];
    }
  }
  MASKRCNN_UNROLL
  for (int k = 0; k < kGroundTruthsPerBlock; ++k) {
    if (largest[k] > T(0)) {  // most boxes overlap nothing; an unmatchable ground truth never gets here
      atomicMax(maxima + first_ground_truth + k, OrderedBits<T>::from(largest[k]));
    }
  }
}

// A thread for each box, no block with boxes of two images. All results: (images, boxes).
template <typename T>
__global__ void __launch_bounds__(kThreads) match_each_box(
    const T* ground_truths, const bool* ground_truths_valid, int64_t ground_truth_count, const T* boxes,
    const bool* boxes_valid, int64_t box_count, const typename OrderedBits<T>::Type* maxima, T floor, T* best_iou,
    int64_t* best_ground_truth, int64_t* forced) {
  __shared__ Box<T> here[kThreads];
  __shared__ T maxima_here[kThreads];
  const int64_t threads = blockDim.x, blocks_per_image = (box_count + threads - 1) / threads;
  const int64_t image = blockIdx.x / blocks_per_image;
  const int64_t i = blockIdx.x % blocks_per_image * threads + threadIdx.x;
  ground_truths += image * ground_truth_count * 4, ground_truths_valid += image * ground_truth_count;
  boxes += image * box_count * 4, boxes_valid += image * box_count;
  maxima += image * ground_truth_count;

  const Box<T> box = i < box_count ? load_matchable_box(boxes + 4 * i, boxes_valid[i]) : unmatchable_box<T>();
  T best = T(-1);  // below every IoU
  int64_t best_here = 0, forced_here = -1;
  for (int64_t first = 0; first < ground_truth_count; first += threads) {
    const int64_t mine = first + threadIdx.x;
    __syncthreads();  // all are done with the ground truths before
    if (mine < ground_truth_count) {
      here[threadIdx.x] = load_matchable_box(ground_truths + 4 * mine, ground_truths_valid[mine]);
      maxima_here[threadIdx.x] = OrderedBits<T>::to(maxima[mine]);
    }
    __syncthreads();
    for (int64_t g = first; g < first + threads && g < ground_truth_count; ++g) {
      const T overlap = iou(here[g - first], box), maximum = maxima_here[g - first];
      if (overlap > best) {  // so the first of equals stays
        best = overlap, best_here = g;
      }
      if (overlap == maximum && maximum >= floor) {  // so the last of several wins
        forced_here = g;
      }
    }
  }
  if (i < box_count) {
    best_iou[image * box_count + i] = not_negative(best);
    best_ground_truth[image * box_count + i] = best_here;
    forced[image * box_count + i] = forced_here;
  }
}

}  // namespace maskrcnn
