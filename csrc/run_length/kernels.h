// What `binding.cpp` offers to Python and `cpu.cpp` does: the functions of `maskrcnn/ops/fallback_run_length.py`, over
// many codes that lie one after another in memory.
#pragma once

#include <cstdint>
#include <vector>

#include "run_length.h"

namespace maskrcnn::run_length {

struct Codes {
  const uint32_t* counts;
  const int64_t* offsets;  // size + 1: where each code begins, and where the last ends
  int64_t size;

  Code operator[](int64_t i) const {
    return {counts + offsets[i], offsets[i + 1] - offsets[i]};
  }
};

using CountLists = std::vector<std::vector<uint32_t>>;

CountLists encode(const uint8_t* masks, int64_t count, int64_t height, int64_t width);

// Into masks (N, height, width) that are all 0, from codes of just as many pixels.
void decode(const Codes& codes, int64_t height, int64_t width, uint8_t* masks);

// Of at least one code.
std::vector<uint32_t> merge(const Codes& codes, bool intersecting, int64_t total);

// (D, G): of the detection's area where the ground truth is a crowd, else of the union.
void iou(const Codes& detections, const Codes& ground_truths, int64_t height, const bool* crowd, double* result);

// From points x, y of which those of polygon i are offsets[i] up to offsets[i + 1].
CountLists from_polygons(
    const double* points, const int64_t* offsets, int64_t count, int64_t height, int64_t width);

}  // namespace maskrcnn::run_length
