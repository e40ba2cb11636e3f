// The launches of csrc/pyramid_roi_align/cuda.cu, on the emulator.

#include "emulator/emulator.h"
#include "pyramid_roi_align/kernel.cuh"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

namespace {

using namespace maskrcnn;

// What the caller says about a level: height, width, and the strides of images, channels, rows and columns.
constexpr int64_t kNumbersPerLevel = 6;

template <typename F, typename T, typename Data>
Levels<F, T> levels_of(Data* const* data, const int64_t* numbers, const double* strides, int64_t count) {
  Levels<F, T> levels{};
  for (; levels.count < count; ++levels.count, numbers += kNumbersPerLevel) {
    levels.level[levels.count] = {
        static_cast<F*>(data[levels.count]), numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]};
    levels.scale[levels.count] = static_cast<T>(1.0 / strides[levels.count]);
  }
  return levels;
}

template <typename F, typename T, int N>
void pool(
    const void* const* data, const int64_t* numbers, const double* strides, int64_t level_count, const T* rois,
    int64_t batch, int64_t rois_per_image, int64_t channels, int64_t size, int64_t sampling_ratio, bool aligned,
    double finest_size, bool channels_last, F* output, unsigned threads) {
  const auto levels = levels_of<const F, T>(data, numbers, strides, level_count);
  const Pooling<T> pooling{size, sampling_ratio, aligned, static_cast<T>(finest_size)};
  const int64_t count = batch * rois_per_image * channels * size * size / N;
  emulator::launch(
      static_cast<unsigned>((count + threads - 1) / threads), threads, pool_bins<F, T, N>, levels, pooling, rois,
      rois_per_image, channels, channels_last, count, output);
}

template <typename F, typename T, bool Vectorised>
void collect(
    void* const* data, const int64_t* numbers, const double* strides, int64_t level_count, const T* rois,
    int64_t batch, int64_t rois_per_image, int64_t channels, int64_t size, int64_t sampling_ratio, bool aligned,
    double finest_size, const F* incoming, const int64_t* incoming_strides, unsigned lanes) {
  const auto levels = levels_of<F, T>(data, numbers, strides, level_count);
  const Pooling<T> pooling{size, sampling_ratio, aligned, static_cast<T>(finest_size)};
  const Incoming<F> gradient{
      incoming,           incoming_strides[0], incoming_strides[1], incoming_strides[2],
      incoming_strides[3], incoming_strides[4]};
  const int64_t per_block = lanes * kVector<F>;
  int64_t tiles = 0;
  for (int i = 0; i < levels.count; ++i) {
    tiles += tiles_along(levels.level[i].height) * tiles_along(levels.level[i].width);
  }
  emulator::launch(
      static_cast<unsigned>(batch * tiles * ((channels + per_block - 1) / per_block)), dim3(lanes, kTile),
      collect_gradients<F, T, kVector<F>, Vectorised>, levels, pooling, rois, rois_per_image, gradient, channels);
}

}  // namespace

#define FOR_DTYPE(name, F, T)                                                                                       \
  extern "C" void pool_##name(                                                                                      \
      const void* const* data, const int64_t* numbers, const double* strides, int64_t level_count, const T* rois,   \
      int64_t batch, int64_t rois_per_image, int64_t channels, int64_t size, int64_t sampling_ratio, bool aligned,  \
      double finest_size, bool channels_last, F* output, unsigned threads, bool vectorised) {                       \
    (vectorised ? pool<F, T, kVector<F>> : pool<F, T, 1>)(                                                          \
        data, numbers, strides, level_count, rois, batch, rois_per_image, channels, size, sampling_ratio, aligned,  \
        finest_size, channels_last, output, threads);                                                               \
  }                                                                                                                 \
  extern "C" void collect_##name(                                                                                   \
      void* const* data, const int64_t* numbers, const double* strides, int64_t level_count, const T* rois,         \
      int64_t batch, int64_t rois_per_image, int64_t channels, int64_t size, int64_t sampling_ratio, bool aligned,  \
      double finest_size, const F* incoming, const int64_t* incoming_strides, unsigned lanes, bool vectorised) {    \
    (vectorised ? collect<F, T, true> : collect<F, T, false>)(                                                      \
        data, numbers, strides, level_count, rois, batch, rois_per_image, channels, size, sampling_ratio, aligned,  \
        finest_size, incoming, incoming_strides, lanes);                                                            \
  }

FOR_DTYPE(float, float, float)
FOR_DTYPE(double, double, double)
FOR_DTYPE(half, c10::Half, float)
FOR_DTYPE(bfloat16, c10::BFloat16, float)
