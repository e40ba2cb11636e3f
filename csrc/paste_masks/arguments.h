// What memory safety asks of the arguments of pasting, wherever they are.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace maskrcnn {

inline void check_paste_masks_arguments(
    const torch::stable::Tensor& masks, const torch::stable::Tensor& boxes, int64_t height, int64_t width) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(
      masks.dim() == 3 && masks.size(1) == masks.size(2) && masks.size(1) > 0,
      "paste_masks: masks must be (N, m, m), with cells");
  STD_TORCH_CHECK(
      boxes.dim() == 2 && boxes.size(0) == masks.size(0) && boxes.size(1) == 4, "paste_masks: boxes must be (N, 4)");
  STD_TORCH_CHECK(
      (masks.scalar_type() == ScalarType::Float || masks.scalar_type() == ScalarType::Double) &&
          boxes.scalar_type() == masks.scalar_type(),
      "paste_masks: masks and boxes must be float32 or float64, the same");
  STD_TORCH_CHECK(height >= 0 && width >= 0, "paste_masks: height and width must not be negative");
}

}  // namespace maskrcnn
