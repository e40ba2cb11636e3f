// RoIPool on the CPU, forward and backward.
//
// Forward, the RoIs are divided among the threads; with channels-last features the innermost loop runs over contiguous
// channels. Backward, bins share pixels, so the images and blocks of channels are divided instead: no two threads write
// to one place, and the order of the sums does not depend on the threads.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <tuple>

#include "../floating_point.h"
#include "../memory_layout.h"
#include "arguments.h"
#include "roi_pool.h"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The innermost loop of everything that is channels-last: the larger of two values of each channel, and its pixel. It
// stands alone because target_clones needs functions that are no templates.
#define MASKRCNN_KEEP_LARGER(F, T)                                                                        \
  MASKRCNN_TARGET_CLONES void keep_larger(                                                                \
      F* __restrict largest, int32_t* __restrict which, const F* __restrict values, int32_t pixel, int64_t count) { \
    for (int64_t c = 0; c < count; ++c) {                                                                 \
      const bool larger = is_larger(static_cast<T>(values[c]), static_cast<T>(largest[c]));               \
      largest[c] = larger ? values[c] : largest[c];                                                       \
      which[c] = larger ? pixel : which[c];                                                               \
    }                                                                                                     \
  }
MASKRCNN_KEEP_LARGER(float, float)
MASKRCNN_KEEP_LARGER(double, double)
MASKRCNN_KEEP_LARGER(c10::BFloat16, float)
MASKRCNN_KEEP_LARGER(c10::Half, float)
#undef MASKRCNN_KEEP_LARGER

// The features of one image; strides in elements.
template <typename F>
struct Image {
  const F* data;
  int64_t height, width, channels;
  int64_t channel_stride, row_stride, column_stride;
};

// One bin with its C channels side by side, in the features and in the result.
template <typename F>
void pool_bin(const Image<F>& image, PixelRange rows, PixelRange columns, F* out, int32_t* which) {
  bool any = false;
  for (int64_t y = rows.first; y < rows.last; ++y) {
    for (int64_t x = columns.first; x < columns.last; ++x, any = true) {
      const F* values = image.data + y * image.row_stride + x * image.column_stride;
      const int32_t pixel = static_cast<int32_t>(y * image.width + x);
      if (any) {
        keep_larger(out, which, values, pixel, image.channels);
      } else {
        std::copy_n(values, image.channels, out);
        std::fill_n(which, image.channels, pixel);
      }
    }
  }
  if (!any) {
    std::fill_n(out, image.channels, static_cast<F>(0.0f));
    std::fill_n(which, image.channels, -1);
  }
}

// One bin in any other layout, a channel at a time; out_stride is that of the channels in the result.
template <typename F, typename T>
void pool_bin_strided(
    const Image<F>& image, PixelRange rows, PixelRange columns, F* out, int32_t* which, int64_t out_stride) {
  for (int64_t c = 0; c < image.channels; ++c) {
    const F* plane = image.data + c * image.channel_stride;
    T largest = T(0);
    int32_t pixel = -1;
    for (int64_t y = rows.first; y < rows.last; ++y) {
      for (int64_t x = columns.first; x < columns.last; ++x) {
        const T value = static_cast<T>(plane[y * image.row_stride + x * image.column_stride]);
        if (pixel < 0 || is_larger(value, largest)) {
          largest = value;
          pixel = static_cast<int32_t>(y * image.width + x);
        }
      }
    }
    out[c * out_stride] = static_cast<F>(largest);
    which[c * out_stride] = pixel;
  }
}

template <typename F, typename T>
void pool_all(
    const Tensor& feature, const Tensor& rois, int64_t size, T scale, bool channels_last, Tensor& pooled,
    Tensor& argmax) {
  const F* data = static_cast<const F*>(feature.const_data_ptr());
  const T* corners = rois.const_data_ptr<T>();
  F* all_out = static_cast<F*>(pooled.mutable_data_ptr());
  int32_t* all_which = argmax.mutable_data_ptr<int32_t>();
  const int64_t rois_per_image = rois.size(1), channels = feature.size(1), bins = size * size;
  const Image<F> first_image{data, feature.size(2), feature.size(3), channels,
                             feature.stride(1), feature.stride(2), feature.stride(3)};
  const int64_t image_stride = feature.stride(0);

  torch::stable::parallel_for(0, rois.size(0) * rois_per_image, 1, [&](int64_t first, int64_t last) {
    for (int64_t roi = first; roi < last; ++roi) {
      Image<F> image = first_image;
      image.data += roi / rois_per_image * image_stride;
      const T* box = corners + 4 * roi;
      const RoundedAxis<T> down = rounded_axis(box[1], box[3], scale, size);
      const RoundedAxis<T> across = rounded_axis(box[0], box[2], scale, size);
      for (int64_t bin = 0; bin < bins; ++bin) {
        const PixelRange rows = pixels_of_bin(down, bin / size, image.height);
        const PixelRange columns = pixels_of_bin(across, bin % size, image.width);
        const int64_t offset = roi * bins * channels + (channels_last ? bin * channels : bin);
        if (channels_last && image.channel_stride == 1) {
          pool_bin(image, rows, columns, all_out + offset, all_which + offset);
        } else {
          pool_bin_strided<F, T>(
              image, rows, columns, all_out + offset, all_which + offset, channels_last ? 1 : bins);
        }
      }
    }
  });
}

std::tuple<Tensor, Tensor> roi_pool(
    const Tensor& feature, const Tensor& rois, int64_t output_size, double stride, bool channels_last) {
  check_roi_pool_arguments(feature, rois, output_size);
  STD_TORCH_CHECK(feature.is_cpu() && rois.is_cpu(), "roi_pool: tensors must be on the CPU");

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
    using Types = decltype(types);
    using T = typename Types::Sum;
    const T scale = static_cast<T>(1.0 / stride);
    pool_all<typename Types::Feature, T>(feature, all_rois, output_size, scale, channels_last, pooled, argmax);
  });
  return std::make_tuple(pooled, argmax);
}

template <typename F, typename T>
void spread_all(const Tensor& gradient, const Tensor& argmax, bool channels_last, Tensor& result) {
  const F* incoming = static_cast<const F*>(gradient.const_data_ptr());
  const int32_t* which = argmax.const_data_ptr<int32_t>();
  T* out = result.mutable_data_ptr<T>();
  const int64_t batch = gradient.size(0), count = gradient.size(1), channels = gradient.size(2);
  const int64_t size = gradient.size(3), pixels = result.size(2) * result.size(3);
  const int64_t channel_stride = channels_last ? 1 : pixels, pixel_stride = channels_last ? channels : 1;
  constexpr int64_t kBlock = 16;  // of channels, a cache line
  const int64_t blocks = (channels + kBlock - 1) / kBlock;

  torch::stable::parallel_for(0, batch * blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t task = first; task < last; ++task) {
      const int64_t image = task / blocks, first_channel = task % blocks * kBlock;
      const int64_t last_channel = std::min(first_channel + kBlock, channels);
      T* target = out + image * channels * pixels;
      for (int64_t roi = 0; roi < count; ++roi) {
        for (int64_t bin = 0; bin < size * size; ++bin) {
          const int64_t y = bin / size, x = bin % size;
          const F* from = incoming + image * gradient.stride(0) + roi * gradient.stride(1) + y * gradient.stride(3) +
                          x * gradient.stride(4);
          const int32_t* largest = which + image * argmax.stride(0) + roi * argmax.stride(1) + y * argmax.stride(3) +
                                   x * argmax.stride(4);
          for (int64_t c = first_channel; c < last_channel; ++c) {
            const int64_t pixel = largest[c * argmax.stride(2)];
            if (pixel >= 0 && pixel < pixels) {  // an empty bin has -1
              target[pixel * pixel_stride + c * channel_stride] += static_cast<T>(from[c * gradient.stride(2)]);
            }
          }
        }
      }
    }
  });
}

Tensor roi_pool_backward(
    const Tensor& gradient, const Tensor& argmax, int64_t height, int64_t width, bool channels_last) {
  check_roi_pool_backward_arguments(gradient, argmax, height, width);
  STD_TORCH_CHECK(gradient.is_cpu() && argmax.is_cpu(), "roi_pool_backward: tensors must be on the CPU");

  const int64_t batch = gradient.size(0), channels = gradient.size(2);
  const ScalarType dtype = gradient.scalar_type();
  const ScalarType sum_type = dtype == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  Tensor result = new_maps(gradient, batch, channels, height, width, channels_last, sum_type);
  torch::stable::zero_(result);
  if (gradient.numel() == 0) {
    return result;
  }
  with_feature_types(dtype, "roi_pool_backward: gradient", [&](auto types) {
    using Types = decltype(types);
    spread_all<typename Types::Feature, typename Types::Sum>(gradient, argmax, channels_last, result);
  });
  return result;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, m) {
  m.impl("roi_pool", TORCH_BOX(&roi_pool));
  m.impl("roi_pool_backward", TORCH_BOX(&roi_pool_backward));
}

}  // namespace maskrcnn
