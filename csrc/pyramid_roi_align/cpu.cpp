// RoIAlign over a pyramid on the CPU, forward and backward.
//
// A bin is a sum over its taps in y and its taps in x (`cpu_pyramid.h`). With channels-last features a tap is a whole
// row of channels, and the innermost loop runs over contiguous memory.
//
// Forward, the RoIs are divided among the threads. Backward, RoIs overlap, so the images and blocks of channels are
// divided instead: no two threads write to one place, and the order of the sums does not depend on the threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../floating_point.h"
#include "../memory_layout.h"
#include "arguments.h"
#include "cpu_pyramid.h"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The innermost loop of everything that is channels-last: out[c] += weight * in[c]. It stands alone because
// target_clones needs functions that are no templates, and because compilers vectorise it without fail like this.
#define MASKRCNN_ADD_SCALED(Out, In)                                                                                \
  MASKRCNN_TARGET_CLONES void add_scaled(Out* __restrict out, const In* __restrict in, Out weight, int64_t count) { \
    for (int64_t c = 0; c < count; ++c) {                                                                           \
      out[c] += weight * static_cast<Out>(in[c]);                                                                   \
    }                                                                                                               \
  }
MASKRCNN_ADD_SCALED(float, float)
MASKRCNN_ADD_SCALED(double, double)
MASKRCNN_ADD_SCALED(float, c10::BFloat16)
MASKRCNN_ADD_SCALED(float, c10::Half)
#undef MASKRCNN_ADD_SCALED

// One RoI, channels-last: out (S, S, C). `sum` has room for C values.
template <typename F, typename T>
void pool_roi(
    const F* features, const Taps<T>& rows, const Taps<T>& columns, int64_t output_size, int64_t channels, T* sum,
    F* out) {
  for (int64_t bin_row = 0; bin_row < output_size; ++bin_row) {
    for (int64_t bin_column = 0; bin_column < output_size; ++bin_column) {
      std::fill_n(sum, channels, T(0));
      for (int64_t y = rows.first[bin_row]; y < rows.first[bin_row + 1]; ++y) {
        for (int64_t x = columns.first[bin_column]; x < columns.first[bin_column + 1]; ++x) {
          add_scaled(
              sum, features + rows.offset[y] + columns.offset[x], rows.weight[y] * columns.weight[x], channels);
        }
      }
      out = std::transform(sum, sum + channels, out, [](T value) { return static_cast<F>(value); });
    }
  }
}

// The reverse: bins (S, S, C) are added to the gradient of the features.
template <typename T>
void spread_roi(
    T* gradient, const Taps<T>& rows, const Taps<T>& columns, int64_t output_size, int64_t channels, const T* bins) {
  for (int64_t bin_row = 0; bin_row < output_size; ++bin_row) {
    for (int64_t bin_column = 0; bin_column < output_size; ++bin_column, bins += channels) {
      for (int64_t y = rows.first[bin_row]; y < rows.first[bin_row + 1]; ++y) {
        for (int64_t x = columns.first[bin_column]; x < columns.first[bin_column + 1]; ++x) {
          add_scaled(
              gradient + rows.offset[y] + columns.offset[x], bins, rows.weight[y] * columns.weight[x], channels);
        }
      }
    }
  }
}

// One RoI in any other layout, a channel at a time; strides in elements.
template <typename F, typename T>
void pool_roi_strided(
    const Level<const F>& level, const F* image, const Taps<T>& rows, const Taps<T>& columns, int64_t output_size,
    int64_t channels, F* out, int64_t out_channel_stride, int64_t out_bin_stride) {
  for (int64_t c = 0; c < channels; ++c) {
    const F* features = image + c * level.channel_stride;
    F* bin = out + c * out_channel_stride;
    for (int64_t bin_row = 0; bin_row < output_size; ++bin_row) {
      for (int64_t bin_column = 0; bin_column < output_size; ++bin_column, bin += out_bin_stride) {
        T sum = 0;
        for (int64_t y = rows.first[bin_row]; y < rows.first[bin_row + 1]; ++y) {
          for (int64_t x = columns.first[bin_column]; x < columns.first[bin_column + 1]; ++x) {
            sum += rows.weight[y] * columns.weight[x] * static_cast<T>(features[rows.offset[y] + columns.offset[x]]);
          }
        }
        *bin = static_cast<F>(sum);
      }
    }
  }
}

// The reverse of `pool_roi_strided`, for bins (S, S, C) like in `spread_roi`.
template <typename T>
void spread_roi_strided(
    const Level<T>& level, T* gradient, const Taps<T>& rows, const Taps<T>& columns, int64_t output_size,
    int64_t channels, const T* bins) {
  for (int64_t c = 0; c < channels; ++c) {
    T* plane = gradient + c * level.channel_stride;
    const T* bin = bins + c;
    for (int64_t bin_row = 0; bin_row < output_size; ++bin_row) {
      for (int64_t bin_column = 0; bin_column < output_size; ++bin_column, bin += channels) {
        for (int64_t y = rows.first[bin_row]; y < rows.first[bin_row + 1]; ++y) {
          for (int64_t x = columns.first[bin_column]; x < columns.first[bin_column + 1]; ++x) {
            plane[rows.offset[y] + columns.offset[x]] += rows.weight[y] * columns.weight[x] * *bin;
          }
        }
      }
    }
  }
}

template <typename F, typename T>
void pool_all(const Pyramid<const F, T>& pyramid, int64_t rois_per_image, Tensor& output, bool channels_last) {
  const int64_t size = pyramid.pooling.output_size;
  const int64_t count = output.size(0) * output.size(1), channels = output.size(2);
  F* out = static_cast<F*>(output.mutable_data_ptr());

  // All memory is allocated here: an exception inside parallel_for would lose its text.
  const int64_t workers = std::min<int64_t>(count, torch::stable::get_num_threads());
  std::vector<Taps<T>> rows(workers, Taps<T>(pyramid.pooling, pyramid.largest_height));
  std::vector<Taps<T>> columns(workers, Taps<T>(pyramid.pooling, pyramid.largest_width));
  std::vector<T> sums(workers * channels);
  const std::vector<int64_t> order = pyramid.nearby_order(output.size(0), rois_per_image);

  torch::stable::parallel_for(0, workers, 1, [&](int64_t first, int64_t last) {
    for (int64_t worker = first; worker < last; ++worker) {
      for (int64_t position = worker * count / workers; position < (worker + 1) * count / workers; ++position) {
        const int64_t roi = order[position];
        const Level<const F>& level = pyramid.locate(roi, rows[worker], columns[worker]);
        const F* image = level.data + (roi / rois_per_image) * level.image_stride;
        F* roi_out = out + roi * channels * size * size;
        if (channels_last && level.channel_stride == 1) {
          pool_roi(
              image, rows[worker], columns[worker], size, channels, sums.data() + worker * channels, roi_out);
        } else {
          pool_roi_strided(
              level, image, rows[worker], columns[worker], size, channels, roi_out, channels_last ? 1 : size * size,
              channels_last ? channels : 1);
        }
      }
    }
  });
}

template <typename F, typename T>
void spread_all(const Pyramid<T, T>& pyramid, const Tensor& gradient) {
  const int64_t size = pyramid.pooling.output_size;
  const int64_t batch = gradient.size(0), rois_per_image = gradient.size(1), channels = gradient.size(2);
  const F* incoming = static_cast<const F*>(gradient.const_data_ptr());
  const int64_t image_stride = gradient.stride(0), roi_stride = gradient.stride(1), channel_stride = gradient.stride(2);
  const int64_t row_stride = gradient.stride(3), column_stride = gradient.stride(4);

  // Two tasks per thread, for balance, but no block of channels smaller than a cache line.
  const int64_t blocks_wanted = (2 * static_cast<int64_t>(torch::stable::get_num_threads()) + batch - 1) / batch;
  const int64_t block = (channels + 16 * blocks_wanted - 1) / (16 * blocks_wanted) * 16;
  const int64_t blocks = (channels + block - 1) / block;
  const int64_t tasks = batch * blocks;
  std::vector<Taps<T>> rows(tasks, Taps<T>(pyramid.pooling, pyramid.largest_height));
  std::vector<Taps<T>> columns(tasks, Taps<T>(pyramid.pooling, pyramid.largest_width));
  const std::vector<int64_t> order = pyramid.nearby_order(batch, rois_per_image);
  std::vector<T> all_bins(tasks * size * size * block);

  torch::stable::parallel_for(0, tasks, 1, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) {
      const int64_t image = task / blocks, first_channel = task % blocks * block;
      const int64_t width = std::min(block, channels - first_channel);
      T* bins = all_bins.data() + task * size * size * block;
      for (int64_t position = image * rois_per_image; position < (image + 1) * rois_per_image; ++position) {
        const int64_t roi = order[position] - image * rois_per_image;
        const Level<T>& level = pyramid.locate(order[position], rows[task], columns[task]);
        const F* source = incoming + image * image_stride + roi * roi_stride + first_channel * channel_stride;
        for (int64_t y = 0; y < size; ++y) {
          for (int64_t x = 0; x < size; ++x) {
            for (int64_t c = 0; c < width; ++c) {
              bins[(y * size + x) * width + c] =
                  static_cast<T>(source[y * row_stride + x * column_stride + c * channel_stride]);
            }
          }
        }
        T* target = level.data + image * level.image_stride + first_channel * level.channel_stride;
        if (level.channel_stride == 1) {
          spread_roi(target, rows[task], columns[task], size, width, bins);
        } else {
          spread_roi_strided(level, target, rows[task], columns[task], size, width, bins);
        }
      }
    }
  });
}

void check_rois(const Tensor& rois, ScalarType sum_type) {
  STD_TORCH_CHECK(rois.dim() == 3 && rois.size(2) == 4, "pyramid_roi_align: rois must be (B, R, 4)");
  STD_TORCH_CHECK(rois.is_cpu(), "pyramid_roi_align: rois must be on the CPU");
  STD_TORCH_CHECK(
      rois.scalar_type() == sum_type, "pyramid_roi_align: rois must be float32, or float64 with float64 features");
}

template <typename F, typename T>
Tensor pool(
    const std::vector<Tensor>& features, const Tensor& rois, const std::vector<double>& strides,
    const Pooling<T>& pooling, bool channels_last) {
  check_rois(rois, sizeof(T) == 8 ? ScalarType::Double : ScalarType::Float);
  const Tensor contiguous_rois = torch::stable::contiguous(rois);
  const int64_t batch = rois.size(0), count = rois.size(1), channels = features[0].size(1), size = pooling.output_size;
  Pyramid<const F, T> pyramid{{}, {}, pooling, contiguous_rois.template const_data_ptr<T>()};
  for (size_t i = 0; i < features.size(); ++i) {
    const Tensor& level = features[i];
    STD_TORCH_CHECK(
        level.dim() == 4 && level.size(0) == batch && level.size(1) == channels && level.size(2) > 0 &&
            level.size(3) > 0,
        "pyramid_roi_align: features must be (B, C, H, W), equal in B and C");
    STD_TORCH_CHECK(
        level.is_cpu() && level.scalar_type() == features[0].scalar_type(),
        "pyramid_roi_align: features must be on the CPU and of one dtype");
    pyramid.add(level, static_cast<const F*>(level.const_data_ptr()), strides[i]);
  }
  Tensor output = new_bins(features[0], batch, count, channels, size, channels_last, features[0].scalar_type());
  if (output.numel() > 0) {
    pool_all<F, T>(pyramid, count, output, channels_last);
  }
  return output;
}

Tensor pyramid_roi_align(
    const std::vector<Tensor>& features, const Tensor& rois, int64_t output_size, const std::vector<double>& strides,
    int64_t sampling_ratio, bool aligned, double finest_size, bool channels_last) {
  STD_TORCH_CHECK(
      !features.empty() && features.size() == strides.size(), "pyramid_roi_align: needs one stride for each level");
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
  check_rois(rois, sizeof(T) == 8 ? ScalarType::Double : ScalarType::Float);
  const Tensor contiguous_rois = torch::stable::contiguous(rois);
  Pyramid<T, T> pyramid{{}, {}, pooling, contiguous_rois.template const_data_ptr<T>()};
  std::vector<Tensor> result;
  for (size_t i = 0; i < heights.size(); ++i) {
    STD_TORCH_CHECK(heights[i] > 0 && widths[i] > 0, "pyramid_roi_align: levels must not be empty");
    const int64_t batch = rois.size(0), channels = gradient.size(2);
    Tensor level = new_maps(rois, batch, channels, heights[i], widths[i], channels_last, rois.scalar_type());
    torch::stable::zero_(level);
    pyramid.add(level, level.mutable_data_ptr<T>(), strides[i]);
    result.push_back(level);
  }
  if (gradient.numel() > 0) {
    spread_all<F, T>(pyramid, gradient);
  }
  for (Tensor& level : result) {
    level = torch::stable::to(level, gradient.scalar_type());
  }
  return result;
}

std::vector<Tensor> pyramid_roi_align_backward(
    const Tensor& gradient, const Tensor& rois, const std::vector<int64_t>& heights,
    const std::vector<int64_t>& widths, int64_t output_size, const std::vector<double>& strides,
    int64_t sampling_ratio, bool aligned, double finest_size, bool channels_last) {
  STD_TORCH_CHECK(
      gradient.is_cpu() && gradient.dim() == 5 && rois.dim() == 3 && gradient.size(0) == rois.size(0) &&
          gradient.size(1) == rois.size(1) && gradient.size(3) == output_size && gradient.size(4) == output_size,
      "pyramid_roi_align_backward: gradient must be (B, R, C, S, S), on the CPU");
  STD_TORCH_CHECK(
      heights.size() == strides.size() && widths.size() == strides.size(),
      "pyramid_roi_align_backward: needs height, width and stride of each level");
  check_pooling_settings(output_size, sampling_ratio);
  return with_feature_types(gradient.scalar_type(), "pyramid_roi_align_backward: gradient", [&](auto types) {
    using Types = decltype(types);
    using T = typename Types::Sum;
    const Pooling<T> pooling{output_size, sampling_ratio, aligned, static_cast<T>(finest_size)};
    return spread<typename Types::Feature>(gradient, rois, heights, widths, strides, pooling, channels_last);
  });
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, m) {
  m.impl("pyramid_roi_align", TORCH_BOX(&pyramid_roi_align));
  m.impl("pyramid_roi_align_backward", TORCH_BOX(&pyramid_roi_align_backward));
}

}  // namespace maskrcnn
