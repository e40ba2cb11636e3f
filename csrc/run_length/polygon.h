// Which pixels a polygon covers, as pycocotools decides it. `maskrcnn/reference/polygon_masks.py` walks the whole
// outline for the same answer.
//
// The outline is drawn on a grid five times as fine. Where it passes the middle of a column of pixels, from 5 * column +
// 2 to 5 * column + 3, the mask changes from there downwards. Between two middles nothing happens, so here only the
// steps at the middles are computed, each by the very operations of the walk: the work does not grow with the size of
// the polygon but with the columns that it crosses inside the image.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#include "../portability.h"

namespace maskrcnn::run_length {

constexpr int64_t kFiner = 5;

struct FinePoint {
  int64_t x, y;
};

inline FinePoint fine_point(const double* point) {
  // Towards zero, so below zero this is no rounding to the nearest; what lies there never shows in the mask.
  return {static_cast<int64_t>(kFiner * point[0] + 0.5), static_cast<int64_t>(kFiner * point[1] + 0.5)};
}

// Where one edge passes the middles of columns: appends the place of the first pixel below each crossing.
inline void add_crossings(
    FinePoint start, FinePoint end, int64_t height, int64_t width, std::vector<uint32_t>& places) {
  const int64_t along_x = std::abs(end.x - start.x), along_y = std::abs(end.y - start.y);
  const bool flat = along_x >= along_y;
  if (flat ? start.x > end.x : start.y > end.y) {
    std::swap(start, end);
  }
  const int64_t left = std::min(start.x, end.x), right = std::max(start.x, end.x);
  if (right < 3 || left > kFiner * (width - 1) + 2) {
    return;
  }
  const int64_t first = left <= 2 ? 0 : (left + 2) / kFiner, last = std::min(width - 1, (right - 3) / kFiner);
  // An edge takes one step at a time along its longer side; the other coordinate follows, rounded.
  const double slope = flat ? static_cast<double>(end.y - start.y) / static_cast<double>(along_x)
                            : static_cast<double>(end.x - start.x) / static_cast<double>(along_y);
  const auto follow = [&](int64_t step) {
    return static_cast<double>(flat ? start.y : start.x) + slope * static_cast<double>(step) + 0.5;
  };
  for (int64_t column = first; column <= last; ++column) {
    const int64_t middle = kFiner * column + 2;
    int64_t y = 0;
    if (flat) {
      const int64_t step = middle - start.x;
      y = static_cast<int64_t>(std::min(follow(step), follow(step + 1)));
    } else {
      // The last step before the middle is passed, from an estimate that rounding may have put a little off.
      const double passed = static_cast<double>(middle + 1);
      const auto before = [&](int64_t step) { return slope > 0 ? follow(step) < passed : follow(step) >= passed; };
      const double estimate = (static_cast<double>(middle - start.x) + 0.5) / slope;
      int64_t step = std::clamp(static_cast<int64_t>(estimate), int64_t{0}, along_y - 1);
      while (step > 0 && !before(step)) {
        --step;
      }
      while (step + 1 < along_y && before(step + 1)) {
        ++step;
      }
      y = start.y + step;
    }
    const int64_t row = std::min((std::max<int64_t>(y, 0) + 2) / kFiner, height);
    places.push_back(static_cast<uint32_t>(column * height + row));
  }
}

// Where the mask of a polygon of `count` points x, y changes, in order. Two changes at one place are none.
inline std::vector<uint32_t> polygon_changes(const double* points, int64_t count, int64_t height, int64_t width) {
  std::vector<uint32_t> places;
  for (int64_t i = 0; i < count; ++i) {
    const double* next = i + 1 < count ? points + 2 * (i + 1) : points;
    add_crossings(fine_point(points + 2 * i), fine_point(next), height, width, places);
  }
  std::sort(places.begin(), places.end());
  size_t kept = 0;
  for (const uint32_t place : places) {
    if (kept > 0 && places[kept - 1] == place) {
      --kept;
    } else {
      places[kept++] = place;
    }
  }
  places.resize(kept);
  if (kept > 0 && places.back() == static_cast<uint32_t>(height * width)) {
    places.pop_back();  // below the last pixel
  }
  return places;
}

}  // namespace maskrcnn::run_length
