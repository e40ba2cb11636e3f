// RoIPool on the GPU: checks, memory layout and launches. The algorithm is in `kernel.cuh`.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <tuple>

#include "../cuda_launch.h"
#include "../floating_point.h"
#include "../memory_layout.h"
#include "arguments.h"
#include "kernel.cuh"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename F, typename T, int N>
void launch_pooling(
    const Feature<F>& feature, T scale, const Tensor& rois, int64_t size, bool channels_last, Tensor& pooled,
    Tensor& argmax, cudaStream_t stream) {
  const int64_t count = pooled.numel() / N;
  pool_each_bin<F, T, N><<<block_count(divide_up(count, kThreads)), kThreads, 0, stream>>>(
      feature, scale, rois.const_data_ptr<T>(), rois.size(1), pooled.size(2), size, channels_last, count,
      static_cast<F*>(pooled.mutable_data_ptr()), argmax.mutable_data_ptr<int32_t>());
  check_launch("roi_pool");
}

std::tuple<Tensor, Tensor> roi_pool(
    const Tensor& feature, const Tensor& rois, int64_t output_size, double stride, bool channels_last) {
  check_roi_pool_arguments(feature, rois, output_size);
  STD_TORCH_CHECK(on_device_of(feature, rois), "roi_pool: tensors must be on one GPU");

  const CurrentStream stream(rois);
  const ScalarType dtype = feature.scalar_type();
  const Tensor all_rois = torch::stable::contiguous(rois);
  Tensor pooled = new_bins(
      feature, feature.size(0), rois.size(1), feature.size(1), output_size, channels_last, dtype);
  Tensor argmax = new_bins(
      feature, feature.size(0), rois.size(1), feature.size(1), output_size, channels_last, ScalarType::Int);
  if (pooled.numel() == 0) {
    return std::make_tuple(pooled, argmax);
  }
  with_feature_types(dtype, "roi_pool: feature", [&](auto types) {
    using F = typename decltype(types)::Feature;
    using T = typename decltype(types)::Sum;
    const T scale = static_cast<T>(1.0 / stride);
    const F* data = static_cast<const F*>(feature.const_data_ptr());
    const Feature<F> source{data,
                            feature.size(2),
                            feature.size(3),
                            feature.stride(0),
                            feature.stride(1),
                            feature.stride(2),
                            feature.stride(3)};
    if (channels_last && has_whole_vectors<F>(
                             data, feature.size(1), source.channel_stride,
                             {source.image_stride, source.row_stride, source.column_stride})) {
      launch_pooling<F, T, kVector<F>>(source, scale, all_rois, output_size, channels_last, pooled, argmax, stream);
    } else {
      launch_pooling<F, T, 1>(source, scale, all_rois, output_size, channels_last, pooled, argmax, stream);
    }
  });
  return std::make_tuple(pooled, argmax);
}

template <typename F>
Bins<F> bins_of(const Tensor& tensor) {
  return {static_cast<const F*>(tensor.const_data_ptr()),
          tensor.stride(0),
          tensor.stride(1),
          tensor.stride(2),
          tensor.stride(3),
          tensor.stride(4)};
}

template <typename F, typename T>
void collect(
    const Tensor& gradient, const Tensor& argmax, int height, int width, bool channels_last, Tensor& result,
    cudaStream_t stream) {
  const int64_t batch = gradient.size(0), rois = gradient.size(1), channels = gradient.size(2), size = gradient.size(3);
  const int64_t groups = channel_groups(channels), reach_bytes = static_cast<int64_t>(sizeof(Reach));
  Tensor roi_memory = torch::stable::new_empty(gradient, {batch, groups, rois, reach_bytes}, ScalarType::Byte);
  Tensor bin_memory =
      torch::stable::new_empty(gradient, {batch, groups, rois, size * size, reach_bytes}, ScalarType::Byte);
  auto* roi_reaches = static_cast<Reach*>(roi_memory.mutable_data_ptr());
  auto* bin_reaches = static_cast<Reach*>(bin_memory.mutable_data_ptr());
  const Bins<int32_t> maxima = bins_of<int32_t>(argmax);
  if (gradient.numel() > 0) {
    find_reaches<<<block_count(batch * groups * rois), kReachThreads, 0, stream>>>(
        maxima, rois, channels, size, height, width, roi_reaches, bin_reaches);
    check_launch("roi_pool_backward");
  }
  const int64_t count = batch * groups * tiles_of_image(height, width);
  collect_maxima<F, T><<<block_count(divide_up(count, kTilesPerBlock)), dim3(kWarp, kTilesPerBlock), 0, stream>>>(
      bins_of<F>(gradient), maxima, roi_reaches, bin_reaches, rois, channels, size, height, width, channels_last, count,
      result.mutable_data_ptr<T>());
  check_launch("roi_pool_backward");
}

Tensor roi_pool_backward(
    const Tensor& gradient, const Tensor& argmax, int64_t height, int64_t width, bool channels_last) {
  check_roi_pool_backward_arguments(gradient, argmax, height, width);
  STD_TORCH_CHECK(on_device_of(argmax, gradient), "roi_pool_backward: tensors must be on one GPU");

  const CurrentStream stream(gradient);
  const int64_t batch = gradient.size(0), channels = gradient.size(2);
  const ScalarType dtype = gradient.scalar_type();
  const ScalarType sum_type = dtype == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  Tensor result = new_maps(gradient, batch, channels, height, width, channels_last, sum_type);
  if (result.numel() == 0) {
    return result;
  }
  with_feature_types(dtype, "roi_pool_backward: gradient", [&](auto types) {
    using Types = decltype(types);
    collect<typename Types::Feature, typename Types::Sum>(
        gradient, argmax, static_cast<int>(height), static_cast<int>(width), channels_last, result, stream);
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, m) {
  m.impl("roi_pool", TORCH_BOX(&roi_pool));
  m.impl("roi_pool_backward", TORCH_BOX(&roi_pool_backward));
}

}  // namespace maskrcnn
