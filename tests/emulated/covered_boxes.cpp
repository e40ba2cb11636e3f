// The launch of csrc/covered_boxes/cuda.cu, on the emulator.

#include "emulator/emulator.h"
#include "covered_boxes/kernel.cuh"

namespace {

using namespace maskrcnn;

template <typename T>
void covered_boxes(
    const T* boxes, const T* regions, const bool* regions_valid, int64_t batch, int64_t box_count,
    int64_t region_count, T fraction, bool* covered, unsigned threads) {
  const auto blocks = static_cast<unsigned>(batch * ((box_count + threads - 1) / threads));
  emulator::launch(
      blocks, threads, find_covered<T>, boxes, box_count, regions, regions_valid, region_count, fraction, covered);
}

}  // namespace

extern "C" void covered_boxes_float(
    const float* boxes, const float* regions, const bool* regions_valid, int64_t batch, int64_t box_count,
    int64_t region_count, double fraction, bool* covered, unsigned threads) {
  covered_boxes<float>(
      boxes, regions, regions_valid, batch, box_count, region_count, static_cast<float>(fraction), covered, threads);
}

extern "C" void covered_boxes_double(
    const double* boxes, const double* regions, const bool* regions_valid, int64_t batch, int64_t box_count,
    int64_t region_count, double fraction, bool* covered, unsigned threads) {
  covered_boxes<double>(
      boxes, regions, regions_valid, batch, box_count, region_count, fraction, covered, threads);
}
