// Mask targets on the GPU: checks and the launch. The algorithm is in `kernel.cuh`.

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
void crop_all(
    const Tensor& bitmaps, const Tensor& offsets, const Tensor& bitmap_boxes, const Tensor& rois,
    const Tensor& image_sizes, int64_t size, bool binary, Tensor& targets, cudaStream_t stream) {
  const int64_t cells = targets.numel();
  if (cells == 0) {
    return;
  }
  crop_each_cell<<<block_count(divide_up(cells, kThreads)), kThreads, 0, stream>>>(
      bitmaps.const_data_ptr<uint8_t>(), bitmaps.size(0), offsets.const_data_ptr<int64_t>(),
      bitmap_boxes.const_data_ptr<int64_t>(), rois.const_data_ptr<T>(), image_sizes.const_data_ptr<int64_t>(),
      rois.size(1), size, binary, cells, targets.mutable_data_ptr<T>());
  check_launch("crop_masks");
}

Tensor crop_masks(
    const Tensor& bitmaps, const Tensor& offsets, const Tensor& bitmap_boxes, const Tensor& rois,
    const Tensor& image_sizes, int64_t size, bool binary) {
  check_crop_masks_arguments(bitmaps, offsets, bitmap_boxes, rois, image_sizes, size);
  const int64_t batch = rois.size(0), count = rois.size(1);
  STD_TORCH_CHECK(
      on_device_of(bitmaps, rois) && on_device_of(offsets, rois) && on_device_of(bitmap_boxes, rois) &&
          on_device_of(image_sizes, rois),
      "crop_masks: tensors must be on one GPU");

  const CurrentStream stream(rois);
  const Tensor all_pixels = torch::stable::contiguous(bitmaps), all_offsets = torch::stable::contiguous(offsets),
               all_boxes = torch::stable::contiguous(bitmap_boxes), all_rois = torch::stable::contiguous(rois),
               sizes = torch::stable::contiguous(image_sizes);
  Tensor targets = torch::stable::new_empty(rois, {batch, count, size, size});
  if (rois.scalar_type() == ScalarType::Float) {
    crop_all<float>(all_pixels, all_offsets, all_boxes, all_rois, sizes, size, binary, targets, stream);
  } else {
    crop_all<double>(all_pixels, all_offsets, all_boxes, all_rois, sizes, size, binary, targets, stream);
  }
  return targets;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, m) {
  m.impl("crop_masks", TORCH_BOX(&crop_masks));
}

}  // namespace maskrcnn
