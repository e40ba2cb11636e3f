// Neighbouring channels of a channels-last tensor: a GPU reads and writes them in pieces of 16 bytes.
#pragma once

#include <cstdint>
#include <initializer_list>

namespace maskrcnn {

template <typename F, int N>
struct alignas(N * sizeof(F) < 16 ? N * sizeof(F) : 16) Channels {
  F value[N];
};

template <typename F>
constexpr int kVector = 16 / sizeof(F);

// Whether each pixel's channels can be read in such pieces; strides in elements.
template <typename F>
bool has_whole_vectors(
    const void* data, int64_t channels, int64_t channel_stride, std::initializer_list<int64_t> other_strides) {
  bool whole = channel_stride == 1 && channels % kVector<F> == 0 && reinterpret_cast<uintptr_t>(data) % 16 == 0;
  for (const int64_t stride : other_strides) {
    whole = whole && stride % kVector<F> == 0;
  }
  return whole;
}

}  // namespace maskrcnn
