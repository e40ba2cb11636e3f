// The arithmetic of NMS, for host and device. `maskrcnn/reference/nms.py` is the same algorithm as a loop.
#pragma once

#include <cmath>
#include <limits>

#include "../box.h"

namespace maskrcnn {

// Padding has a score of -inf or NaN.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE bool is_candidate(const T* box, T score) {
  const bool numbers = !std::isnan(box[0]) && !std::isnan(box[1]) && !std::isnan(box[2]) && !std::isnan(box[3]);
  return numbers && score > -std::numeric_limits<T>::infinity();  // false for a NaN score, too
}

// Whether the IoU exceeds the threshold, decided by the same operations as in `maskrcnn.boxes.iou`, so that ties with
// the threshold fall alike in every implementation.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE bool overlaps(const Box<T>& a, const Box<T>& b, T iou_threshold) {
  return iou(a, b) > iou_threshold;
}

// The same question without the division, which costs as much as all the rest: IoU > t says that
// shared > t / (1 + t) * (sum of both areas). With `may_overlap_factor` this is true wherever `overlaps` is, and also
// for IoUs up to one per cent below the threshold.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T may_overlap_factor(T iou_threshold) {
  const T threshold = T(0.99) * iou_threshold;
  return threshold / (T(1) + threshold);
}

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE bool may_overlap(const Box<T>& a, const Box<T>& b, T factor) {
  return intersection(a, b) > factor * (a.area + b.area);
}

}  // namespace maskrcnn
