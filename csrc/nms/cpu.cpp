// NMS on the CPU. Images are independent and run in parallel.
//
// The candidates of an image are sorted by group and score. Each is compared with the survivors of its group so far,
// best first, which is all that greedy suppression asks for: most candidates of a crowded picture fall to one of the
// first few. The survivors lie coordinate by coordinate (a structure of arrays), so that one vector instruction
// compares with many of them.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "arguments.h"
#include "nms.h"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename T>
struct Candidate {
  int64_t group;
  T score;
  int64_t index;
};

template <typename T>
bool better(const Candidate<T>& a, const Candidate<T>& b) {
  return a.score > b.score || (a.score == b.score && a.index < b.index);
}

// The survivors of one group. They are compared block by block; the last block is filled up with boxes that overlap
// nothing.
constexpr int64_t kBlock = 64;

template <typename T>
struct Survivors {
  T *x1, *y1, *x2, *y2, *area;
  int64_t count;

  MASKRCNN_ALWAYS_INLINE Box<T> operator[](int64_t i) const {
    return {x1[i], y1[i], x2[i], y2[i], area[i]};
  }
};

template <typename T>
MASKRCNN_ALWAYS_INLINE bool any_overlaps(const Survivors<T>& survivors, const Box<T>& box, T iou_threshold) {
  const T factor = may_overlap_factor(iou_threshold);
  for (int64_t block = 0; block < survivors.count; block += kBlock) {
    int hits = 0;
    for (int64_t i = block; i < block + kBlock; ++i) {
      hits |= may_overlap(survivors[i], box, factor);
    }
    if (hits == 0) {
      continue;
    }
    for (int64_t i = block; i < block + kBlock; ++i) {
      if (overlaps(survivors[i], box, iou_threshold)) {
        return true;
      }
    }
  }
  return false;
}

template <typename T>
MASKRCNN_ALWAYS_INLINE void add(Survivors<T>& survivors, const Box<T>& box) {
  const int64_t i = survivors.count++;
  if (i % kBlock == 0) {
    for (T* values : {survivors.x1, survivors.y1, survivors.x2, survivors.y2, survivors.area}) {
      std::fill_n(values + i, kBlock, T(0));
    }
  }
  survivors.x1[i] = box.x1;
  survivors.y1[i] = box.y1;
  survivors.x2[i] = box.x2;
  survivors.y2[i] = box.y2;
  survivors.area[i] = box.area;
}

// Moves the candidates that survive to the front, group by group, and returns how many there are.
template <typename T>
MASKRCNN_ALWAYS_INLINE int64_t suppress(
    Candidate<T>* candidates, int64_t count, const T* boxes, T* storage, T iou_threshold, int64_t max_keep) {
  const int64_t capacity = count + kBlock;
  Survivors<T> survivors{
      storage, storage + capacity, storage + 2 * capacity, storage + 3 * capacity, storage + 4 * capacity, 0};
  int64_t kept = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0 && candidates[i].group != candidates[i - 1].group) {
      survivors.count = 0;
    }
    if (survivors.count == max_keep) {
      continue;  // no later one of this group can be among the best `max_keep`
    }
    const Box<T> box = load_box(boxes + 4 * candidates[i].index);
    if (!any_overlaps(survivors, box, iou_threshold)) {
      add(survivors, box);
      candidates[kept++] = candidates[i];  // never ahead of what is still to be read
    }
  }
  return kept;
}

// target_clones needs functions that are no templates.
MASKRCNN_TARGET_CLONES int64_t suppress_clones(
    Candidate<float>* candidates, int64_t count, const float* boxes, float* storage, float threshold,
    int64_t max_keep) {
  return suppress(candidates, count, boxes, storage, threshold, max_keep);
}

MASKRCNN_TARGET_CLONES int64_t suppress_clones(
    Candidate<double>* candidates, int64_t count, const double* boxes, double* storage, double threshold,
    int64_t max_keep) {
  return suppress(candidates, count, boxes, storage, threshold, max_keep);
}

template <typename T>
int64_t gather_candidates(const T* boxes, const T* scores, const int64_t* groups, int64_t count, Candidate<T>* out) {
  int64_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (is_candidate(boxes + 4 * i, scores[i])) {
      out[found++] = {groups ? groups[i] : 0, scores[i], i};
    }
  }
  return found;
}

template <typename T>
void nms_of_all_images(
    const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups, T iou_threshold, Tensor& keep) {
  const int64_t batch = boxes.size(0), count = boxes.size(1), max_keep = keep.size(1);
  const T* all_boxes = boxes.const_data_ptr<T>();
  const T* all_scores = scores.const_data_ptr<T>();
  const int64_t* all_groups = groups ? groups->const_data_ptr<int64_t>() : nullptr;
  int64_t* all_keep = keep.mutable_data_ptr<int64_t>();

  // All memory is allocated here: an exception inside parallel_for would lose its text.
  const int64_t storage_size = 5 * (count + kBlock);
  std::vector<Candidate<T>> all_candidates(batch * count);
  std::vector<T> all_storage(batch * storage_size);

  torch::stable::parallel_for(0, batch, 1, [&](int64_t first, int64_t last) {
    for (int64_t image = first; image < last; ++image) {
      Candidate<T>* candidates = all_candidates.data() + image * count;
      const int64_t* image_groups = all_groups ? all_groups + image * count : nullptr;
      const T* image_boxes = all_boxes + image * count * 4;
      const int64_t found =
          gather_candidates(image_boxes, all_scores + image * count, image_groups, count, candidates);
      std::sort(candidates, candidates + found, [](const Candidate<T>& a, const Candidate<T>& b) {
        return a.group < b.group || (a.group == b.group && better(a, b));
      });
      const int64_t kept = suppress_clones(
          candidates, found, image_boxes, all_storage.data() + image * storage_size, iou_threshold, max_keep);
      std::sort(candidates, candidates + kept, better<T>);
      int64_t* out = all_keep + image * max_keep;
      for (int64_t slot = 0; slot < max_keep; ++slot) {
        out[slot] = slot < kept ? candidates[slot].index : -1;
      }
    }
  });
}

Tensor nms(
    const Tensor& boxes, const Tensor& scores, const std::optional<Tensor>& groups, double iou_threshold,
    int64_t max_keep) {
  check_nms_arguments(boxes, scores, groups, max_keep);
  STD_TORCH_CHECK(boxes.is_cpu() && scores.is_cpu(), "nms: tensors must be on the CPU");
  std::optional<Tensor> contiguous_groups;
  if (groups) {
    STD_TORCH_CHECK(groups->is_cpu(), "nms: groups must be on the CPU");
    contiguous_groups = torch::stable::contiguous(*groups);
  }
  Tensor keep = torch::stable::new_empty(boxes, {boxes.size(0), max_keep}, ScalarType::Long);
  const Tensor contiguous_boxes = torch::stable::contiguous(boxes);
  const Tensor contiguous_scores = torch::stable::contiguous(scores);
  if (boxes.scalar_type() == ScalarType::Float) {
    nms_of_all_images<float>(
        contiguous_boxes, contiguous_scores, contiguous_groups, static_cast<float>(iou_threshold), keep);
  } else {
    nms_of_all_images<double>(contiguous_boxes, contiguous_scores, contiguous_groups, iou_threshold, keep);
  }
  return keep;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, m) {
  m.impl("nms", TORCH_BOX(&nms));
}

}  // namespace maskrcnn
