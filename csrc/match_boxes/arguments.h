// What memory safety asks of the arguments of matching, wherever they are.
#pragma once

#include <torch/csrc/stable/tensor.h>

namespace maskrcnn {

inline void check_match_boxes_arguments(
    const torch::stable::Tensor& ground_truths, const torch::stable::Tensor& ground_truths_valid,
    const torch::stable::Tensor& boxes, const torch::stable::Tensor& boxes_valid) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(
      ground_truths.dim() == 3 && ground_truths.size(2) == 4, "match_boxes: ground_truths must be (B, G, 4)");
  STD_TORCH_CHECK(boxes.dim() == 3 && boxes.size(2) == 4, "match_boxes: boxes must be (B, N, 4)");
  STD_TORCH_CHECK(
      ground_truths.size(0) == boxes.size(0) && ground_truths_valid.dim() == 2 &&
          ground_truths_valid.size(0) == boxes.size(0) && ground_truths_valid.size(1) == ground_truths.size(1),
      "match_boxes: ground_truths_valid must be (B, G), with as many images as boxes");
  STD_TORCH_CHECK(
      boxes_valid.dim() == 2 && boxes_valid.size(0) == boxes.size(0) && boxes_valid.size(1) == boxes.size(1),
      "match_boxes: boxes_valid must be (B, N)");
  STD_TORCH_CHECK(
      (boxes.scalar_type() == ScalarType::Float || boxes.scalar_type() == ScalarType::Double) &&
          ground_truths.scalar_type() == boxes.scalar_type() &&
          ground_truths_valid.scalar_type() == ScalarType::Bool && boxes_valid.scalar_type() == ScalarType::Bool,
      "match_boxes: boxes and ground_truths must be float32 or float64, the same, and both masks bool");
}

}  // namespace maskrcnn
