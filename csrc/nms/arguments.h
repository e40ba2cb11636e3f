// What memory safety asks of the arguments of NMS, wherever they are.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>

namespace maskrcnn {

inline void check_nms_arguments(
    const torch::stable::Tensor& boxes, const torch::stable::Tensor& scores,
    const std::optional<torch::stable::Tensor>& groups, int64_t max_keep) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(boxes.dim() == 3 && boxes.size(2) == 4, "nms: boxes must be (B, N, 4)");
  STD_TORCH_CHECK(
      scores.dim() == 2 && scores.size(0) == boxes.size(0) && scores.size(1) == boxes.size(1),
      "nms: scores must be (B, N)");
  STD_TORCH_CHECK(
      boxes.scalar_type() == ScalarType::Float || boxes.scalar_type() == ScalarType::Double,
      "nms: boxes must be float32 or float64");
  STD_TORCH_CHECK(scores.scalar_type() == boxes.scalar_type(), "nms: boxes and scores must have one dtype");
  STD_TORCH_CHECK(max_keep >= 0, "nms: max_keep must not be negative");
  STD_TORCH_CHECK(
      !groups || (groups->dim() == 2 && groups->size(0) == boxes.size(0) && groups->size(1) == boxes.size(1) &&
                  groups->scalar_type() == ScalarType::Long),
      "nms: groups must be (B, N), int64");
}

}  // namespace maskrcnn
