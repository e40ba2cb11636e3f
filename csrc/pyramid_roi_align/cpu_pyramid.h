// What RoIAlign on the CPU works on: the pixels and weights of a bin along each axis, for all levels and RoIs.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "pyramid_roi_align.h"

namespace maskrcnn {

// The samples of a bin often fall between the same pixels, so they are merged into a short list of pixels with weights,
// the bin's taps. These are the taps of all bins along one axis: those of bin p are first[p] up to, not including,
// first[p + 1].
template <typename T>
struct Taps {
  std::vector<int64_t> first;
  std::vector<int64_t> offset;  // of the pixel from the first one of its axis, in elements
  std::vector<T> weight;

  Taps(const Pooling<T>& pooling, int64_t largest_extent) : first(pooling.output_size + 1) {
    const bool few = pooling.sampling_ratio > 0 && pooling.sampling_ratio < largest_extent;
    const int64_t per_bin = std::min(largest_extent, few ? 2 * pooling.sampling_ratio : largest_extent);
    offset.resize(pooling.output_size * per_bin);
    weight.resize(pooling.output_size * per_bin);
  }

  void set(const Axis<T>& axis, int64_t stride) {
    int64_t count = 0;
    for (int64_t bin = 0; bin + 1 < static_cast<int64_t>(first.size()); ++bin) {
      first[bin] = count;
      const T start = axis.first_sample(bin);
      for (int64_t i = 0; i < axis.visited && start + T(i) < axis.per_bin; ++i) {
        const Neighbours<T> pixels = neighbours(axis.position(bin, start + T(i)), axis.extent);
        add(first[bin], count, pixels.low * stride, pixels.low_weight / axis.per_bin);
        add(first[bin], count, pixels.high * stride, pixels.high_weight / axis.per_bin);
      }
    }
    first.back() = count;
  }

 private:
  // The samples of a bin are in order, so a pixel that was met before is one of the last two.
  void add(int64_t bin_first, int64_t& count, int64_t pixel_offset, T pixel_weight) {
    if (pixel_weight == T(0)) {
      return;
    }
    for (int64_t i = count - 1; i >= std::max(bin_first, count - 2); --i) {
      if (offset[i] == pixel_offset) {
        weight[i] += pixel_weight;
        return;
      }
    }
    offset[count] = pixel_offset;
    weight[count] = pixel_weight;
    ++count;
  }
};

// What a call says about its levels and RoIs, in the form the loops need.
template <typename F, typename T>
struct Pyramid {
  std::vector<Level<F>> levels;
  std::vector<T> scales;
  Pooling<T> pooling;
  const T* rois;
  int64_t largest_height = 0, largest_width = 0;

  void add(const torch::stable::Tensor& tensor, F* data, double stride) {
    levels.push_back(
        {data, tensor.size(2), tensor.size(3), tensor.stride(0), tensor.stride(1), tensor.stride(2), tensor.stride(3)});
    scales.push_back(static_cast<T>(1.0 / stride));
    largest_height = std::max(largest_height, tensor.size(2));
    largest_width = std::max(largest_width, tensor.size(3));
  }

  // All RoIs, image by image, in an order in which neighbours in the list are neighbours in the picture: band by band
  // of eight rows of a level. What one RoI has brought into the cache then serves the next.
  std::vector<int64_t> nearby_order(int64_t images, int64_t rois_per_image) const {
    std::vector<std::array<int64_t, 5>> places;
    places.reserve(images * rois_per_image);
    for (int64_t i = 0; i < images * rois_per_image; ++i) {
      const T* roi = rois + 4 * i;
      const int64_t level = level_of_roi(roi, static_cast<int64_t>(levels.size()), pooling.finest_size);
      const int64_t row = cell(roi[1], roi[3], scales[level], levels[level].height);
      const int64_t column = cell(roi[0], roi[2], scales[level], levels[level].width);
      places.push_back({i / rois_per_image, level, row / 8, column, i});
    }
    std::sort(places.begin(), places.end());
    std::vector<int64_t> order;
    order.reserve(places.size());
    for (const auto& place : places) {
      order.push_back(place.back());
    }
    return order;
  }

  // Finds the level of an RoI and its taps there.
  const Level<F>& locate(int64_t roi_index, Taps<T>& rows, Taps<T>& columns) const {
    const T* roi = rois + 4 * roi_index;
    const int64_t index = level_of_roi(roi, static_cast<int64_t>(levels.size()), pooling.finest_size);
    const Level<F>& level = levels[index];
    columns.set(Axis<T>(roi[0], roi[2], scales[index], level.width, pooling), level.column_stride);
    rows.set(Axis<T>(roi[1], roi[3], scales[index], level.height, pooling), level.row_stride);
    return level;
  }

  // The cell in the middle between two coordinates, or 0 if there is none.
  static int64_t cell(T low, T high, T scale, int64_t extent) {
    const T middle = (low + high) / 2 * scale;
    return middle >= T(0) && middle < T(extent) ? static_cast<int64_t>(middle) : 0;
  }
};

}  // namespace maskrcnn
