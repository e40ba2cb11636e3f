// The arithmetic of NMS, for host and device. `maskrcnn/reference/nms.py` is the same algorithm as a loop.
#pragma once

#include <limits>

#include "../portability.h"

namespace maskrcnn {

template <typename T>
struct Box {
  T x1, y1, x2, y2, area;
};

// The comparisons here are written so that a NaN, which only infinite corners can bring, ends in "no overlap".
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T not_negative(T side) {
  return side < T(0) ? T(0) : side;
}

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE Box<T> load_box(const T* corners) {
  const T x1 = corners[0], y1 = corners[1], x2 = corners[2], y2 = corners[3];
  return {x1, y1, x2, y2, not_negative(x2 - x1) * not_negative(y2 - y1)};
}

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T intersection(const Box<T>& a, const Box<T>& b) {
  const T width = not_negative((a.x2 < b.x2 ? a.x2 : b.x2) - (a.x1 > b.x1 ? a.x1 : b.x1));
  const T height = not_negative((a.y2 < b.y2 ? a.y2 : b.y2) - (a.y1 > b.y1 ? a.y1 : b.y1));
  return width * height;
}

// Whether the IoU exceeds the threshold, decided by the same operations as in `maskrcnn.boxes.iou`, so that ties with
// the threshold fall alike in every implementation.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE bool overlaps(const Box<T>& a, const Box<T>& b, T iou_threshold) {
  const T shared = intersection(a, b);
  const T both = a.area + b.area - shared;
  const T smallest = std::numeric_limits<T>::min();  // two boxes without any area have IoU 0, not NaN
  return shared / (both < smallest ? smallest : both) > iou_threshold;
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
