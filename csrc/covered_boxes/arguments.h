// What memory safety asks of the arguments of `covered_boxes`, wherever they are.
#pragma once

#include <torch/csrc/stable/tensor.h>

namespace maskrcnn {

inline void check_covered_boxes_arguments(
    const torch::stable::Tensor& boxes, const torch::stable::Tensor& regions,
    const torch::stable::Tensor& regions_valid) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(boxes.dim() == 3 && boxes.size(2) == 4, "covered_boxes: boxes must be (B, N, 4)");
  STD_TORCH_CHECK(
      regions.dim() == 3 && regions.size(2) == 4 && regions.size(0) == boxes.size(0),
      "covered_boxes: regions must be (B, M, 4), with as many images as boxes");
  STD_TORCH_CHECK(
      regions_valid.dim() == 2 && regions_valid.size(0) == regions.size(0) && regions_valid.size(1) == regions.size(1),
      "covered_boxes: regions_valid must be (B, M)");
  STD_TORCH_CHECK(
      (boxes.scalar_type() == ScalarType::Float || boxes.scalar_type() == ScalarType::Double) &&
          regions.scalar_type() == boxes.scalar_type() && regions_valid.scalar_type() == ScalarType::Bool,
      "covered_boxes: boxes and regions must be float32 or float64, the same, and regions_valid bool");
}

}  // namespace maskrcnn
