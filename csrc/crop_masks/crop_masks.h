// The arithmetic of mask targets, for host and device: RoIAlign of a one-bit image that is stored box-cropped.
// `maskrcnn/reference/mask_targets.py` is the same as a loop.
#pragma once

#include <cmath>
#include <cstdint>

#include "../portability.h"

namespace maskrcnn {

// One object's mask: the bytes of the box [x1, x2) x [y1, y2), row by row, of an image of height x width; 0 elsewhere.
struct Bitmap {
  const uint8_t* pixels;
  int64_t x1, y1, x2, y2;
  int64_t height, width;
};

struct ImageSize {
  int64_t height, width;
};

// An image with a side of 2^31 pixels or more counts as one without pixels, so that no count of samples overflows.
MASKRCNN_HOST_DEVICE inline ImageSize checked_image_size(const int64_t* size) {
  constexpr int64_t kLargestSide = (int64_t{1} << 31) - 1;
  return size[0] <= kLargestSide && size[1] <= kLargestSide ? ImageSize{size[0], size[1]} : ImageSize{0, 0};
}

// A bitmap that leaves its image, or whose bytes do not all lie in the tensor, counts as empty. The numbers may come
// from a damaged file: none is subtracted from another, or added to a pointer, before both are known to be in range.
MASKRCNN_HOST_DEVICE inline Bitmap checked_bitmap(
    const uint8_t* pixels, int64_t total, int64_t offset, const int64_t* box, int64_t height, int64_t width) {
  const int64_t x1 = box[0], y1 = box[1], x2 = box[2], y2 = box[3];
  const bool in_image = 0 <= x1 && x1 <= x2 && x2 <= width && 0 <= y1 && y1 <= y2 && y2 <= height;
  if (!in_image || offset < 0 || offset > total || (x1 < x2 && y2 - y1 > (total - offset) / (x2 - x1))) {
    return {pixels, 0, 0, 0, 0, height, width};
  }
  return {pixels + offset, x1, y1, x2, y2, height, width};
}

// Where the samples of an RoI lie along one axis.
template <typename T>
struct SampleAxis {
  T start, bin;
  int64_t points;  // per bin: as many as the bin has pixels, rounded up
};

// For an RoI from `low` to `high` in an image of `length` pixels. "binary" clips the RoI to the image and shifts by half
// a pixel; "soft" does neither, and takes no RoI shorter than a pixel.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE SampleAxis<T>
sample_axis(T low, T high, int64_t length, int64_t size, bool binary) {
  const T limit = static_cast<T>(length);
  if (binary) {
    low = low < T(0) ? T(0) : (low > limit ? limit : low);
    high = high < T(0) ? T(0) : (high > limit ? limit : high);
  }
  const T smallest = binary ? T(0) : T(1);
  const T extent = high - low > smallest ? high - low : smallest;  // so swapped corners count as no area
  const T bin = extent / static_cast<T>(size);
  T points = std::ceil(bin);
  points = points < limit ? points : limit;  // no RoI inside its image needs more; an infinite one must not hang
  return {binary ? low - T(0.5) : low, bin, points > T(1) ? static_cast<int64_t>(points) : 1};
}

// The two pixels that a position lies between, and how far towards the second.
template <typename T>
struct SampleNeighbours {
  int64_t low, high;
  T part;
  bool inside;
};

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE SampleNeighbours<T>
neighbours(const SampleAxis<T>& axis, int64_t bin, int64_t point, int64_t length) {
  const T within = (static_cast<T>(point) + T(0.5)) / static_cast<T>(axis.points);
  T position = axis.start + (static_cast<T>(bin) + within) * axis.bin;
  if (!(position >= T(-1) && position <= static_cast<T>(length))) {
    return {0, 0, T(0), false};
  }
  position = position < T(0) ? T(0) : position;
  const T last = static_cast<T>(length - 1);
  position = position > last ? last : position;
  const int64_t low = static_cast<int64_t>(position);
  return {low, low + 1 < length ? low + 1 : low, position - static_cast<T>(low), true};
}

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T pixel(const Bitmap& bitmap, int64_t x, int64_t y) {
  if (x < bitmap.x1 || x >= bitmap.x2 || y < bitmap.y1 || y >= bitmap.y2) {
    return T(0);
  }
  return bitmap.pixels[(y - bitmap.y1) * (bitmap.x2 - bitmap.x1) + (x - bitmap.x1)] ? T(1) : T(0);
}

// The average of the samples of one bin, given where its rows and columns of samples lie: `rows[i]` and `columns[j]`
// are SampleNeighbours<T>, looked up (on the CPU) or computed (on the GPU).
template <typename T, typename Samples>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T mask_average(
    const Bitmap& bitmap, const Samples& rows, int64_t row_count, const Samples& columns, int64_t column_count) {
  T sum = T(0);
  for (int64_t i = 0; i < row_count; ++i) {
    const SampleNeighbours<T> y = rows[i];
    if (!y.inside) {
      continue;
    }
    for (int64_t j = 0; j < column_count; ++j) {
      const SampleNeighbours<T> x = columns[j];
      if (!x.inside) {
        continue;
      }
      const T top = pixel<T>(bitmap, x.low, y.low) * (T(1) - x.part) + pixel<T>(bitmap, x.high, y.low) * x.part;
      const T bottom = pixel<T>(bitmap, x.low, y.high) * (T(1) - x.part) + pixel<T>(bitmap, x.high, y.high) * x.part;
      sum += top * (T(1) - y.part) + bottom * y.part;
    }
  }
  return sum / static_cast<T>(row_count * column_count);
}

}  // namespace maskrcnn
