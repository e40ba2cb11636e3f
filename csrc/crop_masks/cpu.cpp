// Mask targets on the CPU: the RoIs of all images are independent and run in parallel.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "crop_masks.h"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// A bitmap whose bytes do not all lie in the tensor would be read past its end; such a one counts as empty.
Bitmap checked_bitmap(
    const uint8_t* pixels, int64_t total, int64_t offset, const int64_t* box, int64_t height, int64_t width) {
  Bitmap bitmap{pixels + offset, box[0], box[1], box[2], box[3], height, width};
  const int64_t rows = std::max<int64_t>(bitmap.y2 - bitmap.y1, 0), columns = std::max<int64_t>(bitmap.x2 - bitmap.x1, 0);
  if (offset < 0 || offset > total || (columns > 0 && rows > (total - offset) / columns)) {
    bitmap.x2 = bitmap.x1;
  }
  return bitmap;
}

// Where all samples along one axis lie: bin after bin, `points` each. Every row of bins needs the same columns.
template <typename T>
void look_up(const SampleAxis<T>& axis, int64_t size, int64_t length, std::vector<Neighbours<T>>& samples) {
  samples.clear();
  for (int64_t bin = 0; bin < size; ++bin) {
    for (int64_t point = 0; point < axis.points; ++point) {
      samples.push_back(neighbours(axis, bin, point, length));
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
  const int64_t total = bitmaps.size(0), batch = rois.size(0), count = rois.size(1);

  torch::stable::parallel_for(0, batch * count, 1, [&](int64_t first, int64_t last) {
    std::vector<Neighbours<T>> rows, columns;
    for (int64_t n = first; n < last; ++n) {
      const int64_t height = image_size[2 * (n / count)], width = image_size[2 * (n / count) + 1];
      const Bitmap bitmap = checked_bitmap(pixels, total, offset[n], box + 4 * n, height, width);
      const SampleAxis<T> across = sample_axis(roi[4 * n], roi[4 * n + 2], width, size, binary);
      const SampleAxis<T> down = sample_axis(roi[4 * n + 1], roi[4 * n + 3], height, size, binary);
      look_up(across, size, width, columns);
      look_up(down, size, height, rows);
      for (int64_t row = 0; row < size; ++row) {
        for (int64_t column = 0; column < size; ++column) {
          const T average = mask_average(
              bitmap, &rows[row * down.points], down.points, &columns[column * across.points], across.points);
          out[(n * size + row) * size + column] = binary ? (average >= T(0.5) ? T(1) : T(0)) : average;
        }
      }
    }
  });
}

Tensor crop_masks(
    const Tensor& bitmaps, const Tensor& offsets, const Tensor& bitmap_boxes, const Tensor& rois,
    const Tensor& image_sizes, int64_t size, bool binary) {
  STD_TORCH_CHECK(rois.dim() == 3 && rois.size(2) == 4, "crop_masks: rois must be (B, N, 4)");
  const int64_t batch = rois.size(0), count = rois.size(1);
  STD_TORCH_CHECK(
      offsets.dim() == 2 && offsets.size(0) == batch && offsets.size(1) == count, "crop_masks: offsets must be (B, N)");
  STD_TORCH_CHECK(
      bitmap_boxes.dim() == 3 && bitmap_boxes.size(0) == batch && bitmap_boxes.size(1) == count &&
          bitmap_boxes.size(2) == 4,
      "crop_masks: bitmap_boxes must be (B, N, 4)");
  STD_TORCH_CHECK(
      image_sizes.dim() == 2 && image_sizes.size(0) == batch && image_sizes.size(1) == 2,
      "crop_masks: image_sizes must be (B, 2)");
  STD_TORCH_CHECK(
      bitmaps.dim() == 1 && bitmaps.scalar_type() == ScalarType::Byte &&
          (rois.scalar_type() == ScalarType::Float || rois.scalar_type() == ScalarType::Double) &&
          offsets.scalar_type() == ScalarType::Long && bitmap_boxes.scalar_type() == ScalarType::Long &&
          image_sizes.scalar_type() == ScalarType::Long,
      "crop_masks: bitmaps must be uint8, rois float32 or float64, offsets, bitmap_boxes and image_sizes int64");
  STD_TORCH_CHECK(
      bitmaps.is_cpu() && offsets.is_cpu() && bitmap_boxes.is_cpu() && rois.is_cpu() && image_sizes.is_cpu(),
      "crop_masks: tensors must be on the CPU");
  STD_TORCH_CHECK(size >= 1, "crop_masks: size must be 1 or more");

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
