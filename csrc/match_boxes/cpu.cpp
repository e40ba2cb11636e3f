// Matching on the CPU, in two passes over blocks of boxes, which run in parallel.
//
// The first finds the best ground truth of each box and, of each ground truth, its largest IoU in each block. The
// second looks for the boxes that tie a ground truth's largest IoU of all: only in the blocks where it was reached, so
// it costs next to nothing. The IoUs of all pairs are never stored.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

#include "arguments.h"
#include "match_boxes.h"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t kBlock = 256;
constexpr int kNoOverlap = -1;  // below every IoU

// A block of boxes, coordinate by coordinate, so that one vector instruction compares many with a ground truth. The
// last block of an image is filled up with boxes that match nothing.
template <typename T>
struct Block {
  T x1[kBlock], y1[kBlock], x2[kBlock], y2[kBlock], area[kBlock];

  MASKRCNN_ALWAYS_INLINE void load(const T* corners, const bool* valid, int64_t count) {
    for (int64_t i = 0; i < kBlock; ++i) {
      const Box<T> box = i < count ? load_matchable_box(corners + 4 * i, valid[i]) : unmatchable_box<T>();
      x1[i] = box.x1, y1[i] = box.y1, x2[i] = box.x2, y2[i] = box.y2, area[i] = box.area;
    }
  }

  MASKRCNN_ALWAYS_INLINE T overlap(int64_t i, const Box<T>& ground_truth) const {
    return iou(ground_truth, Box<T>{x1[i], y1[i], x2[i], y2[i], area[i]});
  }
};

// One image's tensors, and its share of the maxima that the first pass leaves for the second.
template <typename T>
struct Image {
  const T* ground_truths;
  const bool* ground_truths_valid;
  int64_t ground_truth_count;
  const T* boxes;
  const bool* boxes_valid;
  int64_t box_count;
  T* best_iou;
  int64_t* best_ground_truth;
  int64_t* forced;
  T* block_maxima;  // blocks x ground truths

  MASKRCNN_ALWAYS_INLINE Box<T> ground_truth(int64_t g) const {
    return load_matchable_box(ground_truths + 4 * g, ground_truths_valid[g]);
  }
};

template <typename T>
MASKRCNN_ALWAYS_INLINE void find_best(const Image<T>& image, int64_t block_number) {
  const int64_t first = block_number * kBlock, count = std::min(kBlock, image.box_count - first);
  Block<T> block;
  block.load(image.boxes + 4 * first, image.boxes_valid + first, count);
  T best[kBlock];
  int32_t best_ground_truth[kBlock];
  std::fill_n(best, kBlock, T(kNoOverlap));
  std::fill_n(best_ground_truth, kBlock, 0);
  for (int64_t g = 0; g < image.ground_truth_count; ++g) {
    const Box<T> ground_truth = image.ground_truth(g);
    const int32_t number = static_cast<int32_t>(g);
    T maximum = T(kNoOverlap);
    for (int64_t i = 0; i < kBlock; ++i) {
      const T overlap = block.overlap(i, ground_truth);
      const bool better = overlap > best[i];  // so the first of equals stays
      best_ground_truth[i] = better ? number : best_ground_truth[i];
      best[i] = better ? overlap : best[i];
      maximum = overlap > maximum ? overlap : maximum;
    }
    image.block_maxima[block_number * image.ground_truth_count + g] = maximum;
  }
  for (int64_t i = 0; i < count; ++i) {
    image.best_iou[first + i] = not_negative(best[i]);
    image.best_ground_truth[first + i] = best_ground_truth[i];
    image.forced[first + i] = -1;
  }
}

template <typename T>
MASKRCNN_ALWAYS_INLINE void find_forced(const Image<T>& image, int64_t block_number, const T* maxima, T floor) {
  const int64_t first = block_number * kBlock, count = std::min(kBlock, image.box_count - first);
  const T* block_maxima = image.block_maxima + block_number * image.ground_truth_count;
  for (int64_t g = 0; g < image.ground_truth_count; ++g) {
    if (!(maxima[g] >= floor) || block_maxima[g] != maxima[g]) {
      continue;
    }
    const Box<T> ground_truth = image.ground_truth(g);
    for (int64_t i = first; i < first + count; ++i) {
      if (iou(ground_truth, load_matchable_box(image.boxes + 4 * i, image.boxes_valid[i])) == maxima[g]) {
        image.forced[i] = g;  // the last ground truth wins
      }
    }
  }
}

// target_clones needs functions that are no templates.
MASKRCNN_TARGET_CLONES void find_best_clones(const Image<float>& image, int64_t block) {
  find_best(image, block);
}

MASKRCNN_TARGET_CLONES void find_best_clones(const Image<double>& image, int64_t block) {
  find_best(image, block);
}

template <typename T>
void match_all(
    const Tensor& ground_truths, const Tensor& ground_truths_valid, const Tensor& boxes, const Tensor& boxes_valid,
    T floor, Tensor& best_iou, Tensor& best_ground_truth, Tensor& forced) {
  const int64_t batch = boxes.size(0), box_count = boxes.size(1), ground_truth_count = ground_truths.size(1);
  const int64_t blocks = (box_count + kBlock - 1) / kBlock;
  // All memory is allocated here: an exception inside parallel_for would lose its text.
  std::vector<T> block_maxima(batch * blocks * ground_truth_count);
  std::vector<T> maxima(batch * ground_truth_count, T(kNoOverlap));
  std::vector<Image<T>> images;
  images.reserve(batch);
  for (int64_t b = 0; b < batch; ++b) {
    images.push_back(
        {ground_truths.const_data_ptr<T>() + 4 * b * ground_truth_count,
         ground_truths_valid.const_data_ptr<bool>() + b * ground_truth_count, ground_truth_count,
         boxes.const_data_ptr<T>() + 4 * b * box_count, boxes_valid.const_data_ptr<bool>() + b * box_count, box_count,
         best_iou.mutable_data_ptr<T>() + b * box_count, best_ground_truth.mutable_data_ptr<int64_t>() + b * box_count,
         forced.mutable_data_ptr<int64_t>() + b * box_count, block_maxima.data() + b * blocks * ground_truth_count});
  }

  torch::stable::parallel_for(0, batch * blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      find_best_clones(images[block / blocks], block % blocks);
    }
  });
  for (int64_t row = 0; row < batch * blocks; ++row) {
    for (int64_t g = 0; g < ground_truth_count; ++g) {
      T& maximum = maxima[row / blocks * ground_truth_count + g];
      maximum = std::max(maximum, block_maxima[row * ground_truth_count + g]);
    }
  }
  torch::stable::parallel_for(0, batch * blocks, 1, [&](int64_t first, int64_t last) {
    for (int64_t block = first; block < last; ++block) {
      const T* of_image = maxima.data() + block / blocks * ground_truth_count;
      find_forced(images[block / blocks], block % blocks, of_image, floor);
    }
  });
}

std::tuple<Tensor, Tensor, Tensor> match_boxes(
    const Tensor& ground_truths, const Tensor& ground_truths_valid, const Tensor& boxes, const Tensor& boxes_valid,
    double floor) {
  check_match_boxes_arguments(ground_truths, ground_truths_valid, boxes, boxes_valid);
  const int64_t batch = boxes.size(0), count = boxes.size(1);
  STD_TORCH_CHECK(
      ground_truths.is_cpu() && ground_truths_valid.is_cpu() && boxes.is_cpu() && boxes_valid.is_cpu(),
      "match_boxes: tensors must be on the CPU");
  STD_TORCH_CHECK(ground_truths.size(1) < (int64_t{1} << 31), "match_boxes: there are too many ground truths");

  const Tensor all_ground_truths = torch::stable::contiguous(ground_truths),
               all_ground_truths_valid = torch::stable::contiguous(ground_truths_valid),
               all_boxes = torch::stable::contiguous(boxes), all_boxes_valid = torch::stable::contiguous(boxes_valid);
  Tensor best_iou = torch::stable::new_empty(boxes, {batch, count});
  Tensor best_ground_truth = torch::stable::new_empty(boxes, {batch, count}, ScalarType::Long);
  Tensor forced = torch::stable::new_empty(boxes, {batch, count}, ScalarType::Long);
  if (boxes.scalar_type() == ScalarType::Float) {
    match_all<float>(
        all_ground_truths, all_ground_truths_valid, all_boxes, all_boxes_valid, static_cast<float>(floor), best_iou,
        best_ground_truth, forced);
  } else {
    match_all<double>(
        all_ground_truths, all_ground_truths_valid, all_boxes, all_boxes_valid, floor, best_iou, best_ground_truth,
        forced);
  }
  return std::make_tuple(best_iou, best_ground_truth, forced);
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, m) {
  m.impl("match_boxes", TORCH_BOX(&match_boxes));
}

}  // namespace maskrcnn
