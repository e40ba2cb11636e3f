// RoIAlign over a pyramid on the GPU: checks, memory layout and launches. The algorithm is in `kernel.cuh`.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <vector>

#include "../cuda_launch.h"
#include "../floating_point.h"
#include "../memory_layout.h"
#include "arguments.h"
#include "kernel.cuh"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

void check_rois(const Tensor& rois, ScalarType sum_type, size_t levels, size_t strides) {
  STD_TORCH_CHECK(
      rois.is_cuda() && rois.dim() == 3 && rois.size(2) == 4, "pyramid_roi_align: rois must be (B, R, 4), on the GPU");
  STD_TORCH_CHECK(
      rois.scalar_type() == sum_type, "pyramid_roi_align: rois must be float32, or float64 with float64 features");
  STD_TORCH_CHECK(levels == strides && levels > 0, "pyramid_roi_align: needs one stride for each level");
  STD_TORCH_CHECK(levels <= kMostLevels, "pyramid_roi_align: the GPU takes at most ", kMostLevels, " levels");
}

template <typename F, typename T>
void add_level(Levels<F, T>& levels, const Tensor& tensor, F* data, double stride) {
  levels.level[levels.count] = {data,
                                tensor.size(2),
                                tensor.size(3),
                                tensor.stride(0),
                                tensor.stride(1),
                                tensor.stride(2),
                                tensor.stride(3)};
  levels.scale[levels.count++] = static_cast<T>(1.0 / stride);
}

template <typename F, typename T, int N>
void launch_pooling(
    const Levels<const F, T>& levels, const Pooling<T>& pooling, const Tensor& rois, bool channels_last,
    int64_t channels, Tensor& output, cudaStream_t stream) {
  const int64_t count = output.numel() / N;
  pool_bins<F, T, N><<<block_count(divide_up(count, kThreads)), kThreads, 0, stream>>>(
      levels, pooling, rois.const_data_ptr<T>(), rois.size(1), channels, channels_last, count,
      static_cast<F*>(output.mutable_data_ptr()));
  check_launch("pyramid_roi_align");
}

template <typename F, typename T>
Tensor pool(
    const std::vector<Tensor>& features, const Tensor& rois, const std::vector<double>& strides,
    const Pooling<T>& pooling, bool channels_last) {
  check_rois(rois, sizeof(T) == 8 ? ScalarType::Double : ScalarType::Float, features.size(), strides.size());
  const CurrentStream stream(rois);
  const Tensor contiguous_rois = torch::stable::contiguous(rois);
  const int64_t batch = rois.size(0), count = rois.size(1), channels = features[0].size(1), size = pooling.output_size;
  Levels<const F, T> levels{};
  bool vectors = channels_last;
  for (size_t i = 0; i < features.size(); ++i) {
    const Tensor& level = features[i];
    STD_TORCH_CHECK(
        level.dim() == 4 && level.size(0) == batch && level.size(1) == channels && level.size(2) > 0 &&
            level.size(3) > 0,
        "pyramid_roi_align: features must be (B, C, H, W), equal in B and C");
    STD_TORCH_CHECK(
        on_device_of(level, rois) && level.scalar_type() == features[0].scalar_type(),
        "pyramid_roi_align: features must be on the GPU of the rois and of one dtype");
    const F* data = static_cast<const F*>(level.const_data_ptr());
    add_level(levels, level, data, strides[i]);
    vectors = vectors && has_whole_vectors<F>(
                             data, channels, level.stride(1), {level.stride(0), level.stride(2), level.stride(3)});
  }
  Tensor output = new_bins(features[0], batch, count, channels, size, channels_last, features[0].scalar_type());
  if (output.numel() > 0) {
    if (vectors) {
      launch_pooling<F, T, kVector<F>>(levels, pooling, contiguous_rois, channels_last, channels, output, stream);
    } else {
      launch_pooling<F, T, 1>(levels, pooling, contiguous_rois, channels_last, channels, output, stream);
    }
  }
  return output;
}

Tensor pyramid_roi_align(
    const std::vector<Tensor>& features, const Tensor& rois, int64_t output_size, const std::vector<double>& strides,
    int64_t sampling_ratio, bool aligned, double finest_size, bool channels_last) {
  STD_TORCH_CHECK(!features.empty(), "pyramid_roi_align: needs at least one level");
  check_pooling_settings(output_size, sampling_ratio);
  return with_feature_types(features[0].scalar_type(), "pyramid_roi_align: features", [&](auto types) {
    using Types = decltype(types);
    using T = typename Types::Sum;
    const Pooling<T> pooling{output_size, sampling_ratio, aligned, static_cast<T>(finest_size)};
    return pool<typename Types::Feature>(features, rois, strides, pooling, channels_last);
  });
}

template <typename F, typename T>
std::vector<Tensor> spread(
    const Tensor& gradient, const Tensor& rois, const std::vector<int64_t>& heights,
    const std::vector<int64_t>& widths, const std::vector<double>& strides, const Pooling<T>& pooling,
    bool channels_last) {
  check_rois(rois, sizeof(T) == 8 ? ScalarType::Double : ScalarType::Float, heights.size(), strides.size());
  const CurrentStream stream(rois);
  const Tensor contiguous_rois = torch::stable::contiguous(rois);
  const int64_t batch = rois.size(0), channels = gradient.size(2);
  Levels<F, T> levels{};
  std::vector<Tensor> result;
  int64_t tiles = 0;
  for (size_t i = 0; i < heights.size(); ++i) {
    STD_TORCH_CHECK(heights[i] > 0 && widths[i] > 0, "pyramid_roi_align: levels must not be empty");
    Tensor level =
        new_maps(gradient, batch, channels, heights[i], widths[i], channels_last, gradient.scalar_type());
    add_level(levels, level, static_cast<F*>(level.mutable_data_ptr()), strides[i]);
    tiles += tiles_along(heights[i]) * tiles_along(widths[i]);
    result.push_back(level);
  }

  const F* data = static_cast<const F*>(gradient.const_data_ptr());
  const Incoming<F> incoming{data,
                             gradient.stride(0),
                             gradient.stride(1),
                             gradient.stride(2),
                             gradient.stride(3),
                             gradient.stride(4)};
  const bool vectors =
      channels_last &&
      has_whole_vectors<F>(
          data, channels, incoming.channel_stride,
          {incoming.image_stride, incoming.roi_stride, incoming.row_stride, incoming.column_stride});
  const int64_t blocks = batch * tiles * divide_up(channels, kWarp * kVector<F>);
  if (blocks > 0) {
    const dim3 threads(kWarp, kTile);
    if (vectors) {
      collect_gradients<F, T, kVector<F>, true><<<block_count(blocks), threads, 0, stream>>>(
          levels, pooling, contiguous_rois.template const_data_ptr<T>(), rois.size(1), incoming, channels);
    } else {
      collect_gradients<F, T, kVector<F>, false><<<block_count(blocks), threads, 0, stream>>>(
          levels, pooling, contiguous_rois.template const_data_ptr<T>(), rois.size(1), incoming, channels);
    }
    check_launch("pyramid_roi_align_backward");
  }
  return result;
}

std::vector<Tensor> pyramid_roi_align_backward(
    const Tensor& gradient, const Tensor& rois, const std::vector<int64_t>& heights,
    const std::vector<int64_t>& widths, int64_t output_size, const std::vector<double>& strides,
    int64_t sampling_ratio, bool aligned, double finest_size, bool channels_last) {
  STD_TORCH_CHECK(
      on_device_of(gradient, rois) && gradient.dim() == 5 && gradient.size(0) == rois.size(0) &&
          gradient.size(1) == rois.size(1) && gradient.size(3) == output_size && gradient.size(4) == output_size,
      "pyramid_roi_align_backward: gradient must be (B, R, C, S, S), on the GPU of the rois");
  STD_TORCH_CHECK(
      heights.size() == widths.size(), "pyramid_roi_align_backward: needs height, width and stride of each level");
  check_pooling_settings(output_size, sampling_ratio);
  return with_feature_types(gradient.scalar_type(), "pyramid_roi_align_backward: gradient", [&](auto types) {
    using Types = decltype(types);
    using T = typename Types::Sum;
    const Pooling<T> pooling{output_size, sampling_ratio, aligned, static_cast<T>(finest_size)};
    return spread<typename Types::Feature>(gradient, rois, heights, widths, strides, pooling, channels_last);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CUDA, m) {
  m.impl("pyramid_roi_align", TORCH_BOX(&pyramid_roi_align));
  m.impl("pyramid_roi_align_backward", TORCH_BOX(&pyramid_roi_align_backward));
}

}  // namespace maskrcnn
