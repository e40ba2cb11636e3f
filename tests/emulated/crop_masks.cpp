// The launch of csrc/crop_masks/cuda.cu, on the emulator.

#include "emulator/emulator.h"
#include "crop_masks/kernel.cuh"

namespace {

using namespace maskrcnn;

template <typename T>
void crop_masks(
    const uint8_t* pixels, int64_t total, const int64_t* offsets, const int64_t* bitmap_boxes, const T* rois,
    const int64_t* image_sizes, int64_t batch, int64_t rois_per_image, int64_t size, bool binary, T* targets,
    unsigned threads) {
  const int64_t cells = batch * rois_per_image * size * size;
  emulator::launch(
      static_cast<unsigned>((cells + threads - 1) / threads), threads, crop_each_cell<T>, pixels, total, offsets,
      bitmap_boxes, rois, image_sizes, rois_per_image, size, binary, cells, targets);
}

}  // namespace

extern "C" void crop_masks_float(
    const uint8_t* pixels, int64_t total, const int64_t* offsets, const int64_t* bitmap_boxes, const float* rois,
    const int64_t* image_sizes, int64_t batch, int64_t rois_per_image, int64_t size, bool binary, float* targets,
    unsigned threads) {
  crop_masks(
      pixels, total, offsets, bitmap_boxes, rois, image_sizes, batch, rois_per_image, size, binary, targets, threads);
}

extern "C" void crop_masks_double(
    const uint8_t* pixels, int64_t total, const int64_t* offsets, const int64_t* bitmap_boxes, const double* rois,
    const int64_t* image_sizes, int64_t batch, int64_t rois_per_image, int64_t size, bool binary, double* targets,
    unsigned threads) {
  crop_masks(
      pixels, total, offsets, bitmap_boxes, rois, image_sizes, batch, rois_per_image, size, binary, targets, threads);
}
