// NMS on the GPU: checks, memory and launches. The algorithm is in `kernel.cuh`.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <optional>

#include "../cuda_launch.h"
#include "arguments.h"
#include "kernel.cuh"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename T>
void nms_of_all_images(
    const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups, T iou_threshold, Tensor& keep,
    cudaStream_t stream) {
  const int64_t batch = boxes.size(0), count = boxes.size(1), max_keep = keep.size(1), tiles = tiles_of(count);
  if (batch == 0) {
    return;
  }
  const int64_t ranked_bytes = static_cast<int64_t>(sizeof(RankedBox<T>));
  Tensor ranked_memory = torch::stable::new_empty(boxes, {batch, count, ranked_bytes}, ScalarType::Byte);
  Tensor suppressors_memory = torch::stable::new_empty(boxes, {batch, count, tiles}, ScalarType::Long);
  Tensor survivors_memory = torch::stable::new_empty(boxes, {batch, tiles}, ScalarType::Long);
  auto* ranked = static_cast<RankedBox<T>*>(ranked_memory.mutable_data_ptr());
  auto* suppressors = static_cast<Bits*>(suppressors_memory.mutable_data_ptr());
  auto* survivors = static_cast<Bits*>(survivors_memory.mutable_data_ptr());

  if (count > 0) {
    rank_boxes<<<block_count(batch * divide_up(count, kRankThreads)), kRankThreads, 0, stream>>>(
        boxes.const_data_ptr<T>(), scores.const_data_ptr<T>(), groups ? groups->const_data_ptr<int64_t>() : nullptr,
        count, ranked);
    check_launch("nms");
    find_suppressors<<<block_count(batch * tiles * tiles), kTile, 0, stream>>>(
        ranked, count, iou_threshold, suppressors);
    check_launch("nms");
  }
  keep_survivors<<<block_count(batch), kSurvivorThreads, 0, stream>>>(
      ranked, suppressors, count, max_keep, survivors, keep.mutable_data_ptr<int64_t>());
  check_launch("nms");
}

Tensor nms(
    const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups, double iou_threshold,
    int64_t max_keep) {
  check_nms_arguments(boxes, scores, groups, max_keep);
  STD_TORCH_CHECK(on_device_of(boxes, scores), "nms: tensors must be on one GPU");
  const CurrentStream stream(boxes);
  std::optional<Tensor> contiguous_groups;
  if (groups) {
    STD_TORCH_CHECK(on_device_of(*groups, boxes), "nms: groups must be on the GPU of the boxes");
    contiguous_groups = torch::stable::contiguous(*groups);
  }
  Tensor keep = torch::stable::new_empty(boxes, {boxes.size(0), max_keep}, ScalarType::Long);
  const Tensor contiguous_boxes = torch::stable::contiguous(boxes);
  const Tensor contiguous_scores = torch::stable::contiguous(scores);
  if (boxes.scalar_type() == ScalarType::Float) {
    nms_of_all_images<float>(
        contiguous_boxes, contiguous_scores, contiguous_groups, static_cast<float>(iou_threshold), keep, stream);
  } else {
    nms_of_all_images<double>(contiguous_boxes, contiguous_scores, contiguous_groups, iou_threshold, keep, stream);
  }
  return keep;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, m) {
  m.impl("nms", TORCH_BOX(&nms));
}

}  // namespace maskrcnn
