// The launches of csrc/roi_pool/cuda.cu, on the emulator.

#include "emulator/emulator.h"
#include "roi_pool/kernel.cuh"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <vector>

namespace {

using namespace maskrcnn;

// `numbers` of the feature: height, width, and the strides of images, channels, rows and columns.
template <typename F, typename T, int N>
void pool(
    const F* feature, const int64_t* numbers, double stride, const T* rois, int64_t batch, int64_t rois_per_image,
    int64_t channels, int64_t size, bool channels_last, F* output, int32_t* argmax, unsigned threads) {
  const Feature<F> source{feature, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5]};
  const int64_t count = batch * rois_per_image * channels * size * size / N;
  emulator::launch(
      static_cast<unsigned>((count + threads - 1) / threads), threads, pool_each_bin<F, T, N>, source,
      static_cast<T>(1.0 / stride), rois, rois_per_image, channels, size, channels_last, count, output, argmax);
}

template <typename F>
Bins<F> bins_of(const F* data, const int64_t* strides) {
  return {data, strides[0], strides[1], strides[2], strides[3], strides[4]};
}

template <typename F, typename T>
void collect(
    const F* gradient, const int64_t* gradient_strides, const int32_t* argmax, const int64_t* argmax_strides,
    int64_t batch, int64_t rois_per_image, int64_t channels, int64_t size, int64_t height, int64_t width,
    bool channels_last, T* result, unsigned reach_threads, unsigned tiles_per_block) {
  const int64_t groups = channel_groups(channels), count = batch * groups * tiles_of_image(height, width);
  const auto maxima = bins_of(argmax, argmax_strides);
  std::vector<Reach> roi_reaches(batch * groups * rois_per_image), bin_reaches(roi_reaches.size() * size * size);
  if (rois_per_image > 0) {
    emulator::launch(
        static_cast<unsigned>(roi_reaches.size()), reach_threads, find_reaches, maxima, rois_per_image, channels, size,
        static_cast<int>(height), static_cast<int>(width), roi_reaches.data(), bin_reaches.data());
  }
  emulator::launch(
      static_cast<unsigned>((count + tiles_per_block - 1) / tiles_per_block), dim3(kWarp, tiles_per_block),
      collect_maxima<F, T>, bins_of(gradient, gradient_strides), maxima, roi_reaches.data(), bin_reaches.data(),
      rois_per_image, channels, size, static_cast<int>(height), static_cast<int>(width), channels_last, count, result);
}

}  // namespace

#define FOR_DTYPE(name, F, T)                                                                                         \
  extern "C" void roi_pool_##name(                                                                                    \
      const F* feature, const int64_t* numbers, double stride, const T* rois, int64_t batch, int64_t rois_per_image,  \
      int64_t channels, int64_t size, bool channels_last, F* output, int32_t* argmax, unsigned threads,               \
      bool vectorised) {                                                                                              \
    (vectorised ? pool<F, T, kVector<F>> : pool<F, T, 1>)(                                                            \
        feature, numbers, stride, rois, batch, rois_per_image, channels, size, channels_last, output, argmax,         \
        threads);                                                                                                     \
  }                                                                                                                   \
  extern "C" void roi_pool_backward_##name(                                                                           \
      const F* gradient, const int64_t* gradient_strides, const int32_t* argmax, const int64_t* argmax_strides,       \
      int64_t batch, int64_t rois_per_image, int64_t channels, int64_t size, int64_t height, int64_t width,           \
      bool channels_last, T* result, unsigned reach_threads, unsigned tiles_per_block) {                              \
    collect(                                                                                                          \
        gradient, gradient_strides, argmax, argmax_strides, batch, rois_per_image, channels, size, height, width,     \
        channels_last, result, reach_threads, tiles_per_block);                                                       \
  }

FOR_DTYPE(float, float, float)
FOR_DTYPE(double, double, double)
FOR_DTYPE(half, c10::Half, float)
FOR_DTYPE(bfloat16, c10::BFloat16, float)
