// Which boxes lie in a region, on the CPU: the regions that are real are picked out first, and then blocks of boxes,
// which run in parallel, go through them.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "arguments.h"
#include "covered_boxes.h"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kBlock = 256;

// One image: its boxes and the regions of it that are real.
template <typename T>
struct Image {
  const Box<T>* regions;
  int64_t region_count;
  const T* boxes;
  int64_t box_count;
  bool* covered;
};

template <typename T>
MASKRCNN_ALWAYS_INLINE void cover_block(const Image<T>& image, int64_t block_number, T fraction) {
  const int64_t first = block_number * kBlock, count = std::min(kBlock, image.box_count - first);
  // Coordinate by coordinate, so that one vector instruction compares many boxes with a region. Where the image has no
  // more boxes, there are some without area.
  T x1[kBlock] = {}, y1[kBlock] = {}, x2[kBlock] = {}, y2[kBlock] = {}, area[kBlock] = {}, largest[kBlock] = {};
  for (int64_t i = 0; i < count; ++i) {
    const Box<T> box = load_box(image.boxes + 4 * (first + i));
    x1[i] = box.x1, y1[i] = box.y1, x2[i] = box.x2, y2[i] = box.y2, area[i] = box.area;
  }
  for (int64_t r = 0; r < image.region_count; ++r) {
    const Box<T> region = image.regions[r];
    for (int64_t i = 0; i < kBlock; ++i) {
      largest[i] = larger_share(largest[i], Box<T>{x1[i], y1[i], x2[i], y2[i], area[i]}, region);
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    image.covered[first + i] = is_enough(largest[i], area[i], fraction);
  }
}

// target_clones needs functions that are no templates.
MASKRCNN_TARGET_CLONES void cover_block_clones(const Image<float>& image, int64_t block, float fraction) {
  cover_block(image, block, fraction);
}

MASKRCNN_TARGET_CLONES void cover_block_clones(const Image<double>& image, int64_t block, double fraction) {
  cover_block(image, block, fraction);
}

template <typename T>
Tensor cover_all(const Tensor& boxes, const Tensor& regions, const Tensor& regions_valid, T fraction) {
  const int64_t batch = boxes.size(0), box_count = boxes.size(1), slots = regions.size(1);
  std::vector<Box<T>> real;
  std::vector<int64_t> ends(batch + 1);  // of the images, in `real`
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t slot = b * slots; slot < (b + 1) * slots; ++slot) {
      if (regions_valid.const_data_ptr<bool>()[slot]) {
        real.push_back(load_box(regions.const_data_ptr<T>() + 4 * slot));
      }
    }
    ends[b + 1] = static_cast<int64_t>(real.size());
  }
  if (real.empty()) {
    return torch::stable::new_zeros(boxes, {batch, box_count}, ScalarType::Bool);
  }
  const Tensor all_boxes = torch::stable::contiguous(boxes);
  Tensor covered = torch::stable::new_empty(boxes, {batch, box_count}, ScalarType::Bool);
  std::vector<Image<T>> images;
  images.reserve(batch);
  for (int64_t b = 0; b < batch; ++b) {
    images.push_back(
        {real.data() + ends[b], ends[b + 1] - ends[b], all_boxes.const_data_ptr<T>() + 4 * b * box_count, box_count,
         covered.mutable_data_ptr<bool>() + b * box_count});
  }
  const int64_t blocks = (box_count + kBlock - 1) / kBlock;
  torch::stable::parallel_for(0, batch * blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      cover_block_clones(images[block / blocks], block % blocks, fraction);
    }
  });
  return covered;
}

Tensor covered_boxes(const Tensor& boxes, const Tensor& regions, const Tensor& regions_valid, double fraction) {
  check_covered_boxes_arguments(boxes, regions, regions_valid);
  STD_TORCH_CHECK(
      boxes.is_cpu() && regions.is_cpu() && regions_valid.is_cpu(), "covered_boxes: tensors must be on the CPU");

  const Tensor all_regions = torch::stable::contiguous(regions), valid = torch::stable::contiguous(regions_valid);
  return boxes.scalar_type() == ScalarType::Float
             ? cover_all<float>(boxes, all_regions, valid, static_cast<float>(fraction))
             : cover_all<double>(boxes, all_regions, valid, fraction);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, m) {
  m.impl("covered_boxes", TORCH_BOX(&covered_boxes));
}

}  // namespace maskrcnn
