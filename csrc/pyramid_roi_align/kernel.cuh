// RoIAlign over a pyramid on the GPU, forward and backward, each one launch for all levels.
//
// Forward, a thread computes one bin of one RoI: of several channels at a time where they are neighbours in memory
// (channels-last), so that a warp reads whole vectors of channels; of one channel otherwise.
//
// Backward, adding each bin to the pixels it has read would need an atomic addition for every one of them: they would
// queue up where RoIs overlap, and sum in another order in every run. Instead each thread collects: a block of threads
// owns a tile of a level's pixels, finds the RoIs that reach it, and sums up what each of them contributes, in the
// order of the RoIs. Every pixel is written once, nothing has to be filled with zeros, and the bits are the same in
// every run, so there is no second, deterministic kernel. The price is that every block looks at all RoIs of its image.
#pragma once

#include <cstdint>

#include "../channels.h"
#include "pyramid_roi_align.h"

namespace maskrcnn {

constexpr int kThreads = 256;
constexpr int kMostLevels = 16;
constexpr int kTile = 8;            // backward: the pixels of a block, along a side
constexpr int kBins = 16;           // backward: bins along a side whose weights are held at a time
constexpr int kRoisPerRound = 256;  // backward: looked at together
constexpr int kWarp = 32;

// F: the type of the features, or of the gradient with respect to them; T: the type of the sums.
template <typename F, typename T>
struct Levels {
  Level<F> level[kMostLevels];
  T scale[kMostLevels];
  int count;
};

// A pixel that has no weight is not read: it must not turn the sum into NaN by being infinite.
template <int N, typename F, typename T>
__device__ inline void add_scaled(T* sum, const F* pixel, T weight) {
  if (weight != T(0)) {
    const Channels<F, N> channels = *reinterpret_cast<const Channels<F, N>*>(pixel);
    MASKRCNN_UNROLL
    for (int n = 0; n < N; ++n) {
      sum[n] += weight * static_cast<T>(channels.value[n]);
    }
  }
}

// A thread for each N channels of a bin, `count` in all; output (images, rois, size, size, channels) if channels_last,
// else (images, rois, channels, size, size). With N > 1 the channels of all levels are neighbours in memory.
template <typename F, typename T, int N>
__global__ void __launch_bounds__(kThreads) pool_bins(
    Levels<const F, T> levels, Pooling<T> pooling, const T* rois, int64_t rois_per_image, int64_t channels,
    bool channels_last, int64_t count, F* output) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index >= count) {
    return;
  }
  const int64_t size = pooling.output_size, groups = channels / N;
  const int64_t group = channels_last ? index % groups : index / (size * size) % groups;
  const int64_t bin = channels_last ? index / groups : index;  // and what comes before it, which % takes off
  const int64_t bin_row = bin / size % size, bin_column = bin % size, roi_index = index / (groups * size * size);

  const T* roi = rois + 4 * roi_index;
  const int64_t level_index = level_of_roi(roi, levels.count, pooling.finest_size);
  const Level<const F>& level = levels.level[level_index];
  const Axis<T> down(roi[1], roi[3], levels.scale[level_index], level.height, pooling);
  const Axis<T> across(roi[0], roi[2], levels.scale[level_index], level.width, pooling);
  const F* image = level.data + roi_index / rois_per_image * level.image_stride + group * N * level.channel_stride;

  T sum[N] = {};
  const T share = T(1) / (down.per_bin * across.per_bin);  // of one sample; infinite if there is none
  const T first_down = down.first_sample(bin_row), first_across = across.first_sample(bin_column);
  for (int64_t i = 0; i < down.visited && first_down + T(i) < down.per_bin; ++i) {
    const Neighbours<T> y = neighbours(down.position(bin_row, first_down + T(i)), down.extent);
    const F* low_row = image + y.low * level.row_stride;
    const F* high_row = image + y.high * level.row_stride;
    for (int64_t j = 0; j < across.visited && first_across + T(j) < across.per_bin; ++j) {
      const Neighbours<T> x = neighbours(across.position(bin_column, first_across + T(j)), across.extent);
      const int64_t low = x.low * level.column_stride, high = x.high * level.column_stride;
      add_scaled<N>(sum, low_row + low, y.low_weight * x.low_weight * share);
      add_scaled<N>(sum, low_row + high, y.low_weight * x.high_weight * share);
      add_scaled<N>(sum, high_row + low, y.high_weight * x.low_weight * share);
      add_scaled<N>(sum, high_row + high, y.high_weight * x.high_weight * share);
    }
  }
  Channels<F, N> result;
  MASKRCNN_UNROLL
  for (int n = 0; n < N; ++n) {
    result.value[n] = static_cast<F>(sum[n]);
  }
  *reinterpret_cast<Channels<F, N>*>(output + index * N) = result;
}

// The gradient of the output, (images, rois, channels, size, size) with strides in elements.
template <typename F>
struct Incoming {
  const F* data;
  int64_t image_stride, roi_stride, channel_stride, row_stride, column_stride;
};

MASKRCNN_HOST_DEVICE inline int64_t tiles_along(int64_t extent) {
  return (extent + kTile - 1) / kTile;
}

// For each image, tile of each level, and group of blockDim.x * N channels a block of (lanes, kTile) threads, in whole
// warps: a thread for N channels of one row of the tile. `levels` are the gradients to write, channels-last if
// Vectorised; then the channels of `incoming` are neighbours too, and their number is a multiple of N.
template <typename F, typename T, int N, bool Vectorised>
__global__ void __launch_bounds__(kThreads, 2) collect_gradients(
    Levels<F, T> levels, Pooling<T> pooling, const T* rois, int64_t rois_per_image, Incoming<F> incoming,
    int64_t channels) {
  __shared__ unsigned touching[kRoisPerRound / kWarp];  // a bit for each RoI of this round
  __shared__ T row_weights[kBins][kTile], column_weights[kBins][kTile];
  const int thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
  const int64_t size = pooling.output_size;

  const int64_t channel_blocks = (channels + blockDim.x * N - 1) / (blockDim.x * N);
  int64_t tiles_of_image = 0;
  for (int i = 0; i < levels.count; ++i) {
    tiles_of_image += tiles_along(levels.level[i].height) * tiles_along(levels.level[i].width);
  }
  const int64_t image = blockIdx.x / (channel_blocks * tiles_of_image);
  const int64_t first_channel = (blockIdx.x % channel_blocks * blockDim.x + threadIdx.x) * N;
  int64_t tile = blockIdx.x / channel_blocks % tiles_of_image;
  int level_index = 0;
  while (tile >= tiles_along(levels.level[level_index].height) * tiles_along(levels.level[level_index].width)) {
    tile -= tiles_along(levels.level[level_index].height) * tiles_along(levels.level[level_index].width);
    ++level_index;
  }
  const Level<F>& level = levels.level[level_index];
  const T scale = levels.scale[level_index];
  const int64_t top = tile / tiles_along(level.width) * kTile, left = tile % tiles_along(level.width) * kTile;
  const int64_t y = top + threadIdx.y;
  const bool works = y < level.height && first_channel < channels;

  T sums[kTile][N] = {};
  for (int64_t round = 0; round < rois_per_image; round += kRoisPerRound) {
    for (int word = thread / kWarp; word < kRoisPerRound / kWarp; word += threads / kWarp) {
      const int64_t number = round + word * kWarp + thread % kWarp;
      bool touches = false;
      if (number < rois_per_image) {
        const T* roi = rois + 4 * (image * rois_per_image + number);
        touches = level_of_roi(roi, levels.count, pooling.finest_size) == level_index &&
                  Axis<T>(roi[1], roi[3], scale, level.height, pooling).may_reach(top, top + kTile - 1, size) &&
                  Axis<T>(roi[0], roi[2], scale, level.width, pooling).may_reach(left, left + kTile - 1, size);
      }
      const unsigned votes = __ballot_sync(~0u, touches);
      if (thread % kWarp == 0) {
        touching[word] = votes;
      }
    }
    __syncthreads();

    for (int word = 0; word < kRoisPerRound / kWarp; ++word) {
      for (unsigned rest = touching[word]; rest != 0; rest &= rest - 1) {
        const int64_t number = round + word * kWarp + __ffs(rest) - 1;
        const T* roi = rois + 4 * (image * rois_per_image + number);
        const Axis<T> down(roi[1], roi[3], scale, level.height, pooling);
        const Axis<T> across(roi[0], roi[2], scale, level.width, pooling);
        const F* bins = incoming.data + image * incoming.image_stride + number * incoming.roi_stride +
                        first_channel * incoming.channel_stride;

        for (int64_t first_row = 0; first_row < size; first_row += kBins) {
          for (int64_t first_column = 0; first_column < size; first_column += kBins) {
            for (int entry = thread; entry < kBins * kTile; entry += threads) {
              const int bin = entry / kTile, pixel = entry % kTile;
              row_weights[bin][pixel] =
                  first_row + bin < size ? weight_of_pixel(down, first_row + bin, top + pixel) : T(0);
              column_weights[bin][pixel] =
                  first_column + bin < size ? weight_of_pixel(across, first_column + bin, left + pixel) : T(0);
            }
            __syncthreads();
            for (int i = 0; works && i < kBins; ++i) {
              const T row_weight = row_weights[i][threadIdx.y];
              if (row_weight == T(0)) {
                continue;
              }
              for (int j = 0; j < kBins; ++j) {
                T weights[kTile];
                bool any = false;
                MASKRCNN_UNROLL
                for (int x = 0; x < kTile; ++x) {
                  weights[x] = row_weight * column_weights[j][x];
                  any |= weights[x] != T(0);
                }
                if (!any) {
                  continue;
                }
                const F* bin =
                    bins + (first_row + i) * incoming.row_stride + (first_column + j) * incoming.column_stride;
                Channels<F, N> values;
                if (Vectorised) {
                  values = *reinterpret_cast<const Channels<F, N>*>(bin);
                } else {
                  MASKRCNN_UNROLL
                  for (int n = 0; n < N; ++n) {
                    values.value[n] = first_channel + n < channels ? bin[n * incoming.channel_stride] : F(0);
                  }
                }
                MASKRCNN_UNROLL
                for (int x = 0; x < kTile; ++x) {
                  if (weights[x] != T(0)) {
                    MASKRCNN_UNROLL
                    for (int n = 0; n < N; ++n) {
                      sums[x][n] += weights[x] * static_cast<T>(values.value[n]);
                    }
                  }
                }
              }
            }
            __syncthreads();  // before the next weights are written
          }
        }
      }
    }
    __syncthreads();  // before the next round's bits are written
  }

  if (!works) {
    return;
  }
  F* row = level.data + image * level.image_stride + y * level.row_stride + first_channel * level.channel_stride;
  MASKRCNN_UNROLL
  for (int x = 0; x < kTile; ++x) {
    if (left + x < level.width) {
      F* pixel = row + (left + x) * level.column_stride;
      if (Vectorised) {
        Channels<F, N> result;
        MASKRCNN_UNROLL
        for (int n = 0; n < N; ++n) {
          result.value[n] = static_cast<F>(sums[x][n]);
        }
        *reinterpret_cast<Channels<F, N>*>(pixel) = result;
      } else {
        MASKRCNN_UNROLL
        for (int n = 0; n < N; ++n) {
          if (first_channel + n < channels) {
            pixel[n * level.channel_stride] = static_cast<F>(sums[x][n]);
          }
        }
      }
    }
  }
}

}  // namespace maskrcnn
