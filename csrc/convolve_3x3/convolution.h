// What the loops of one instruction set get from cpu.cpp, and what they offer.
#pragma once

#include <cstdint>

#include "../portability.h"

namespace maskrcnn {

constexpr int kTile = 6;                // pixels of a tile, along a side
constexpr int kResult = 4;              // results of a tile, along a side
constexpr int kPlaces = kTile * kTile;  // products for a tile and a pair of channels

constexpr int64_t kTilesOfBlock = 24;  // worked on together: a multiple of the rows of every instruction set

// Between the numbers of two places lie some that are not used: at a distance of a power of two, all 36 would compete for
// the same lines of the cache.
constexpr int64_t kGap = 16;

// How far apart the weights of two places are, and the numbers of a block of tiles.
MASKRCNN_ALWAYS_INLINE int64_t weight_stride(int64_t in_channels, int64_t out_channels) {
  return in_channels * out_channels + kGap;
}
MASKRCNN_ALWAYS_INLINE int64_t tile_stride(int64_t channels) { return kTilesOfBlock * channels + kGap; }

// Floats that `convolve_block` needs to remember between its steps.
inline int64_t working_memory(int64_t in_channels, int64_t out_channels) {
  return kPlaces * (tile_stride(in_channels) + tile_stride(out_channels));
}

// Maps lie as (B, H, W, C), one after another, in float32 or bfloat16. Arithmetic is in float32.
struct Convolution {
  const void* input;
  void* output;
  bool is_bfloat16;
  const float* weights;  // from `transform_kernel`
  const float* bias;     // one for each channel of the output, or null
  int64_t batch, height, width, in_channels, out_channels;

  MASKRCNN_ALWAYS_INLINE int64_t tiles_down() const { return (height + 3) / 4; }
  MASKRCNN_ALWAYS_INLINE int64_t tiles_across() const { return (width + 3) / 4; }
  MASKRCNN_ALWAYS_INLINE int64_t tiles() const { return batch * tiles_down() * tiles_across(); }
  MASKRCNN_ALWAYS_INLINE int64_t blocks() const { return (tiles() + kTilesOfBlock - 1) / kTilesOfBlock; }
};

struct InstructionSet {
  int lanes;  // floats in a register; channels must be a multiple of it
  // The weights of input channel `i`, from a kernel (3, 3, I, O) to their place in 36 * weight_stride floats.
  void (*transform_kernel)(const float* kernel, int64_t i, int64_t in_channels, int64_t out_channels, float* weights);
  // The results of one block of tiles.
  void (*convolve_block)(const Convolution& convolution, int64_t block, float* memory);
};

// Null where the compiler or the processor does not know them.
const InstructionSet* avx512_instructions();
const InstructionSet* avx2_instructions();

}  // namespace maskrcnn
