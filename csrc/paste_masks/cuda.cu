// Pasting on the GPU: checks and the launch. The algorithm is in `kernel.cuh`.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>

#include "../cuda_launch.h"
#include "arguments.h"
#include "kernel.cuh"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename T>
void paste_all(
    const Tensor& masks, const Tensor& boxes, bool padded_resize, Tensor& pictures, cudaStream_t stream) {
  const int64_t height = pictures.size(1), width = pictures.size(2);
  const int64_t blocks = masks.size(0) * blocks_per_picture(height, width, kThreads);
  paste_words<<<block_count(blocks), kThreads, 0, stream>>>(
      masks.const_data_ptr<T>(), boxes.const_data_ptr<T>(), masks.size(1), height, width, padded_resize,
      pictures.mutable_data_ptr<bool>());
  check_launch("paste_masks");
}

Tensor paste_masks(const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width, bool padded_resize) {
  check_paste_masks_arguments(masks, boxes, height, width);
  STD_TORCH_CHECK(on_device_of(boxes, masks), "paste_masks: tensors must be on one GPU");

  const CurrentStream stream(masks);
  const Tensor all_masks = torch::stable::contiguous(masks), all_boxes = torch::stable::contiguous(boxes);
  Tensor pictures = torch::stable::new_empty(masks, {masks.size(0), height, width}, ScalarType::Bool);
  if (pictures.numel() == 0) {
    return pictures;
  }
  if (masks.scalar_type() == ScalarType::Float) {
    paste_all<float>(all_masks, all_boxes, padded_resize, pictures, stream);
  } else {
    paste_all<double>(all_masks, all_boxes, padded_resize, pictures, stream);
  }
  return pictures;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, m) {
  m.impl("paste_masks", TORCH_BOX(&paste_masks));
}

}  // namespace maskrcnn
