// What the arithmetic of RoIAlign asks of its settings, wherever the tensors are.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace maskrcnn {

// Samples are counted in floating point as well, where not every larger count is still an int64_t.
inline void check_pooling_settings(int64_t output_size, int64_t sampling_ratio) {
  STD_TORCH_CHECK(output_size > 0, "pyramid_roi_align: output_size must be positive");
  STD_TORCH_CHECK(
      sampling_ratio >= 0 && sampling_ratio < (int64_t{1} << 31),
      "pyramid_roi_align: sampling_ratio must be 0 or more and less than 2^31");
}

}  // namespace maskrcnn
