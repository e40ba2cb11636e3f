// Pasting on the CPU: the rows of all pictures are independent and run in parallel.
//
// A row of pixels lies between two rows of cells. Both are stretched to the columns of the picture that the box covers,
// and kept for the next row of pixels, which usually lies between the same two. What is left for each pixel is to blend
// two numbers and compare: contiguous memory, and no picture of probabilities.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "arguments.h"
#include "paste_masks.h"

namespace maskrcnn {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The innermost loop. It stands alone because target_clones needs functions that are no templates.
#define MASKRCNN_BINARISE(T)                                                                           \
  MASKRCNN_TARGET_CLONES void binarise(                                                                \
      bool* __restrict out, const T* __restrict upper, const T* __restrict lower, T part, T least, int64_t count) { \
    for (int64_t x = 0; x < count; ++x) {                                                              \
      out[x] = blend(upper[x], lower[x], part) >= least;                                               \
    }                                                                                                  \
  }
MASKRCNN_BINARISE(float)
MASKRCNN_BINARISE(double)
#undef MASKRCNN_BINARISE

// One mask over one box: what all its rows of pixels have in common, and the two rows of cells stretched last.
template <typename T>
class StretchedMask {
 public:
  // All memory is allocated here, for any number of masks: an exception inside parallel_for would lose its text.
  StretchedMask(int64_t cells, int64_t width, bool padded_resize)
      : cells_(cells), padded_resize_(padded_resize), columns_(width), line_(cells + 2), upper_(width), lower_(width) {}

  void set(const T* mask, const T* box) {
    mask_ = mask;
    rows_ = mask_axis(box[1], box[3], cells_, padded_resize_);
    const MaskAxis<T> axis = mask_axis(box[0], box[2], cells_, padded_resize_);
    for (size_t x = 0; x < columns_.size(); ++x) {
      columns_[x] = cell_position(axis, static_cast<int64_t>(x));
    }
    const auto inside = [](const CellPosition<T>& column) { return column.inside; };
    const auto first = std::find_if(columns_.begin(), columns_.end(), inside);
    first_ = first - columns_.begin();
    last_ = std::find_if_not(first, columns_.end(), inside) - columns_.begin();
    stretched_ = kNone;
  }

  void paste_row(int64_t y, bool* out) {
    const CellPosition<T> row = cell_position(rows_, y);
    const int64_t count = row.inside ? last_ - first_ : 0;
    std::fill(out, out + first_, false);
    if (count > 0) {
      stretch_from(row.cell);
      binarise(out + first_, upper_.data(), lower_.data(), row.part, least_probability<T>(padded_resize_), count);
    }
    std::fill(out + first_ + count, out + columns_.size(), false);
  }

 private:
  static constexpr int64_t kNone = -3;  // neither a row of cells nor the one before

  void stretch_from(int64_t cell) {
    if (cell == stretched_) {
      return;
    }
    if (cell == stretched_ + 1) {
      std::swap(upper_, lower_);
    } else {
      stretch(cell, upper_);
    }
    stretch(cell + 1, lower_);
    stretched_ = cell;
  }

  void stretch(int64_t cell, std::vector<T>& out) {
    if (cell < 0 || cell >= cells_) {
      std::fill(out.begin(), out.end(), T(0));
      return;
    }
    std::copy_n(mask_ + cell * cells_, cells_, line_.begin() + 1);  // between the two empty cells
    for (int64_t x = first_; x < last_; ++x) {
      const T* between = line_.data() + columns_[x].cell + 1;
      out[x - first_] = blend(between[0], between[1], columns_[x].part);
    }
  }

  int64_t cells_;
  bool padded_resize_;
  const T* mask_ = nullptr;
  MaskAxis<T> rows_{};
  std::vector<CellPosition<T>> columns_;
  int64_t first_ = 0, last_ = 0;  // of the columns inside
  std::vector<T> line_, upper_, lower_;
  int64_t stretched_ = kNone;  // the row of cells that is in `upper_`
};

template <typename T>
void paste_all(const Tensor& masks, const Tensor& boxes, bool padded_resize, Tensor& pictures) {
  const T* mask = masks.const_data_ptr<T>();
  const T* box = boxes.const_data_ptr<T>();
  bool* out = pictures.mutable_data_ptr<bool>();
  const int64_t cells = masks.size(1), height = pictures.size(1), width = pictures.size(2);
  const int64_t count = masks.size(0) * height;  // of rows
  const int64_t workers = std::min<int64_t>(count, torch::stable::get_num_threads());
  std::vector<StretchedMask<T>> stretched(workers, StretchedMask<T>(cells, width, padded_resize));

  torch::stable::parallel_for(0, workers, 1, [&](int64_t first, int64_t last) {
    for (int64_t worker = first; worker < last; ++worker) {
      const int64_t first_row = worker * count / workers, last_row = (worker + 1) * count / workers;
      for (int64_t row = first_row; row < last_row; ++row) {
        const int64_t n = row / height, y = row % height;
        if (row == first_row || y == 0) {
          stretched[worker].set(mask + n * cells * cells, box + 4 * n);
        }
        stretched[worker].paste_row(y, out + row * width);
      }
    }
  });
}

Tensor paste_masks(const Tensor& masks, const Tensor& boxes, int64_t height, int64_t width, bool padded_resize) {
  check_paste_masks_arguments(masks, boxes, height, width);
  STD_TORCH_CHECK(masks.is_cpu() && boxes.is_cpu(), "paste_masks: tensors must be on the CPU");

  const Tensor all_masks = torch::stable::contiguous(masks), all_boxes = torch::stable::contiguous(boxes);
  Tensor pictures = torch::stable::new_empty(masks, {masks.size(0), height, width}, ScalarType::Bool);
  if (pictures.numel() == 0) {
    return pictures;
  }
  if (masks.scalar_type() == ScalarType::Float) {
    paste_all<float>(all_masks, all_boxes, padded_resize, pictures);
  } else {
    paste_all<double>(all_masks, all_boxes, padded_resize, pictures);
  }
  return pictures;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, m) {
  m.impl("paste_masks", TORCH_BOX(&paste_masks));
}

}  // namespace maskrcnn
