// A block of tiles, from pixels to results, for the Lanes of one instruction set. Each file that includes this compiles
// it for its own instructions, so everything here is a template of its Lanes, and what it calls is always inlined: a
// function that two files share could end up in the program in the version of the wrong one.
//
// Lanes have: kCount, how many floats they are; kRows, how many tiles times kColumns registers of results a product
// keeps in registers; construction from one float; load and store; + - *; and multiply_add(a, b, c) = a * b + c, rounded
// once if the processor can.
#pragma once

#include <cstdint>

#include "winograd.h"

namespace maskrcnn {

// Weights lie as [place][panel][I][channels of the panel]: a product reads them one after another. A panel has as many
// output channels as a product keeps in registers, the last one perhaps fewer.
template <typename Lanes>
void transform_kernel(const float* kernel, int64_t i, int64_t in_channels, int64_t out_channels, float* weights) {
  constexpr int64_t kPanel = Lanes::kColumns * Lanes::kCount;
  for (int64_t o = 0; o < out_channels; o += Lanes::kCount) {
    Lanes rows[3][kTile], columns[kTile][3], places[kTile];
    for (int y = 0; y < 3; ++y) {
      Lanes row[3];
      for (int x = 0; x < 3; ++x) {
        row[x] = Lanes::load(kernel + ((y * 3 + x) * in_channels + i) * out_channels + o);
      }
      transform_weights(row, rows[y]);
    }
    const int64_t panel = o / kPanel * kPanel;
    const int64_t width = panel + kPanel <= out_channels ? kPanel : out_channels - panel;
    float* out = weights + panel * in_channels + i * width + (o - panel);
    for (int x = 0; x < kTile; ++x) {
      for (int y = 0; y < 3; ++y) {
        columns[x][y] = rows[y][x];
      }
      transform_weights(columns[x], places);
      for (int y = 0; y < kTile; ++y) {
        places[y].store(out + (y * kTile + x) * weight_stride(in_channels, out_channels));
      }
    }
  }
}

// Where the results of a tile begin. Tiles are counted in rows, image by image.
struct Corner {
  int64_t image, y, x;
};

template <typename Lanes>
Corner corner_of(const Convolution& convolution, int64_t tile) {
  const int64_t across = convolution.tiles_across(), of_image = across * convolution.tiles_down();
  return {tile / of_image, tile % of_image / across * kResult, tile % across * kResult};
}

// Pixels (6, 6, I) -> out [place][I], the places `stride` apart. Outside the map there are zeros.
template <typename Lanes, typename Element>
void transform_tile(const Convolution& convolution, int64_t tile, float* out, int64_t stride) {
  const Corner corner = corner_of<Lanes>(convolution, tile);
  const int64_t channels = convolution.in_channels;
  const Element* pixels[kPlaces];
  for (int y = 0; y < kTile; ++y) {
    for (int x = 0; x < kTile; ++x) {
      const int64_t row = corner.y + y - 1, column = corner.x + x - 1;
      const bool inside = row >= 0 && row < convolution.height && column >= 0 && column < convolution.width;
      const int64_t pixel = (corner.image * convolution.height + row) * convolution.width + column;
      pixels[y * kTile + x] = inside ? static_cast<const Element*>(convolution.input) + pixel * channels : nullptr;
    }
  }
  for (int64_t c = 0; c < channels; c += Lanes::kCount) {
    Lanes columns[kTile][kTile];
    for (int x = 0; x < kTile; ++x) {
      Lanes column[kTile];
      for (int y = 0; y < kTile; ++y) {
        const Element* pixel = pixels[y * kTile + x];
        column[y] = pixel ? Lanes::load(pixel + c) : Lanes(0);
      }
      transform_pixels(column, columns[x]);
    }
    for (int y = 0; y < kTile; ++y) {
      Lanes row[kTile], places[kTile];
      for (int x = 0; x < kTile; ++x) {
        row[x] = columns[x][y];
      }
      transform_pixels(row, places);
      for (int x = 0; x < kTile; ++x) {
        places[x].store(out + (y * kTile + x) * stride + c);
      }
    }
  }
}

// out (Rows, Columns * kCount) = pixels (Rows, I) times weights (I, Columns * kCount); all sums stay in registers.
template <typename Lanes, int Rows, int Columns>
void multiply(
    const float* pixels, const float* weights, int64_t in_channels, float* out, int64_t out_stride) {
  Lanes sums[Rows][Columns];
  for (int row = 0; row < Rows; ++row) {
    for (int column = 0; column < Columns; ++column) {
      sums[row][column] = Lanes(0);
    }
  }
  for (int64_t i = 0; i < in_channels; ++i, weights += Columns * Lanes::kCount) {
    Lanes weight[Columns];
    for (int column = 0; column < Columns; ++column) {
      weight[column] = Lanes::load(weights + column * Lanes::kCount);
    }
    for (int row = 0; row < Rows; ++row) {
      const Lanes pixel(pixels[row * in_channels + i]);
      for (int column = 0; column < Columns; ++column) {
        sums[row][column] = multiply_add(pixel, weight[column], sums[row][column]);
      }
    }
  }
  for (int row = 0; row < Rows; ++row) {
    for (int column = 0; column < Columns; ++column) {
      sums[row][column].store(out + row * out_stride + column * Lanes::kCount);
    }
  }
}

// Products [place][O], `stride` apart -> results (4, 4, O), as far as they lie inside the map.
template <typename Lanes, typename Element>
void transform_results(const Convolution& convolution, int64_t tile, const float* products, int64_t stride) {
  const Corner corner = corner_of<Lanes>(convolution, tile);
  const int64_t channels = convolution.out_channels;
  for (int64_t c = 0; c < channels; c += Lanes::kCount) {
    const Lanes bias = convolution.bias ? Lanes::load(convolution.bias + c) : Lanes(0);
    Lanes columns[kTile][kResult];
    for (int x = 0; x < kTile; ++x) {
      Lanes column[kTile];
      for (int y = 0; y < kTile; ++y) {
        column[y] = Lanes::load(products + (y * kTile + x) * stride + c);
      }
      transform_products(column, columns[x]);
    }
    for (int y = 0; y < kResult && corner.y + y < convolution.height; ++y) {
      Lanes row[kTile], results[kResult];
      for (int x = 0; x < kTile; ++x) {
        row[x] = columns[x][y];
      }
      transform_products(row, results);
      const int64_t pixel = (corner.image * convolution.height + corner.y + y) * convolution.width + corner.x;
      Element* out = static_cast<Element*>(convolution.output) + pixel * channels + c;
      for (int x = 0; x < kResult && corner.x + x < convolution.width; ++x) {
        (results[x] + bias).store(out + x * channels);
      }
    }
  }
}

template <typename Lanes, typename Element>
void convolve_block_of(const Convolution& convolution, int64_t block, float* memory) {
  constexpr int64_t kPanel = Lanes::kColumns * Lanes::kCount;
  const int64_t in_channels = convolution.in_channels, out_channels = convolution.out_channels;
  const int64_t first = block * kTilesOfBlock, left = convolution.tiles() - first;
  const int64_t tiles = left < kTilesOfBlock ? left : kTilesOfBlock;
  const int64_t rows = (tiles + Lanes::kRows - 1) / Lanes::kRows * Lanes::kRows;  // the last may mean nothing
  const int64_t pixel_stride = tile_stride(in_channels), product_stride = tile_stride(out_channels);
  float* products = memory + kPlaces * pixel_stride;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    transform_tile<Lanes, Element>(convolution, first + tile, memory + tile * in_channels, pixel_stride);
  }
  for (int place = 0; place < kPlaces; ++place) {
    const float* weights = convolution.weights + place * weight_stride(in_channels, out_channels);
    for (int64_t o = 0; o < out_channels; o += kPanel) {
      for (int64_t row = 0; row < rows; row += Lanes::kRows) {
        const float* pixels = memory + place * pixel_stride + row * in_channels;
        float* out = products + place * product_stride + row * out_channels + o;
        if (o + kPanel <= out_channels) {
          multiply<Lanes, Lanes::kRows, Lanes::kColumns>(
              pixels, weights + o * in_channels, in_channels, out, out_channels);
        } else {
          multiply<Lanes, Lanes::kRows, 1>(pixels, weights + o * in_channels, in_channels, out, out_channels);
        }
      }
    }
  }
  for (int64_t tile = 0; tile < tiles; ++tile) {
    transform_results<Lanes, Element>(convolution, first + tile, products + tile * out_channels, product_stride);
  }
}

// bfloat16 is the upper half of a float32.
using BFloat16Bits = uint16_t;

template <typename Lanes>
void convolve_block(const Convolution& convolution, int64_t block, float* memory) {
  if (convolution.is_bfloat16) {
    convolve_block_of<Lanes, BFloat16Bits>(convolution, block, memory);
  } else {
    convolve_block_of<Lanes, float>(convolution, block, memory);
  }
}

}  // namespace maskrcnn
