// Run-length codes for Python: `maskrcnn._C.run_length`, over numpy arrays. Users' mistakes are found in
// `maskrcnn/ops/run_length.py`; here only what would read or write memory that is not there.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "counts_string.h"
#include "kernels.h"

namespace maskrcnn::run_length {
namespace {

namespace py = pybind11;

template <typename T>
using Array = py::array_t<T, py::array::c_style | py::array::forcecast>;

constexpr double kFarthest = 1e8;  // so that a place on the finer grid, and differences of such, fit in 64 bits

void require(bool fits, const char* message) {
  if (!fits) {
    throw std::invalid_argument(message);
  }
}

void require_offsets(const Array<int64_t>& offsets, int64_t length) {
  const int64_t *begin = offsets.data(), *end = begin + offsets.size();
  require(
      offsets.ndim() == 1 && offsets.size() > 0 && *begin >= 0 && end[-1] <= length && std::is_sorted(begin, end),
      "run_length: offsets must lie in order and inside of what they divide");
}

Codes codes_of(const Array<uint32_t>& counts, const Array<int64_t>& offsets) {
  require_offsets(offsets, counts.size());
  return {counts.data(), offsets.data(), static_cast<int64_t>(offsets.size()) - 1};
}

py::array_t<uint32_t> array_of(const std::vector<uint32_t>& counts) {
  return py::array_t<uint32_t>(static_cast<py::ssize_t>(counts.size()), counts.data());
}

// All counts one after another, and where each code begins.
py::tuple flattened(const CountLists& lists) {
  py::array_t<int64_t> offsets(static_cast<py::ssize_t>(lists.size()) + 1);
  int64_t* offset = offsets.mutable_data();
  *offset = 0;
  for (size_t i = 0; i < lists.size(); ++i) {
    offset[i + 1] = offset[i] + static_cast<int64_t>(lists[i].size());
  }
  py::array_t<uint32_t> counts(offset[lists.size()]);
  uint32_t* count = counts.mutable_data();
  for (const std::vector<uint32_t>& list : lists) {
    count = std::copy(list.begin(), list.end(), count);
  }
  return py::make_tuple(counts, offsets);
}

void require_pixels(int64_t height, int64_t width) {
  require(height > 0 && width > 0 && height <= int64_t{UINT32_MAX} / width, "run_length: the mask has no possible size");
}

py::tuple encode_masks(const Array<uint8_t>& masks) {
  require(masks.ndim() == 3, "run_length: masks must be (N, H, W)");
  require_pixels(masks.shape(1), masks.shape(2));
  CountLists lists;
  {
    py::gil_scoped_release release;
    lists = encode(masks.data(), masks.shape(0), masks.shape(1), masks.shape(2));
  }
  return flattened(lists);
}

py::array_t<uint8_t> decode_codes(
    const Array<uint32_t>& counts, const Array<int64_t>& offsets, int64_t height, int64_t width) {
  const Codes codes = codes_of(counts, offsets);
  require_pixels(height, width);
  for (int64_t i = 0; i < codes.size; ++i) {
    int64_t pixels = 0;
    for_each_run(codes[i], [&](const Run& run) { pixels = run.end; });
    require(pixels <= height * width, "run_length: a code counts more pixels than there are");
  }
  py::array_t<uint8_t> masks({codes.size, height, width});
  uint8_t* pixels = masks.mutable_data();
  py::gil_scoped_release release;
  std::fill_n(pixels, codes.size * height * width, uint8_t{0});
  decode(codes, height, width, pixels);
  return masks;
}

py::array_t<uint32_t> merge_codes(
    const Array<uint32_t>& counts, const Array<int64_t>& offsets, bool intersecting, int64_t total) {
  const Codes codes = codes_of(counts, offsets);
  require(codes.size > 0, "run_length: nothing to merge");
  return array_of(merge(codes, intersecting, total));
}

py::array_t<int64_t> areas(const Array<uint32_t>& counts, const Array<int64_t>& offsets) {
  const Codes codes = codes_of(counts, offsets);
  py::array_t<int64_t> result(codes.size);
  for (int64_t i = 0; i < codes.size; ++i) {
    result.mutable_at(i) = area(codes[i]);
  }
  return result;
}

py::array_t<int64_t> boxes(
    const Array<uint32_t>& counts, const Array<int64_t>& offsets, const Array<int64_t>& heights) {
  const Codes codes = codes_of(counts, offsets);
  require(heights.ndim() == 1 && heights.size() == codes.size, "run_length: there must be a height for each code");
  py::array_t<int64_t> result({codes.size, int64_t{4}});
  int64_t* corner = result.mutable_data();
  for (int64_t i = 0; i < codes.size; ++i) {
    require(heights.at(i) > 0, "run_length: a height must be at least 1");
    const PixelBox found = box(codes[i], heights.at(i));
    for (const int64_t side : {found.x1, found.y1, found.x2, found.y2}) {
      *corner++ = side;
    }
  }
  return result;
}

py::array_t<double> iou_of_all(
    const Array<uint32_t>& counts, const Array<int64_t>& offsets, const Array<uint32_t>& other_counts,
    const Array<int64_t>& other_offsets, int64_t height, const Array<bool>& crowd) {
  const Codes detections = codes_of(counts, offsets), ground_truths = codes_of(other_counts, other_offsets);
  require(crowd.size() == ground_truths.size && height > 0, "run_length: crowd must have a flag for each ground truth");
  py::array_t<double> result({detections.size, ground_truths.size});
  double* values = result.mutable_data();
  py::gil_scoped_release release;
  iou(detections, ground_truths, height, crowd.data(), values);
  return result;
}

py::tuple encode_polygons(
    const Array<double>& points, const Array<int64_t>& offsets, int64_t height, int64_t width) {
  require(points.ndim() == 2 && points.shape(1) == 2, "run_length: points must be (P, 2)");
  require_offsets(offsets, points.shape(0));
  require_pixels(height, width);
  require(
      std::all_of(points.data(), points.data() + points.size(), [](double x) { return std::abs(x) <= kFarthest; }),
      "run_length: a coordinate is no number or too large");
  CountLists lists;
  {
    py::gil_scoped_release release;
    lists = from_polygons(points.data(), offsets.data(), offsets.size() - 1, height, width);
  }
  return flattened(lists);
}

std::string string_of(const Array<uint32_t>& counts) {
  return to_string({counts.data(), counts.size()});
}

py::array_t<uint32_t> counts_of(const std::string& text) {
  return array_of(from_string(text));
}

}  // namespace
}  // namespace maskrcnn::run_length

void bind_run_length(pybind11::module_ module) {
  namespace run_length = maskrcnn::run_length;
  module.doc() = "Run-length codes. The functions and arguments are those of maskrcnn.ops.fallback_run_length.";
  module.def("encode", &run_length::encode_masks);
  module.def("decode", &run_length::decode_codes);
  module.def("merge", &run_length::merge_codes);
  module.def("area", &run_length::areas);
  module.def("box", &run_length::boxes);
  module.def("iou", &run_length::iou_of_all);
  module.def("from_polygons", &run_length::encode_polygons);
  module.def("to_string", &run_length::string_of);
  module.def("from_string", &run_length::counts_of);
}
