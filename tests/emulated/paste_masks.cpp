// The launch of csrc/paste_masks/cuda.cu, on the emulator.

#include "emulator/emulator.h"
#include "paste_masks/kernel.cuh"

namespace {

using namespace maskrcnn;

template <typename T>
void paste_masks(
    const T* masks, const T* boxes, int64_t count, int64_t cells, int64_t height, int64_t width, bool padded_resize,
    bool* pictures, unsigned threads) {
  emulator::launch(
      static_cast<unsigned>(count * blocks_per_picture(height, width, threads)), threads, paste_words<T>, masks, boxes,
      cells, height, width, padded_resize, pictures);
}

}  // namespace

extern "C" void paste_masks_float(
    const float* masks, const float* boxes, int64_t count, int64_t cells, int64_t height, int64_t width,
    bool padded_resize, bool* pictures, unsigned threads) {
  paste_masks(masks, boxes, count, cells, height, width, padded_resize, pictures, threads);
}

extern "C" void paste_masks_double(
    const double* masks, const double* boxes, int64_t count, int64_t cells, int64_t height, int64_t width,
    bool padded_resize, bool* pictures, unsigned threads) {
  paste_masks(masks, boxes, count, cells, height, width, padded_resize, pictures, threads);
}
