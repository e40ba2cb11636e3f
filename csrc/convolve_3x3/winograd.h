// Winograd's algorithm F(4 x 4, 3 x 3) (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
// arXiv 1509.09308, section 4.3): 4 x 4 results of a 3 x 3 convolution from a tile of 6 x 6 pixels, with 36
// multiplications for each pair of channels where the definition takes 144.
//
// Tile, kernel and result each go through a small matrix on both sides; between these, what was a convolution is a
// product of numbers at the same place of tile and kernel. `maskrcnn/reference/winograd.py` says the same with matrices.
//
// Lanes are some neighbouring channels, in one register of the processor; see block.h.
#pragma once

#include "convolution.h"

namespace maskrcnn {

// B^T d: six pixels in a row of a tile.
template <typename Lanes>
inline void transform_pixels(const Lanes d[kTile], Lanes out[kTile]) {
  const Lanes even = d[4] - Lanes(4) * d[2], odd = d[3] - Lanes(4) * d[1];
  const Lanes even_twice = d[4] - d[2], odd_twice = Lanes(2) * (d[3] - d[1]);
  out[0] = Lanes(4) * d[0] - Lanes(5) * d[2] + d[4];
  out[1] = even + odd;
  out[2] = even - odd;
  out[3] = even_twice + odd_twice;
  out[4] = even_twice - odd_twice;
  out[5] = Lanes(4) * d[1] - Lanes(5) * d[3] + d[5];
}

// G g: three weights in a row of a kernel.
template <typename Lanes>
inline void transform_weights(const Lanes g[3], Lanes out[kTile]) {
  const Lanes ends = g[0] + g[2], far_ends = g[0] + Lanes(4) * g[2];
  out[0] = Lanes(1.0f / 4) * g[0];
  out[1] = Lanes(-1.0f / 6) * (ends + g[1]);
  out[2] = Lanes(-1.0f / 6) * (ends - g[1]);
  out[3] = Lanes(1.0f / 24) * (far_ends + Lanes(2) * g[1]);
  out[4] = Lanes(1.0f / 24) * (far_ends - Lanes(2) * g[1]);
  out[5] = g[2];
}

// A^T m: four results in a row from six products.
template <typename Lanes>
inline void transform_products(const Lanes m[kTile], Lanes out[kResult]) {
  const Lanes sum = m[1] + m[2], difference = m[1] - m[2], far_sum = m[3] + m[4], far_difference = m[3] - m[4];
  out[0] = m[0] + sum + far_sum;
  out[1] = difference + Lanes(2) * far_difference;
  out[2] = sum + Lanes(4) * far_sum;
  out[3] = difference + Lanes(8) * far_difference + m[5];
}

}  // namespace maskrcnn
