// The arithmetic of run-length codes, one code at a time. `maskrcnn/reference/run_length.py` is the same as loops.
//
// A code counts how many pixels of a mask are 0, then how many are 1, then 0 again and so on, down the first column,
// then down the second (COCO's format). The place of a pixel is its number in that order: column * height + row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../portability.h"

namespace maskrcnn::run_length {

struct Code {
  const uint32_t* counts;
  int64_t size;
};

// Ones without a gap: the places [start, end).
struct Run {
  int64_t start, end;
};

struct PixelBox {
  int64_t x1, y1, x2, y2;
};

template <typename Function>
MASKRCNN_ALWAYS_INLINE void for_each_run(const Code& code, const Function& function) {
  int64_t place = 0;
  for (int64_t i = 0; i < code.size; ++i) {
    const int64_t end = place + code.counts[i];
    if (i % 2 == 1 && place < end) {
      function(Run{place, end});
    }
    place = end;
  }
}

inline int64_t area(const Code& code) {
  int64_t ones = 0;
  for (int64_t i = 1; i < code.size; i += 2) {
    ones += code.counts[i];
  }
  return ones;
}

// All zeros for a mask without a one.
inline PixelBox box(const Code& code, int64_t height) {
  PixelBox box{0, height, 0, 0};
  bool first = true;
  for_each_run(code, [&](const Run& run) {
    const int64_t column = run.start / height, last_column = (run.end - 1) / height;
    box.x1 = first ? column : box.x1;
    box.x2 = last_column + 1;
    // A run that goes on in the next column touches the bottom of this one and the top of that.
    const bool one_column = column == last_column;
    box.y1 = std::min(box.y1, one_column ? run.start - column * height : 0);
    box.y2 = std::max(box.y2, one_column ? run.end - column * height : height);
    first = false;
  });
  return first ? PixelBox{0, 0, 0, 0} : box;
}

// The code of a mask of `total` pixels, 0 at first, that changes at these places: in order, none twice, all below total.
inline std::vector<uint32_t> counts_between(const std::vector<uint32_t>& changes, int64_t total) {
  std::vector<uint32_t> counts(changes.size() + 1);
  uint32_t place = 0;
  for (size_t i = 0; i < changes.size(); ++i) {
    counts[i] = changes[i] - place;
    place = changes[i];
  }
  counts.back() = static_cast<uint32_t>(total) - place;
  return counts;
}

// A mask lies row by row in memory but is counted column by column. Pixels that differ from the one above are few and
// quickly found row by row; a counting sort by column then brings only these into their order.
class Encoder {
 public:
  // How many pixels are compared at once.
  static constexpr int64_t kBlock = 64;

  Encoder(int64_t height, int64_t width) : height_(height), width_(width), first_(width + 1) {}

  // Any number but 0 counts as 1.
  MASKRCNN_ALWAYS_INLINE std::vector<uint32_t> encode(const uint8_t* mask) {
    const int64_t total = height_ * width_;
    int64_t found = 0;
    // The pixel above the top of a column is the bottom of the column before.
    make_room(0, width_);
    for (int64_t x = 0; x < width_; ++x) {
      const bool above = x > 0 && mask[total - width_ + x - 1] != 0;
      changed_[found] = static_cast<uint32_t>(x);
      found += (mask[x] != 0) != above;
    }
    for (int64_t i = width_; i < total; i += kBlock) {
      const uint8_t *pixel = mask + i, *above = pixel - width_;
      const int64_t size = std::min(kBlock, total - i);
      if (size == kBlock && !differ(pixel, above)) {
        continue;
      }
      make_room(found, size);
      for (int64_t j = 0; j < size; ++j) {
        changed_[found] = static_cast<uint32_t>(i + j);
        found += (pixel[j] != 0) != (above[j] != 0);
      }
    }
    return counts_between(column_by_column(found), total);
  }

 private:
  static MASKRCNN_ALWAYS_INLINE bool differ(const uint8_t* pixel, const uint8_t* above) {
    uint8_t differences = 0;
    for (int64_t j = 0; j < kBlock; ++j) {
      differences |= (pixel[j] != 0) != (above[j] != 0);
    }
    return differences != 0;
  }

  // Writing what may be overwritten by the next is faster than a branch that is hard to foresee.
  MASKRCNN_ALWAYS_INLINE void make_room(int64_t found, int64_t more) {
    if (static_cast<int64_t>(changed_.size()) <= found + more) {
      changed_.resize(2 * (found + more));
    }
  }

  std::vector<uint32_t> column_by_column(int64_t found) {
    const uint32_t height = static_cast<uint32_t>(height_), width = static_cast<uint32_t>(width_);
    std::fill(first_.begin(), first_.end(), 0);
    for (int64_t i = 0; i < found; ++i) {
      ++first_[changed_[i] % width + 1];
    }
    for (uint32_t x = 0; x < width; ++x) {
      first_[x + 1] += first_[x];
    }
    std::vector<uint32_t> places(found);
    for (int64_t i = 0; i < found; ++i) {
      const uint32_t row = changed_[i] / width, column = changed_[i] % width;
      places[first_[column]++] = column * height + row;
    }
    return places;
  }

  const int64_t height_, width_;
  std::vector<uint32_t> changed_;  // numbers of pixels, row by row
  std::vector<uint32_t> first_;    // for each column, where its next change goes
};

// Into pixels (height, width) that are all 0: first a 1 wherever a pixel differs from the one above, or, at the top of a
// column, is 1; then, row by row, each takes over what is above it unless it differs.
MASKRCNN_ALWAYS_INLINE void decode(const Code& code, int64_t height, int64_t width, uint8_t* mask) {
  for_each_run(code, [&](const Run& run) {
    int64_t column = run.start / height;
    mask[(run.start - column * height) * width + column] ^= 1;
    for (++column; column * height < run.end; ++column) {
      mask[column] ^= 1;
    }
    const int64_t row = run.end - (column - 1) * height;
    if (row < height) {
      mask[row * width + column - 1] ^= 1;
    }
  });
  for (int64_t y = 1; y < height; ++y) {
    uint8_t* row = mask + y * width;
    for (int64_t x = 0; x < width; ++x) {
      row[x] ^= row[x - width];
    }
  }
}

// Where the mask changes that is 1 wherever at least `needed` of the codes are.
inline std::vector<uint32_t> covered(const Code* codes, int64_t count, int64_t needed, int64_t total) {
  struct Step {
    int64_t place;
    int change;
  };
  std::vector<Step> steps;
  for (int64_t i = 0; i < count; ++i) {
    for_each_run(codes[i], [&](const Run& run) {
      steps.push_back({run.start, 1});
      steps.push_back({run.end, -1});
    });
  }
  std::sort(steps.begin(), steps.end(), [](const Step& a, const Step& b) { return a.place < b.place; });
  std::vector<uint32_t> changes;
  int64_t depth = 0;
  bool inside = false;
  for (size_t i = 0; i < steps.size() && steps[i].place < total;) {
    const int64_t place = steps[i].place;
    for (; i < steps.size() && steps[i].place == place; ++i) {
      depth += steps[i].change;
    }
    if ((depth >= needed) != inside) {
      inside = !inside;
      changes.push_back(static_cast<uint32_t>(place));
    }
  }
  return counts_between(changes, total);
}

// How many pixels two masks share. Both lists of runs are walked together; only the run that ends first moves on.
inline int64_t shared(const Run* a, const Run* a_end, const Run* b, const Run* b_end) {
  const auto ends_before = [](const Run& run, int64_t place) { return run.end <= place; };
  if (a == a_end || b == b_end) {
    return 0;
  }
  const int64_t start = std::max(a->start, b->start);
  a = std::lower_bound(a, a_end, start, ends_before);
  b = std::lower_bound(b, b_end, start, ends_before);
  int64_t pixels = 0;
  while (a < a_end && b < b_end) {
    const int64_t a_stop = a->end, b_stop = b->end;
    const int64_t overlap = std::min(a_stop, b_stop) - std::max(a->start, b->start);
    pixels += overlap > 0 ? overlap : 0;
    a += a_stop <= b_stop;
    b += b_stop <= a_stop;
  }
  return pixels;
}

}  // namespace maskrcnn::run_length
