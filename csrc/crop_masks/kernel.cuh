// Mask targets on the GPU: a thread for each cell of each target. It computes where its own samples lie; on the CPU all
// cells of a row share that work.
#pragma once

#include <cstdint>

#include "crop_masks.h"

namespace maskrcnn {

constexpr int kThreads = 256;

// The samples of one bin along one axis, each computed when it is asked for.
template <typename T>
struct SamplesOfBin {
  SampleAxis<T> axis;
  int64_t bin, length;

  __device__ SampleNeighbours<T> operator[](int64_t point) const {
    return neighbours(axis, bin, point, length);
  }
};

// rois: (images, rois, 4), image_sizes: (images, 2); one thread for each of the `cells` of targets
// (images, rois, size, size). `total` is the number of bytes of all bitmaps.
template <typename T>
__global__ void __launch_bounds__(kThreads) crop_each_cell(
    const uint8_t* pixels, int64_t total, const int64_t* offsets, const int64_t* bitmap_boxes, const T* rois,
    const int64_t* image_sizes, int64_t rois_per_image, int64_t size, bool binary, int64_t cells, T* targets) {
  const int64_t cell = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (cell >= cells) {
    return;
  }
  const int64_t n = cell / (size * size), row = cell / size % size, column = cell % size;
  const auto [height, width] = checked_image_size(image_sizes + 2 * (n / rois_per_image));
  const T* roi = rois + 4 * n;
  const SampleAxis<T> across = sample_axis(roi[0], roi[2], width, size, binary);
  const SampleAxis<T> down = sample_axis(roi[1], roi[3], height, size, binary);
  const Bitmap bitmap = checked_bitmap(pixels, total, offsets[n], bitmap_boxes + 4 * n, height, width);
  const SamplesOfBin<T> rows{down, row, height}, columns{across, column, width};
  const T average = mask_average<T>(bitmap, rows, down.points, columns, across.points);
  targets[cell] = binary ? (average >= T(0.5) ? T(1) : T(0)) : average;
}

}  // namespace maskrcnn
