// Boxes and how much two of them overlap, for host and device: the operations of `maskrcnn/boxes.py`, in their order,
// so that every implementation computes the same bits.
#pragma once

#include <limits>

#include "portability.h"

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

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T iou(const Box<T>& a, const Box<T>& b) {
  const T shared = intersection(a, b);
  const T both = a.area + b.area - shared;
  const T smallest = std::numeric_limits<T>::min();  // two boxes without any area have IoU 0, not NaN
  return shared / (both < smallest ? smallest : both);
}

}  // namespace maskrcnn
