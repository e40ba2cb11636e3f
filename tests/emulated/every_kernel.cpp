// Runs the kernels of one op, or of all, on random input: for the sanitizers, which need a program of their own.

#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

extern "C" {
void nms_float(
    const float*, const float*, const int64_t*, int64_t, int64_t, double, int64_t, int64_t*, unsigned, unsigned);
void match_boxes_float(
    const float*, const bool*, const float*, const bool*, int64_t, int64_t, int64_t, double, float*, int64_t*, int64_t*,
    unsigned);
void covered_boxes_float(
    const float*, const float*, const bool*, int64_t, int64_t, int64_t, double, bool*, unsigned);
void crop_masks_float(
    const uint8_t*, int64_t, const int64_t*, const int64_t*, const float*, const int64_t*, int64_t, int64_t, int64_t,
    bool, float*, unsigned);
void paste_masks_float(const float*, const float*, int64_t, int64_t, int64_t, int64_t, bool, bool*, unsigned);
void roi_pool_float(
    const float*, const int64_t*, double, const float*, int64_t, int64_t, int64_t, int64_t, bool, float*, int32_t*,
    unsigned, bool);
void roi_pool_backward_float(
    const float*, const int64_t*, const int32_t*, const int64_t*, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
    bool, float*, unsigned, unsigned);
void pool_float(
    const void* const*, const int64_t*, const double*, int64_t, const float*, int64_t, int64_t, int64_t, int64_t,
    int64_t, bool, double, bool, float*, unsigned, bool);
void collect_float(
    void* const*, const int64_t*, const double*, int64_t, const float*, int64_t, int64_t, int64_t, int64_t, int64_t,
    bool, double, const float*, const int64_t*, unsigned, bool);
}

namespace {

std::mt19937 generator(0);

float uniform(float low, float high) {
  return low + (high - low) * static_cast<float>(generator() % 1000) / 1000;
}

// Boxes in a square of `extent`; every tenth number is a hostile one.
std::vector<float> boxes(int64_t count, float extent, bool hostile) {
  const float strange[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -1e30f, 0};
  std::vector<float> result;
  for (int64_t i = 0; i < count; ++i) {
    const float x = uniform(0, extent), y = uniform(0, extent);
    for (const float value : {x, y, x + uniform(0, extent / 2), y + uniform(0, extent / 2)}) {
      result.push_back(hostile && generator() % 10 == 0 ? strange[generator() % 4] : value);
    }
  }
  return result;
}

// Less than a tile, and several.
void nms() {
  constexpr int64_t batch = 2, max_keep = 100;
  for (const int64_t count : {20, 150}) {
    std::vector<float> scores;
    std::vector<int64_t> groups, keep(batch * max_keep);
    for (int64_t i = 0; i < batch * count; ++i) {
      scores.push_back(uniform(0, 1));
      groups.push_back(generator() % 2);
    }
    nms_float(
        boxes(batch * count, 50, true).data(), scores.data(), groups.data(), batch, count, 0.3, max_keep, keep.data(),
        64, 128);
  }
}

void match_boxes() {
  constexpr int64_t batch = 2, slots = 40, count = 150;
  const bool valid[batch * count] = {true, true, true, true};  // and others that are not
  bool all_valid[batch * slots];
  for (bool& value : all_valid) {
    value = true;
  }
  std::vector<float> iou(batch * count);
  std::vector<int64_t> best(batch * count), forced(batch * count);
  match_boxes_float(
      boxes(batch * slots, 50, true).data(), all_valid, boxes(batch * count, 50, true).data(), valid, batch, slots,
      count, 0.1, iou.data(), best.data(), forced.data(), 32);
}

// More regions than a round, of which not all are real.
void covered_boxes() {
  constexpr int64_t batch = 2, slots = 80, count = 150;
  bool valid[batch * slots], covered[batch * count];
  for (int64_t i = 0; i < batch * slots; ++i) {
    valid[i] = i % 3 != 0;
  }
  covered_boxes_float(
      boxes(batch * count, 50, true).data(), boxes(batch * slots, 50, true).data(), valid, batch, count, slots, 0.5,
      covered, 32);
}

void crop_masks() {
  constexpr int64_t batch = 2, count = 6, size = 7;
  const std::vector<uint8_t> pixels(400, 1);
  std::vector<int64_t> offsets, bitmap_boxes;
  for (int64_t i = 0; i < batch * count; ++i) {
    offsets.push_back(i % 5 == 4 ? 399 : 0);  // the bytes of some are not there
    for (const int64_t corner : {0, 0, 20, 20}) {
      bitmap_boxes.push_back(corner);
    }
  }
  const int64_t sizes[] = {20, 20, 30, 25};
  std::vector<float> targets(batch * count * size * size);
  for (const bool binary : {false, true}) {
    crop_masks_float(
        pixels.data(), 400, offsets.data(), bitmap_boxes.data(), boxes(batch * count, 20, true).data(), sizes, batch,
        count, size, binary, targets.data(), 64);
  }
}

// Several blocks for each picture, none of which but the first begins at a whole word.
void paste_masks() {
  constexpr int64_t count = 3, cells = 5, height = 57, width = 89;
  std::vector<float> masks;
  for (int64_t i = 0; i < count * cells * cells; ++i) {
    masks.push_back(uniform(0, 1));
  }
  // As many bytes as needed and no more: std::vector<bool> would have bits.
  const auto pictures = std::make_unique<bool[]>(count * height * width);
  for (const bool hostile : {false, true}) {
    for (const bool padded_resize : {false, true}) {
      paste_masks_float(
          masks.data(), boxes(count, 60, hostile).data(), count, cells, height, width, padded_resize, pictures.get(),
          32);
    }
  }
}

// More RoIs than a warp has lanes, more channels, and more bins. The last RoI is the whole feature: of sums that no
// vote follows, only the barrier says that they are complete.
void roi_pool() {
  constexpr int64_t count = 34, channels = 36, size = 6, height = 5, width = 9, bins = size * size;
  std::vector<float> feature, pooled(count * channels * bins), gradient(channels * height * width);
  std::vector<int32_t> argmax(pooled.size());
  for (int64_t i = 0; i < channels * height * width; ++i) {
    feature.push_back(uniform(-1, 1));
  }
  std::vector<float> rois = boxes(count - 1, 40, true);
  rois.insert(rois.end(), {0, 0, 4 * width - 4, 4 * height - 4});
  for (const bool last : {true, false}) {
    const int64_t numbers[] = {
        height, width, 0, last ? 1 : height * width, last ? width * channels : width, last ? channels : 1};
    const int64_t strides[] = {
        0, channels * bins, last ? 1 : bins, last ? size * channels : size, last ? channels : 1};
    roi_pool_float(
        feature.data(), numbers, 4, rois.data(), 1, count, channels, size, last, pooled.data(), argmax.data(), 64,
        last);
    roi_pool_backward_float(
        pooled.data(), strides, argmax.data(), strides, 1, count, channels, size, height, width, last, gradient.data(),
        8, 2);
  }
}

// More RoIs than a round, more bins than are held at a time, two levels, and more channels than a block.
void pyramid_roi_align() {
  constexpr int64_t count = 270, channels = 40, size = 17, sides[] = {12, 6};
  std::vector<float> rois = boxes(count, 48, true);
  for (int64_t i = 8; i < count - 4; ++i) {
    for (int64_t corner = 0; corner < 4; ++corner) {
      rois[4 * i + corner] = 1e6f;  // far outside, or it would take too long
    }
  }
  std::vector<float> features[2], output(count * channels * size * size);
  for (const bool channels_last : {true, false}) {
    std::vector<int64_t> numbers;
    std::vector<void*> data;
    for (int level = 0; level < 2; ++level) {
      const int64_t side = sides[level];
      features[level].assign(channels * side * side, 1.0f);
      data.push_back(features[level].data());
      for (const int64_t number : {side, side, channels * side * side, channels_last ? 1 : side * side,
                                   channels_last ? side * channels : side, channels_last ? channels : 1}) {
        numbers.push_back(number);
      }
    }
    const double strides[] = {4, 8};
    const int64_t bins = size * size;
    const int64_t incoming[] = {
        0, channels * bins, channels_last ? 1 : bins, channels_last ? size * channels : size,
        channels_last ? channels : 1};
    pool_float(
        data.data(), numbers.data(), strides, 2, rois.data(), 1, 8, channels, size, 0, true, 16, channels_last,
        output.data(), 64, channels_last);
    collect_float(
        data.data(), numbers.data(), strides, 2, rois.data(), 1, count, channels, size, 2, true, 16, output.data(),
        incoming, 8, channels_last);
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::string wanted = count > 1 ? arguments[1] : "";
  const struct {
    const char* name;
    void (*run)();
  } ops[] = {
      {"nms", nms},
      {"match_boxes", match_boxes},
      {"covered_boxes", covered_boxes},
      {"crop_masks", crop_masks},
      {"paste_masks", paste_masks},
      {"pyramid_roi_align", pyramid_roi_align},
      {"roi_pool", roi_pool},
  };
  for (const auto& op : ops) {
    if (wanted.empty() || wanted == op.name) {
      op.run();
      std::printf("%s\n", op.name);
    }
  }
}
