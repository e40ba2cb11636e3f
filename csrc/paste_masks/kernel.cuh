// Pasting on the GPU, which is bound by the bytes it writes: one for each pixel, and most pixels lie outside their box.
//
// A picture is contiguous, so it is written as a row of words of 16 bytes, whatever its width: a warp writes 512 bytes
// in a row. Only a word at the end of a picture that is not whole is written byte by byte. Four threads of a block find
// out which columns and rows lie inside the box; most words are outside, and need no more than a comparison with these.
#pragma once

#include <cstdint>

#include "paste_masks.h"

namespace maskrcnn {

constexpr int kThreads = 256;
constexpr int kPixels = 16;         // of a word
constexpr int kWordsPerThread = 8;  // so that the search for the box's borders is shared by many words

struct alignas(kPixels) Word {
  bool pixel[kPixels];
};

// For each picture so many blocks of `threads`, wherever in memory it begins.
MASKRCNN_HOST_DEVICE inline int64_t blocks_per_picture(int64_t height, int64_t width, int64_t threads) {
  const int64_t most_words = (height * width + kPixels - 1) / kPixels + 1, per_block = threads * kWordsPerThread;
  return (most_words + per_block - 1) / per_block;
}

// The first of `length` pixels whose position is `least` or further, or `length`.
template <typename T>
__device__ inline int64_t first_pixel_from(const MaskAxis<T>& axis, T least, int64_t length) {
  int64_t first = 0, end = axis.extent > T(0) ? length : 0;  // without an extent all pixels are outside
  while (first < end) {
    const int64_t middle = first + (end - first) / 2;
    if (position_in_cells(axis, middle) >= least) {
      end = middle;
    } else {
      first = middle + 1;
    }
  }
  return axis.extent > T(0) ? first : length;
}

// The mask's value at a row and a column of cells; the cells around it are empty.
template <typename T>
__device__ inline T cell(const T* mask, int64_t cells, int64_t row, int64_t column) {
  return row < 0 || row >= cells || column < 0 || column >= cells ? T(0) : mask[row * cells + column];
}

// In the order of the C++ op: first along the rows of cells, then between them.
template <typename T>
__device__ inline T probability(
    const T* mask, int64_t cells, const CellPosition<T>& row, const CellPosition<T>& column) {
  const T upper =
      blend(cell(mask, cells, row.cell, column.cell), cell(mask, cells, row.cell, column.cell + 1), column.part);
  const T lower = blend(
      cell(mask, cells, row.cell + 1, column.cell), cell(mask, cells, row.cell + 1, column.cell + 1), column.part);
  return blend(upper, lower, row.part);
}

// For each picture `blocks_per_picture` blocks; masks (pictures, cells, cells), boxes (pictures, 4) and the pictures
// (pictures, height, width).
template <typename T>
__global__ void __launch_bounds__(kThreads) paste_words(
    const T* masks, const T* boxes, int64_t cells, int64_t height, int64_t width, bool padded_resize, bool* pictures) {
  __shared__ int64_t borders[4];  // inside are columns [0] to [1] and rows [2] to [3], each without the latter
  const int64_t blocks = blocks_per_picture(height, width, blockDim.x), n = blockIdx.x / blocks;
  const T *mask = masks + n * cells * cells, *box = boxes + 4 * n;
  const MaskAxis<T> across = mask_axis(box[0], box[2], cells, padded_resize);
  const MaskAxis<T> down = mask_axis(box[1], box[3], cells, padded_resize);
  if (threadIdx.x < 4) {
    const MaskAxis<T> axis = threadIdx.x < 2 ? across : down;
    const T first = first_position(axis), end = first + static_cast<T>(cells) + T(1);
    borders[threadIdx.x] =
        first_pixel_from(axis, threadIdx.x % 2 == 0 ? first : end, threadIdx.x < 2 ? width : height);
  }
  __syncthreads();
  const int64_t left = borders[0], right = borders[1], top = borders[2], bottom = borders[3];

  const T least = least_probability<T>(padded_resize);
  const int64_t pixels = height * width;
  bool* picture = pictures + n * pixels;
  const int64_t before = static_cast<int64_t>(reinterpret_cast<uintptr_t>(picture) % kPixels);  // the picture's begin
  const int64_t first_word = blockIdx.x % blocks * blockDim.x * kWordsPerThread + threadIdx.x;
  for (int k = 0; k < kWordsPerThread; ++k) {
    const int64_t start = (first_word + k * int64_t{blockDim.x}) * kPixels - before;
    if (start >= pixels) {
      return;
    }
    // The first word may begin before the picture: with pixels of a row -1, which is outside like any other.
    int64_t y = start < 0 ? -1 : start / width, x = start - y * width;
    const int64_t last_row = x + kPixels <= width ? y : y + kPixels;  // or an earlier one
    Word word = {};
    if (last_row >= top && y < bottom && (last_row > y || (x + kPixels > left && x < right))) {
      CellPosition<T> row = cell_position(down, y);
      unsigned bits = 0;
      for (int i = 0; i < kPixels; ++i) {
        if (y >= top && y < bottom && x >= left && x < right &&
            probability(mask, cells, row, cell_position(across, x)) >= least) {
          bits |= 1u << i;
        }
        if (++x == width) {
          x = 0;
          row = cell_position(down, ++y);
        }
      }
      MASKRCNN_UNROLL
      for (int i = 0; i < kPixels; ++i) {
        word.pixel[i] = bits >> i & 1;
      }
    }
    if (start >= 0 && start + kPixels <= pixels) {
      *reinterpret_cast<Word*>(picture + start) = word;
    } else {
      MASKRCNN_UNROLL
      for (int i = 0; i < kPixels; ++i) {
        if (start + i >= 0 && start + i < pixels) {
          picture[start + i] = word.pixel[i];
        }
      }
    }
  }
}

}  // namespace maskrcnn
