// RoIPool on the GPU, forward and backward.
//
// Forward, a thread computes one bin of one RoI: of several channels at a time where they are neighbours in memory
// (channels-last), so that a warp reads whole vectors of channels; of one channel otherwise.
//
// Backward, adding the gradient of each bin to the pixel with its maximum would need atomic additions, which queue up
// where RoIs overlap, and sum in another order in every run. Instead each pixel collects, in the order of the RoIs and
// bins, like the C++ op and with the same bits. Two kernels do it:
//
// 1. `find_reaches`: the rectangle in which the maxima of a bin lie, and that of an RoI, for 32 channels at a time.
// 2. `collect_maxima`: a warp for each tile of pixels and 32 channels looks through the RoIs that reach the tile, and
//    in them through the bins that do. Every pixel is written once, and nothing has to be filled with zeros.
#pragma once

#include <climits>
#include <cstdint>

#include "../channels.h"
#include "roi_pool.h"

namespace maskrcnn {

constexpr int kThreads = 256;
constexpr int kReachThreads = 64;  // backward: of a block that looks at one RoI
constexpr int kWarp = 32;          // backward: the channels of a warp
constexpr int kTileHeight = 4, kTileWidth = 8;
constexpr int kTilesPerBlock = 4;
static_assert(kTileHeight * kTileWidth == kWarp, "a lane for each pixel, to write them");

// Strides in elements.
template <typename F>
struct Feature {
  const F* data;
  int64_t height, width;
  int64_t image_stride, channel_stride, row_stride, column_stride;
};

// A thread for each N channels of a bin, `count` in all; output and argmax (images, rois, size, size, channels) if
// channels_last, else (images, rois, channels, size, size). With N > 1 the channels are neighbours in the feature, too.
template <typename F, typename T, int N>
__global__ void __launch_bounds__(kThreads) pool_each_bin(
    Feature<F> feature, T scale, const T* rois, int64_t rois_per_image, int64_t channels, int64_t size,
    bool channels_last, int64_t count, F* output, int32_t* argmax) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= count) {
    return;
  }
  const int64_t groups = channels / N;
  const int64_t group = channels_last ? index % groups : index / (size * size) % groups;
  const int64_t bin = channels_last ? index / groups : index;  // and what comes before it, which % takes off
  const int64_t bin_row = bin / size % size, bin_column = bin % size, roi_index = index / (groups * size * size);

  const T* roi = rois + 4 * roi_index;
  const PixelRange rows = pixels_of_bin(rounded_axis(roi[1], roi[3], scale, size), bin_row, feature.height);
  const PixelRange columns = pixels_of_bin(rounded_axis(roi[0], roi[2], scale, size), bin_column, feature.width);
  const F* image =
      feature.data + roi_index / rois_per_image * feature.image_stride + group * N * feature.channel_stride;

  Channels<F, N> largest;
  Channels<int32_t, N> which;
  MASKRCNN_UNROLL
  for (int n = 0; n < N; ++n) {
    largest.value[n] = F(0.0f);
    which.value[n] = -1;
  }
  for (int64_t y = rows.first; y < rows.last; ++y) {
    for (int64_t x = columns.first; x < columns.last; ++x) {
      const Channels<F, N> values =
          *reinterpret_cast<const Channels<F, N>*>(image + y * feature.row_stride + x * feature.column_stride);
      const int32_t pixel = static_cast<int32_t>(y * feature.width + x);
      MASKRCNN_UNROLL
      for (int n = 0; n < N; ++n) {
        if (which.value[n] < 0 || is_larger(static_cast<T>(values.value[n]), static_cast<T>(largest.value[n]))) {
          largest.value[n] = values.value[n];
          which.value[n] = pixel;
        }
      }
    }
  }
  *reinterpret_cast<Channels<F, N>*>(output + index * N) = largest;
  *reinterpret_cast<Channels<int32_t, N>*>(argmax + index * N) = which;
}

// What the backward pass is given: (images, rois, channels, size, size) of gradients, or of numbers of pixels.
template <typename F>
struct Bins {
  const F* data;
  int64_t image_stride, roi_stride, channel_stride, row_stride, column_stride;

  __device__ F at(int64_t image, int64_t roi, int64_t channel, int64_t bin, int64_t size) const {
    return data
        [image * image_stride + roi * roi_stride + channel * channel_stride + bin / size * row_stride +
         bin % size * column_stride];
  }
};

// Pixels from row `top` to `bottom` and column `left` to `right`, all included.
struct alignas(16) Reach {
  int top, left, bottom, right;
};

constexpr Reach kNothing{INT_MAX, INT_MAX, -1, -1};

MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE Reach both(const Reach& a, const Reach& b) {
  return {
      a.top < b.top ? a.top : b.top, a.left < b.left ? a.left : b.left, a.bottom > b.bottom ? a.bottom : b.bottom,
      a.right > b.right ? a.right : b.right};
}

MASKRCNN_HOST_DEVICE MASKRCNN_ALWAYS_INLINE bool meet(const Reach& a, const Reach& b) {
  return a.top <= b.bottom && b.top <= a.bottom && a.left <= b.right && b.left <= a.right;
}

MASKRCNN_HOST_DEVICE inline int64_t channel_groups(int64_t channels) {
  return (channels + kWarp - 1) / kWarp;
}

// For each image, group of channels and RoI a block, of which each thread takes some bins.
// roi_reaches: (images, groups, rois); bin_reaches: (images, groups, rois, size * size).
__global__ void __launch_bounds__(kReachThreads) find_reaches(
    Bins<int32_t> argmax, int64_t rois_per_image, int64_t channels, int64_t size, int height, int width,
    Reach* roi_reaches, Reach* bin_reaches) {
  __shared__ Reach of_roi;
  const int64_t groups = channel_groups(channels), roi = blockIdx.x % rois_per_image;
  const int64_t group = blockIdx.x / rois_per_image % groups, image = blockIdx.x / (rois_per_image * groups);
  const int64_t first_channel = group * kWarp, bins = size * size;
  if (threadIdx.x == 0) {
    of_roi = kNothing;
  }
  __syncthreads();
  Reach of_bins = kNothing;
  for (int64_t bin = threadIdx.x; bin < bins; bin += blockDim.x) {
    Reach of_bin = kNothing;
    for (int64_t channel = first_channel; channel < first_channel + kWarp && channel < channels; ++channel) {
      const int pixel = argmax.at(image, roi, channel, bin, size);
      if (pixel >= 0 && pixel < height * width) {  // an empty bin has -1
        const int y = pixel / width, x = pixel % width;
        of_bin = both(of_bin, {y, x, y, x});
      }
    }
    bin_reaches[blockIdx.x * bins + bin] = of_bin;
    of_bins = both(of_bins, of_bin);
  }
  atomicMin(&of_roi.top, of_bins.top);
  atomicMin(&of_roi.left, of_bins.left);
  atomicMax(&of_roi.bottom, of_bins.bottom);
  atomicMax(&of_roi.right, of_bins.right);
  __syncthreads();
  if (threadIdx.x == 0) {
    roi_reaches[blockIdx.x] = of_roi;
  }
}

MASKRCNN_HOST_DEVICE inline int64_t tiles_of_image(int64_t height, int64_t width) {
  return ((height + kTileHeight - 1) / kTileHeight) * ((width + kTileWidth - 1) / kTileWidth);
}

// For each image, group of channels and tile a warp, `count` in all, in blocks of (kWarp, kTilesPerBlock) threads: a
// lane for each channel. result: (images, height, width, channels) if channels_last, else (images, channels, height,
// width).
template <typename F, typename T>
__global__ void __launch_bounds__(kWarp * kTilesPerBlock) collect_maxima(
    Bins<F> gradient, Bins<int32_t> argmax, const Reach* roi_reaches, const Reach* bin_reaches,
    int64_t rois_per_image, int64_t channels, int64_t size, int height, int width, bool channels_last, int64_t count,
    T* result) {
  __shared__ T sums[kTilesPerBlock][kWarp][kWarp + 1];  // of pixels and channels; a column more keeps the banks apart
  const int lane = threadIdx.x;
  const int64_t number = int64_t{blockIdx.x} * blockDim.y + threadIdx.y;
  const int64_t groups = channel_groups(channels), tiles = tiles_of_image(height, width), bins = size * size;
  const int64_t image = number / (tiles * groups), group = number / tiles % groups;
  const int tile = static_cast<int>(number % tiles), tiles_across = (width - 1) / kTileWidth + 1;
  const int top = tile / tiles_across * kTileHeight, left = tile % tiles_across * kTileWidth;
  const Reach own{top, left, top + (kTileHeight - 1), left + (kTileWidth - 1)};
  const int64_t channel = group * kWarp + lane;

  for (int pixel = 0; pixel < kWarp; ++pixel) {
    sums[threadIdx.y][pixel][lane] = T(0);
  }
  roi_reaches += (image * groups + group) * rois_per_image;
  bin_reaches += (image * groups + group) * rois_per_image * bins;
  for (int64_t first_roi = 0; first_roi < rois_per_image && number < count; first_roi += kWarp) {
    const int64_t own_roi = first_roi + lane;
    unsigned rois = __ballot_sync(~0u, own_roi < rois_per_image && meet(roi_reaches[own_roi], own));
    for (; rois != 0; rois &= rois - 1) {
      const int64_t roi = first_roi + __ffs(rois) - 1;
      for (int64_t first_bin = 0; first_bin < bins; first_bin += kWarp) {
        const int64_t own_bin = first_bin + lane;
        unsigned some = __ballot_sync(~0u, own_bin < bins && meet(bin_reaches[roi * bins + own_bin], own));
        for (; some != 0; some &= some - 1) {
          const int64_t bin = first_bin + __ffs(some) - 1;
          const int pixel = channel < channels ? argmax.at(image, roi, channel, bin, size) : -1;
          const int y = pixel / width - top, x = pixel % width - left;
          if (pixel >= 0 && y >= 0 && y < kTileHeight && x >= 0 && x < kTileWidth) {
            sums[threadIdx.y][y * kTileWidth + x][lane] +=
                static_cast<T>(gradient.at(image, roi, channel, bin, size));
          }
        }
      }
    }
  }
  __syncthreads();

  // What a lane has collected is one channel of all pixels; it writes what is side by side in memory.
  for (int i = 0; i < kWarp && number < count; ++i) {
    const int written = channels_last ? i : lane;
    const int y = top + written / kTileWidth, x = left + written % kTileWidth;
    const int64_t written_channel = group * kWarp + (channels_last ? lane : i);
    if (y < height && x < width && written_channel < channels) {
      const int64_t pixels = int64_t{height} * width, pixel = int64_t{y} * width + x;
      const int64_t place = channels_last ? (image * pixels + pixel) * channels + written_channel
                                          : (image * channels + written_channel) * pixels + pixel;
      result[place] = sums[threadIdx.y][written][channels_last ? lane : i];
    }
  }
}

}  // namespace maskrcnn
