// The arithmetic of RoIAlign over a pyramid, for host and device: which level an RoI reads, where along each axis its
// samples lie, and which two pixels a sample falls between. `maskrcnn/reference/roi_align.py` is the same as a loop.
//
// The axes are independent: the weight of a pixel in a bin is a weight in y times a weight in x. T is the type sums
// are made in, float for features of 16 and 32 bits.
#pragma once

#include <cmath>
#include <cstdint>

#include "../portability.h"

namespace maskrcnn {

// What all RoIs of one call have in common.
template <typename T>
struct Pooling {
  int64_t output_size;     // bins along a side
  int64_t sampling_ratio;  // samples of a bin along a side, 0: as many as the bin has pixels
  bool aligned;            // shift by half a cell
  T finest_size;           // RoIs below twice this size read the first level
};

// One level of the features, or of their gradient; strides in elements.
template <typename F>
struct Level {
  F* data;
  int64_t height, width;
  int64_t image_stride, channel_stride, row_stride, column_stride;
};

// floor(log2(x)) >= k says the same as x >= 2^k, without the rounding of a logarithm.
template <typename T>
MASKRCNN_HOST_DEVICE inline int64_t level_of_roi(const T* roi, int64_t level_count, T finest_size) {
  const T width = std::fmax(roi[2] - roi[0], T(0)), height = std::fmax(roi[3] - roi[1], T(0));
  const T relative_size = std::sqrt(width * height) / finest_size + T(1e-6);
  int64_t level = 0;
  for (T bound = 2; level + 1 < level_count && relative_size >= bound; bound *= 2) {
    ++level;
  }
  return level;
}

// The samples of an RoI along one axis, in pixels of its level. An axis that is not finite has no samples.
template <typename T>
struct Axis {
  int64_t extent;    // pixels of the level
  T start;           // of the RoI
  T bin_size;
  T per_bin;         // samples, a whole number
  T spacing;         // between samples
  int64_t visited;   // samples of a bin that are looked at

  MASKRCNN_HOST_DEVICE Axis(T low, T high, T scale, int64_t extent, const Pooling<T>& pooling) : extent(extent) {
    start = low * scale - (pooling.aligned ? T(0.5) : T(0));
    const T length = (high - low) * scale, smallest = pooling.aligned ? T(0) : T(1);
    bin_size = (length > smallest ? length : smallest) / T(pooling.output_size);  // never -0, which fmax may return
    per_bin = pooling.sampling_ratio > 0 ? T(pooling.sampling_ratio) : std::ceil(bin_size);
    if (!(std::isfinite(low) && std::isfinite(high) && std::isfinite(bin_size))) {
      per_bin = T(0);
    }
    spacing = bin_size / std::fmax(per_bin, T(1));
    // An RoI can have billions of samples, but only so many fit into the level (and a few more, for rounding).
    const T fit = std::ceil(T(extent + 1) / spacing) + T(3);
    visited = static_cast<int64_t>(fit < per_bin ? fit : per_bin);
  }

  // The first sample of a bin to look at: the last one that is certainly before the level, or sample 0.
  MASKRCNN_HOST_DEVICE T first_sample(int64_t bin) const {
    const T before = std::floor((T(-1) - (start + T(bin) * bin_size)) / spacing) - T(1);
    return before > T(0) ? std::fmin(before, per_bin) : T(0);
  }

  MASKRCNN_HOST_DEVICE T position(int64_t bin, T sample) const {
    return (start + T(bin) * bin_size) + (sample + T(0.5)) * spacing;
  }

  // False if no sample reads a pixel from `first` to `last`. Positions grow with the bin and with the sample, also
  // after rounding, so the outermost two say where all of them are.
  MASKRCNN_HOST_DEVICE bool may_reach(int64_t first, int64_t last, int64_t output_size) const {
    return per_bin > T(0) && position(0, T(0)) <= T(last + 1) &&
           position(output_size - 1, per_bin - T(1)) >= T(first - 1);
  }
};

// The two neighbours of a sample; their weights sum to 1, or to 0 if the sample lies outside the level.
template <typename T>
struct Neighbours {
  int64_t low, high;
  T low_weight, high_weight;
};

template <typename T>
MASKRCNN_HOST_DEVICE inline Neighbours<T> neighbours(T position, int64_t extent) {
  if (!(position >= T(-1) && position <= T(extent))) {
    return {0, 0, T(0), T(0)};
  }
  position = std::fmax(position, T(0));
  const int64_t low = static_cast<int64_t>(position);
  if (low >= extent - 1) {
    return {extent - 1, extent - 1, T(1), T(0)};
  }
  const T fraction = position - T(low);
  return {low, low + 1, T(1) - fraction, fraction};
}

// The weight of one pixel in the average of one bin.
template <typename T>
MASKRCNN_HOST_DEVICE inline T weight_of_pixel(const Axis<T>& axis, int64_t bin, int64_t pixel) {
  T weight = T(0);
  const T first = axis.first_sample(bin);
  for (int64_t i = 0; i < axis.visited && first + T(i) < axis.per_bin; ++i) {
    const Neighbours<T> pixels = neighbours(axis.position(bin, first + T(i)), axis.extent);
    weight += (pixels.low == pixel ? pixels.low_weight : T(0)) + (pixels.high == pixel ? pixels.high_weight : T(0));
  }
  return weight / std::fmax(axis.per_bin, T(1));
}

}  // namespace maskrcnn
