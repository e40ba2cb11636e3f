// The arithmetic of RoIPool, for host and device: which pixels a bin covers, and which of two values is the maximum.
// `maskrcnn/reference/roi_pool.py` is the same as a loop.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "../portability.h"

namespace maskrcnn {

// An RoI along one axis, its ends rounded to whole pixels, both of which belong to it. Whole numbers are kept in T:
// an integer could not hold those of a hostile RoI. One that is not finite starts at NaN.
template <typename T>
struct RoundedAxis {
  T start, bin_size;
};

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE RoundedAxis<T>
rounded_axis(T low, T high, T scale, int64_t output_size) {
  const T start = std::round(low * scale);
  const T length = std::round(high * scale) - start + T(1);
  const bool finite = std::isfinite(start) && std::isfinite(length);
  return {
      finite ? start : std::numeric_limits<T>::quiet_NaN(), (length < T(1) ? T(1) : length) / static_cast<T>(output_size)};
}

// The pixels first, ..., last - 1 of a bin; neighbouring bins may share one.
struct PixelRange {
  int64_t first, last;
};

// A whole number, or the nearest one from 0 to `extent`. It is compared as an integer, too: T may round the extent up, if
// that has more digits.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE int64_t pixel_within(T pixel, int64_t extent) {
  const int64_t whole = pixel > T(0) ? (pixel < static_cast<T>(extent) ? static_cast<int64_t>(pixel) : extent) : 0;
  return whole < extent ? whole : extent;
}

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE PixelRange
pixels_of_bin(const RoundedAxis<T>& axis, int64_t bin, int64_t extent) {
  if (std::isnan(axis.start)) {
    return {0, 0};
  }
  const T first = std::floor(static_cast<T>(bin) * axis.bin_size) + axis.start;
  const T last = std::ceil(static_cast<T>(bin + 1) * axis.bin_size) + axis.start;
  return {pixel_within(first, extent), pixel_within(last, extent)};
}

// Whether a value takes the place of the maximum so far: of equals the first one stays, and a NaN, once met, for good.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE bool is_larger(T value, T largest) {
  return !(value <= largest) && largest == largest;
}

}  // namespace maskrcnn
