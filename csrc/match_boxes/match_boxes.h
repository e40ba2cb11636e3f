// The arithmetic of matching, for host and device. `maskrcnn/reference/matching.py` is the same as a loop.
#pragma once

#include <limits>

#include "../box.h"

namespace maskrcnn {

// What overlaps nothing, not even by 0: padding, and what has a corner that is no finite number. Every IoU with it is
// NaN, which is neither greater than a number nor equal to it.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE Box<T> unmatchable_box() {
  const T nan = std::numeric_limits<T>::quiet_NaN();
  return {nan, nan, nan, nan, nan};
}

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE Box<T> load_matchable_box(const T* corners, bool valid) {
  // 0 times a number that is not finite is NaN, and a sum with a NaN is.
  const T zero = T(0) * corners[0] + T(0) * corners[1] + T(0) * corners[2] + T(0) * corners[3];
  return valid && zero == T(0) ? load_box(corners) : unmatchable_box<T>();
}

}  // namespace maskrcnn
