// When a region covers a box, for host and device. The loop: `ignore_overlapping` in `maskrcnn/reference/matching.py`.
#pragma once

#include "../box.h"

namespace maskrcnn {

// The largest area that a box shares with one of the regions so far, which is compared once, after the last of them.
// The region comes second: so a NaN in it ends in a NaN, which is no larger than anything. One in the box is in its
// area.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T larger_share(T largest, const Box<T>& box, const Box<T>& region) {
  const T shared = intersection(box, region);
  return shared > largest ? shared : largest;
}

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE bool is_enough(T largest, T area, T fraction) {
  return largest > fraction * area;
}

}  // namespace maskrcnn
