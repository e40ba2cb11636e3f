// Which boxes lie in a region, on the GPU: checks, memory and launches. The algorithm is in `kernel.cuh`.

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
void cover_all(
    const Tensor& boxes, const Tensor& regions, const Tensor& regions_valid, T fraction, Tensor& covered,
    cudaStream_t stream) {
  const int64_t batch = boxes.size(0), box_count = boxes.size(1);
  if (batch == 0 || box_count == 0) {
    return;
  }
  find_covered<<<block_count(batch * divide_up(box_count, kThreads)), kThreads, 0, stream>>>(
      boxes.const_data_ptr<T>(), box_count, regions.const_data_ptr<T>(), regions_valid.const_data_ptr<bool>(),
      regions.size(1), fraction, covered.mutable_data_ptr<bool>());
  check_launch("covered_boxes");
}

Tensor covered_boxes(const Tensor& boxes, const Tensor& regions, const Tensor& regions_valid, double fraction) {
  check_covered_boxes_arguments(boxes, regions, regions_valid);
  STD_TORCH_CHECK(
      on_device_of(regions, boxes) && on_device_of(regions_valid, boxes),
      "covered_boxes: tensors must be on one GPU");

  const CurrentStream stream(boxes);
  const Tensor all_boxes = torch::stable::contiguous(boxes), all_regions = torch::stable::contiguous(regions),
               valid = torch::stable::contiguous(regions_valid);
  Tensor covered = torch::stable::new_empty(boxes, {boxes.size(0), boxes.size(1)}, ScalarType::Bool);
  if (boxes.scalar_type() == ScalarType::Float) {
    cover_all<float>(all_boxes, all_regions, valid, static_cast<float>(fraction), covered, stream);
  } else {
    cover_all<double>(all_boxes, all_regions, valid, fraction, covered, stream);
  }
  return covered;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, m) {
  m.impl("covered_boxes", TORCH_BOX(&covered_boxes));
}

}  // namespace maskrcnn
