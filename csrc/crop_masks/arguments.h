// What memory safety asks of the arguments of mask targets, wherever they are.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace maskrcnn {

inline void check_crop_masks_arguments(
    const torch::stable::Tensor& bitmaps, const torch::stable::Tensor& offsets,
    const torch::stable::Tensor& bitmap_boxes, const torch::stable::Tensor& rois,
    const torch::stable::Tensor& image_sizes, int64_t size) {
  using torch::headeronly::ScalarType;
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
  STD_TORCH_CHECK(size >= 1, "crop_masks: size must be 1 or more");
}

}  // namespace maskrcnn
