// Mask targets on the CPU: the RoIs of all images are independent and run in parallel.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "arguments.h"
#include "crop_masks.h"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Where all samples along one axis lie: bin after bin, `points` each. Every row of bins needs the same columns.
template <typename T>
void look_up(const SampleAxis<T>& axis, int64_t size, int64_t length, SampleNeighbours<T>* samples) {
  for (int64_t bin = 0; bin < size; ++bin) {
    for (int64_t point = 0; point < axis.points; ++point) {
      *samples++ = neighbours(axis, bin, point, length);
    }
  }
}

template <typename T>
void crop_all(
    const Tensor& bitmaps, const Tensor& offsets, const Tensor& bitmap_boxes, const Tensor& rois,
    const Tensor& image_sizes, int64_t size, bool binary, Tensor& targets) {
  const uint8_t* pixels = bitmaps.const_data_ptr<uint8_t>();
  const int64_t* offset = offsets.const_data_ptr<int64_t>();
  const int64_t* box = bitmap_boxes.const_data_ptr<int64_t>();
  const T* roi = rois.const_data_ptr<T>();
  const int64_t* image_size = image_sizes.const_data_ptr<int64_t>();
  T* out = targets.mutable_data_ptr<T>();
  const int64_t total = bitmaps.size(0), rois_per_image = rois.size(1), count = rois.size(0) * rois_per_image;

  // All memory is allocated here: an exception inside parallel_for would lose its text.
  std::vector<SampleAxis<T>> across(count), down(count);
  int64_t most_points = 1;
  for (int64_t n = 0; n < count; ++n) {
    const auto [height, width] = checked_image_size(image_size + 2 * (n / rois_per_image));
    across[n] = sample_axis(roi[4 * n], roi[4 * n + 2], width, size, binary);
    down[n] = sample_axis(roi[4 * n + 1], roi[4 * n + 3], height, size, binary);
    most_points = std::max({most_points, across[n].points, down[n].points});
  }
  const int64_t workers = std::min<int64_t>(count, torch::stable::get_num_threads());
  std::vector<SampleNeighbours<T>> samples(2 * workers * size * most_points);

  torch::stable::parallel_for(0, workers, 1, [&](int64_t first, int64_t last) {
    for (int64_t worker = first; worker < last; ++worker) {
      SampleNeighbours<T>* rows = samples.data() + 2 * worker * size * most_points;
      SampleNeighbours<T>* columns = rows + size * most_points;
      for (int64_t n = worker * count / workers; n < (worker + 1) * count / workers; ++n) {
        const auto [height, width] = checked_image_size(image_size + 2 * (n / rois_per_image));
        const Bitmap bitmap = checked_bitmap(pixels, total, offset[n], box + 4 * n, height, width);
        look_up(across[n], size, width, columns);
        look_up(down[n], size, height, rows);
        for (int64_t row = 0; row < size; ++row) {
          for (int64_t column = 0; column < size; ++column) {
            const T average = mask_average<T>(
                bitmap, rows + row * down[n].points, down[n].points, columns + column * across[n].points,
                across[n].points);
            out[(n * size + row) * size + column] = binary ? (average >= T(0.5) ? T(1) : T(0)) : average;
          }
        }
      }
    }
  });
}

Tensor crop_masks(
    const Tensor& bitmaps, const Tensor& offsets, const Tensor& bitmap_boxes, const Tensor& rois,
    const Tensor& image_sizes, int64_t size, bool binary) {
  check_crop_masks_arguments(bitmaps, offsets, bitmap_boxes, rois, image_sizes, size);
  const int64_t batch = rois.size(0), count = rois.size(1);
  STD_TORCH_CHECK(
      bitmaps.is_cpu() && offsets.is_cpu() && bitmap_boxes.is_cpu() && rois.is_cpu() && image_sizes.is_cpu(),
      "crop_masks: tensors must be on the CPU");

  const Tensor all_pixels = torch::stable::contiguous(bitmaps), all_offsets = torch::stable::contiguous(offsets),
               all_boxes = torch::stable::contiguous(bitmap_boxes), all_rois = torch::stable::contiguous(rois),
               sizes = torch::stable::contiguous(image_sizes);
  Tensor targets = torch::stable::new_empty(rois, {batch, count, size, size});
  if (rois.scalar_type() == ScalarType::Float) {
    crop_all<float>(all_pixels, all_offsets, all_boxes, all_rois, sizes, size, binary, targets);
  } else {
    crop_all<double>(all_pixels, all_offsets, all_boxes, all_rois, sizes, size, binary, targets);
  }
  return targets;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, m) {
  m.impl("crop_masks", TORCH_BOX(&crop_masks));
}

}  // namespace maskrcnn
