// New tensors with channels, whose shape says nothing of whether channels are neighbours in memory. Their values are not
// set.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>

namespace maskrcnn {

// Bins of RoIs (B, R, C, S, S); channels last, they lie as (B, R, S, S, C).
inline torch::stable::Tensor new_bins(
    const torch::stable::Tensor& like, int64_t batch, int64_t count, int64_t channels, int64_t size,
    bool channels_last, torch::headeronly::ScalarType dtype) {
  if (!channels_last) {
    return torch::stable::new_empty(like, {batch, count, channels, size, size}, dtype);
  }
  const auto bins = torch::stable::new_empty(like, {batch, count, size, size, channels}, dtype);
  return torch::stable::transpose(torch::stable::transpose(bins, 2, 4), 3, 4);
}

// Maps (B, C, H, W); channels last, they lie as (B, H, W, C). They are no view of another tensor: autograd would keep that
// one, too, and could not add the next gradient in place.
inline torch::stable::Tensor new_maps(
    const torch::stable::Tensor& like, int64_t batch, int64_t channels, int64_t height, int64_t width,
    bool channels_last, torch::headeronly::ScalarType dtype) {
  const auto format =
      channels_last ? torch::headeronly::MemoryFormat::ChannelsLast : torch::headeronly::MemoryFormat::Contiguous;
  return torch::stable::empty(
      {batch, channels, height, width}, dtype, std::nullopt, like.device(), std::nullopt, format);
}

}  // namespace maskrcnn
