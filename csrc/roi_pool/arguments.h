// What memory safety asks of the arguments of RoIPool, wherever they are.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace maskrcnn {

constexpr int64_t kMostPixels = (int64_t{1} << 31) - 1;  // their numbers are stored in 32 bits

inline void check_roi_pool_arguments(
    const torch::stable::Tensor& feature, const torch::stable::Tensor& rois, int64_t output_size) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(
      feature.dim() == 4 && feature.size(2) > 0 && feature.size(3) > 0,
      "roi_pool: feature must be (B, C, H, W), with pixels");
  STD_TORCH_CHECK(feature.size(2) <= kMostPixels / feature.size(3), "roi_pool: feature has 2^31 pixels or more");
  STD_TORCH_CHECK(
      rois.dim() == 3 && rois.size(0) == feature.size(0) && rois.size(2) == 4, "roi_pool: rois must be (B, R, 4)");
  STD_TORCH_CHECK(output_size > 0, "roi_pool: output_size must be positive");
  STD_TORCH_CHECK(
      rois.scalar_type() == (feature.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float),
      "roi_pool: rois must be float32, or float64 with a float64 feature");
}

inline void check_roi_pool_backward_arguments(
    const torch::stable::Tensor& gradient, const torch::stable::Tensor& argmax, int64_t height, int64_t width) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(
      gradient.dim() == 5 && gradient.size(3) == gradient.size(4),
      "roi_pool_backward: gradient must be (B, R, C, S, S)");
  STD_TORCH_CHECK(
      argmax.dim() == 5 && argmax.scalar_type() == ScalarType::Int && argmax.size(0) == gradient.size(0) &&
          argmax.size(1) == gradient.size(1) && argmax.size(2) == gradient.size(2) &&
          argmax.size(3) == gradient.size(3) && argmax.size(4) == gradient.size(4),
      "roi_pool_backward: argmax must be int32, of the size of the gradient");
  STD_TORCH_CHECK(height > 0 && width > 0, "roi_pool_backward: the feature must have pixels");
  STD_TORCH_CHECK(height <= kMostPixels / width, "roi_pool_backward: the feature has 2^31 pixels or more");
}

}  // namespace maskrcnn
