// The arithmetic of pasting, for host and device: between which cells of its mask a pixel of the picture lies.
// `maskrcnn/reference/pasting.py` is the same as a loop.
#pragma once

#include <cmath>
#include <cstdint>

#include "../portability.h"

namespace maskrcnn {

// Around the cells 0 .. m - 1 lie a cell -1 and a cell m without anything in them: a mask fades out over its edge.
template <typename T>
struct CellPosition {
  int64_t cell;  // -1 .. m - 1, the one before the pixel's centre
  T part;        // how far the centre is on the way to the next one
  bool inside;
};

// One side of a box, with m cells between its ends.
template <typename T>
struct MaskAxis {
  T low, extent;
  int64_t cells;
  bool padded_resize;
};

// "pixel_centres" takes the box as it is. "padded_resize" lets it grow by the two empty cells and truncates its ends to
// whole pixels, both of which belong to it. A side without length, or one that is not finite, has the extent 0.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE MaskAxis<T>
mask_axis(T low, T high, int64_t cells, bool padded_resize) {
  if (padded_resize) {
    const T growth = static_cast<T>(static_cast<double>(cells + 2) / static_cast<double>(cells));
    const T centre = (low + high) / T(2), half = (high - low) / T(2) * growth;
    low = std::trunc(centre - half);
    high = std::trunc(centre + half) + T(1);
  }
  const T extent = high - low;
  return {low, std::isfinite(extent) && extent > T(0) ? extent : T(0), cells, padded_resize};
}

// Where the centre of a pixel lies, counted in cells. Of a side with an extent, it grows with the pixel, also after
// rounding.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T position_in_cells(const MaskAxis<T>& axis, int64_t pixel) {
  const T cells = static_cast<T>(axis.cells);
  return axis.padded_resize
             ? (static_cast<T>(pixel) - axis.low + T(0.5)) * ((cells + T(2)) / axis.extent) - T(0.5)
             : (static_cast<T>(pixel) + T(0.5) - axis.low) / axis.extent * cells - T(0.5);
}

// The pixels inside are those with positions from here on, up to, not including, m + 1 further.
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T first_position(const MaskAxis<T>& axis) {
  return axis.padded_resize ? T(0) : T(-1);
}

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE CellPosition<T> cell_position(const MaskAxis<T>& axis, int64_t pixel) {
  const T position = position_in_cells(axis, pixel), ring = first_position(axis);
  // Written so that a NaN, which only a box without an extent brings, ends in "outside".
  if (!(axis.extent > T(0) && position >= ring && position < ring + static_cast<T>(axis.cells) + T(1))) {
    return {-1, T(0), false};
  }
  const T before = std::floor(position);
  return {static_cast<int64_t>(before - ring) - 1, position - before, true};
}

template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T blend(T first, T second, T part) {
  return (T(1) - part) * first + part * second;
}

// The least probability that makes a pixel part of the object: one half for "pixel_centres", the next number above it
// for "padded_resize".
template <typename T>
MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE T least_probability(bool padded_resize) {
  return padded_resize ? std::nextafter(T(0.5), T(1)) : T(0.5);
}

}  // namespace maskrcnn
