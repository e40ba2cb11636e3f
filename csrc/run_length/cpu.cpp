// Run-length codes on the CPU: masks, codes, polygons and detections are independent and run in parallel.

#include "kernels.h"

#include "../parallel.h"
#include "polygon.h"

namespace maskrcnn::run_length {
namespace {

// target_clones needs functions that are no templates.
MASKRCNN_TARGET_CLONES std::vector<uint32_t> encode_clones(const uint8_t* mask, int64_t height, int64_t width) {
  return Encoder(height, width).encode(mask);
}

MASKRCNN_TARGET_CLONES void decode_clones(const Code& code, int64_t height, int64_t width, uint8_t* mask) {
  decode(code, height, width, mask);
}

// What every comparison with a mask needs to know.
struct Mask {
  std::vector<Run> runs;
  PixelBox box;
  int64_t area;
};

std::vector<Mask> prepare(const Codes& codes, int64_t height) {
  std::vector<Mask> masks(codes.size);
  for_each_in_parallel(codes.size, [&](int64_t i) {
    masks[i] = {runs_of(codes[i]), box(codes[i], height), area(codes[i])};
  });
  return masks;
}

bool boxes_overlap(const PixelBox& a, const PixelBox& b) {
  return a.x1 < b.x2 && b.x1 < a.x2 && a.y1 < b.y2 && b.y1 < a.y2;
}

}  // namespace

CountLists encode(const uint8_t* masks, int64_t count, int64_t height, int64_t width) {
  CountLists result(count);
  for_each_in_parallel(
      count, [&](int64_t i) { result[i] = encode_clones(masks + i * height * width, height, width); });
  return result;
}

void decode(const Codes& codes, int64_t height, int64_t width, uint8_t* masks) {
  for_each_in_parallel(
      codes.size, [&](int64_t i) { decode_clones(codes[i], height, width, masks + i * height * width); });
}

std::vector<uint32_t> merge(const Codes& codes, bool intersecting, int64_t total) {
  std::vector<Run> runs = unite({}, runs_of(codes[0]));  // joins runs with a count of no zeros between them
  for (int64_t i = 1; i < codes.size; ++i) {
    runs = intersecting ? intersect(runs, runs_of(codes[i])) : unite(runs, runs_of(codes[i]));
  }
  std::vector<uint32_t> changes;
  for (const Run& run : runs) {
    for (const int64_t place : {run.start, run.end}) {
      if (place < total) {
        changes.push_back(static_cast<uint32_t>(place));
      }
    }
  }
  return counts_between(changes, total);
}

void iou(const Codes& detections, const Codes& ground_truths, int64_t height, const bool* crowd, double* result) {
  const std::vector<Mask> found = prepare(detections, height), truths = prepare(ground_truths, height);
  for_each_in_parallel(detections.size, [&](int64_t d) {
    const Mask& a = found[d];
    for (int64_t g = 0; g < ground_truths.size; ++g) {
      const Mask& b = truths[g];
      const int64_t pixels = boxes_overlap(a.box, b.box) ? shared_pixels(a.runs, b.runs) : 0;
      const int64_t whole = crowd[g] ? a.area : a.area + b.area - pixels;
      result[d * ground_truths.size + g] =
          pixels == 0 ? 0.0 : static_cast<double>(pixels) / static_cast<double>(whole);
    }
  });
}

CountLists from_polygons(
    const double* points, const int64_t* offsets, int64_t count, int64_t height, int64_t width) {
  CountLists result(count);
  for_each_in_parallel(count, [&](int64_t i) {
    const int64_t size = offsets[i + 1] - offsets[i];
    result[i] = counts_between(polygon_changes(points + 2 * offsets[i], size, height, width), height * width);
  });
  return result;
}

}  // namespace maskrcnn::run_length
