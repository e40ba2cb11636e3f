// Matching on the GPU: checks, memory and launches. The algorithm is in `kernel.cuh`.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <tuple>

#include "../cuda_launch.h"
#include "arguments.h"
#include "kernel.cuh"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename T>
void match_all(
    const Tensor& ground_truths, const Tensor& ground_truths_valid, const Tensor& boxes, const Tensor& boxes_valid,
    T floor, Tensor& best_iou, Tensor& best_ground_truth, Tensor& forced, cudaStream_t stream) {
  const int64_t batch = boxes.size(0), box_count = boxes.size(1), ground_truth_count = ground_truths.size(1);
  if (batch == 0 || box_count == 0) {
    return;
  }
  Tensor maxima_memory = torch::stable::new_zeros(boxes, {batch, ground_truth_count});  // all bits 0
  auto* maxima = static_cast<typename OrderedBits<T>::Type*>(maxima_memory.mutable_data_ptr());
  if (ground_truth_count > 0) {
    const int64_t blocks =
        divide_up(box_count, kThreads * kBoxesPerThread) * divide_up(ground_truth_count, kGroundTruthsPerBlock);
    find_maxima<<<block_count(batch * blocks), kThreads, 0, stream>>>(
        ground_truths.const_data_ptr<T>(), ground_truths_valid.const_data_ptr<bool>(), ground_truth_count,
        boxes.const_data_ptr<T>(), boxes_valid.const_data_ptr<bool>(), box_count, maxima);
    check_launch("match_boxes");
  }
  match_each_box<<<block_count(batch * divide_up(box_count, kThreads)), kThreads, 0, stream>>>(
      ground_truths.const_data_ptr<T>(), ground_truths_valid.const_data_ptr<bool>(), ground_truth_count,
      boxes.const_data_ptr<T>(), boxes_valid.const_data_ptr<bool>(), box_count, maxima, floor,
      best_iou.mutable_data_ptr<T>(), best_ground_truth.mutable_data_ptr<int64_t>(),
      forced.mutable_data_ptr<int64_t>());
  check_launch("match_boxes");
}

std::tuple<Tensor, Tensor, Tensor> match_boxes(
    const Tensor& ground_truths, const Tensor& ground_truths_valid, const Tensor& boxes, const Tensor& boxes_valid,
    double floor) {
  check_match_boxes_arguments(ground_truths, ground_truths_valid, boxes, boxes_valid);
  const int64_t batch = boxes.size(0), count = boxes.size(1);
  STD_TORCH_CHECK(
      on_device_of(ground_truths, boxes) && on_device_of(ground_truths_valid, boxes) &&
          on_device_of(boxes_valid, boxes),
      "match_boxes: tensors must be on one GPU");

  const CurrentStream stream(boxes);
  const Tensor all_ground_truths = torch::stable::contiguous(ground_truths),
               all_ground_truths_valid = torch::stable::contiguous(ground_truths_valid),
               all_boxes = torch::stable::contiguous(boxes), all_boxes_valid = torch::stable::contiguous(boxes_valid);
  Tensor best_iou = torch::stable::new_empty(boxes, {batch, count});
  Tensor best_ground_truth = torch::stable::new_empty(boxes, {batch, count}, ScalarType::Long);
  Tensor forced = torch::stable::new_empty(boxes, {batch, count}, ScalarType::Long);
  if (boxes.scalar_type() == ScalarType::Float) {
    match_all<float>(
        all_ground_truths, all_ground_truths_valid, all_boxes, all_boxes_valid, static_cast<float>(floor), best_iou,
        best_ground_truth, forced, stream);
  } else {
    match_all<double>(
        all_ground_truths, all_ground_truths_valid, all_boxes, all_boxes_valid, floor, best_iou, best_ground_truth,
        forced, stream);
  }
  return std::make_tuple(best_iou, best_ground_truth, forced);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, m) {
  m.impl("match_boxes", TORCH_BOX(&match_boxes));
}

}  // namespace maskrcnn
