// The arithmetic of run-length codes, one code at a time. `maskrcnn/reference/run_length.py` is the same as loops.
//
// A code counts how many pixels of a mask are 0, then how many are 1, then 0 again and so on, down the first column,
// then down the second (COCO's format). The place of a pixel is its number in that order: column * height + row.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
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

inline std::vector<Run> runs_of(const Code& code) {
  std::vector<Run> runs;
  runs.reserve(code.size / 2);
  for_each_run(code, [&](const Run& run) { runs.push_back(run); });
  return runs;
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
  // How many pixels are compared at once, and how many of those again where some differ.
  static constexpr int64_t kBlock = 64, kPart = 8;

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
      const int64_t end = std::min(i + kBlock, total);
      if (end == i + kBlock && same<kBlock>(mask + i, mask + i - width_)) {
        continue;
      }
      make_room(found, kBlock);
      for (int64_t part = i; part < end; part += kPart) {
        const int64_t part_end = std::min(part + kPart, end);
        if (part_end == part + kPart && same<kPart>(mask + part, mask + part - width_)) {
          continue;
        }
        for (int64_t j = part; j < part_end; ++j) {
          changed_[found] = static_cast<uint32_t>(j);
          found += (mask[j] != 0) != (mask[j - width_] != 0);
        }
      }
    }
    return counts_between(column_by_column(found), total);
  }

 private:
  template <int64_t N>
  static MASKRCNN_ALWAYS_INLINE bool same(const uint8_t* pixels, const uint8_t* others) {
    uint64_t differences = 0;
    for (int64_t j = 0; j < N; j += 8) {
      uint64_t eight, other_eight;
      std::memcpy(&eight, pixels + j, 8);
      std::memcpy(&other_eight, others + j, 8);
      differences |= eight ^ other_eight;
    }
    return differences == 0;
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

// The runs of the pixels that are 1 in either of two masks, given the runs of each.
inline std::vector<Run> unite(const std::vector<Run>& a, const std::vector<Run>& b) {
  std::vector<Run> result;
  for (size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    const Run next = j == b.size() || (i < a.size() && a[i].start < b[j].start) ? a[i++] : b[j++];
    if (!result.empty() && next.start <= result.back().end) {
      result.back().end = std::max(result.back().end, next.end);
    } else {
      result.push_back(next);
    }
  }
  return result;
}

// Of those that are 1 in both.
inline std::vector<Run> intersect(const std::vector<Run>& a, const std::vector<Run>& b) {
  std::vector<Run> result;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const Run both{std::max(a[i].start, b[j].start), std::min(a[i].end, b[j].end)};
    if (both.start < both.end) {
      if (!result.empty() && result.back().end == both.start) {
        result.back().end = both.end;
      } else {
        result.push_back(both);
      }
    }
    a[i].end < b[j].end ? ++i : ++j;
  }
  return result;
}

// Counting the pixels that two masks share: their runs are walked together, and the one that ends first moves on.
struct Walk {
  const Run *a, *a_end, *b, *b_end;
  int64_t pixels;

  // Without a branch, as nobody can foresee which run ends first.
  MASKRCNN_ALWAYS_INLINE void step() {
    const int64_t a_stop = a->end, b_stop = b->end;
    const int64_t overlap = std::min(a_stop, b_stop) - std::max(a->start, b->start);
    pixels += overlap > 0 ? overlap : 0;
    a += a_stop < b_stop;
    b += a_stop >= b_stop;
  }

  // As many steps are possible at least.
  MASKRCNN_ALWAYS_INLINE int64_t steps() const {
    return std::min(a_end - a, b_end - b);
  }

  int64_t finish() {
    while (steps() > 0) {
      step();
    }
    return pixels;
  }
};

// Each step waits for the one before it, so a processor has time for a second walk: the runs of one mask are halved, and
// each half begins where it meets the other mask.
inline int64_t shared_pixels(const std::vector<Run>& a, const std::vector<Run>& b) {
  constexpr int64_t kFewSteps = 8;
  const auto ends_before = [](const Run& run, int64_t place) { return run.end <= place; };
  if (a.empty() || b.empty()) {
    return 0;
  }
  const Run *const a_end = std::lower_bound(a.data(), a.data() + a.size(), b.back().end, ends_before);
  const Run *const a_stop = a_end + (a_end < a.data() + a.size());  // the first run that goes on beyond is the last one
  const Run *const a_begin = std::lower_bound(a.data(), a_stop, b.front().start, ends_before);
  const auto walk = [&](const Run* first, const Run* stop) {
    const Run *const b_stop = b.data() + b.size();
    return Walk{first, stop, first < stop ? std::lower_bound(b.data(), b_stop, first->start, ends_before) : b_stop,
                b_stop, 0};
  };
  const Run *const middle = a_begin + (a_stop - a_begin) / 2;
  Walk first = walk(a_begin, middle), second = walk(middle, a_stop);
  for (;;) {
    const int64_t steps = std::min(first.steps(), second.steps());
    if (steps < kFewSteps) {
      return first.finish() + second.finish();
    }
    for (int64_t i = 0; i < steps; ++i) {
      first.step();
      second.step();
    }
  }
}

}  // namespace maskrcnn::run_length
