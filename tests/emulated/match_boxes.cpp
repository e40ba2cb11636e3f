// The launches of csrc/match_boxes/cuda.cu, on the emulator.

#include "emulator/emulator.h"
#include "match_boxes/kernel.cuh"

#include <vector>

namespace {

using namespace maskrcnn;

template <typename T>
void match_boxes(
    const T* ground_truths, const bool* ground_truths_valid, const T* boxes, const bool* boxes_valid, int64_t batch,
    int64_t ground_truth_count, int64_t box_count, T floor, T* best_iou, int64_t* best_ground_truth, int64_t* forced,
    unsigned threads) {
  const auto blocks_of = [](int64_t count, int64_t per_block) {
    return static_cast<unsigned>((count + per_block - 1) / per_block);
  };
  std::vector<typename OrderedBits<T>::Type> maxima(batch * ground_truth_count);
  if (ground_truth_count > 0) {
    const unsigned blocks =
        blocks_of(box_count, threads * kBoxesPerThread) * blocks_of(ground_truth_count, kGroundTruthsPerBlock);
    emulator::launch(
        static_cast<unsigned>(batch) * blocks, threads, find_maxima<T>, ground_truths, ground_truths_valid,
        ground_truth_count, boxes, boxes_valid, box_count, maxima.data());
  }
  emulator::launch(
      static_cast<unsigned>(batch) * blocks_of(box_count, threads), threads, match_each_box<T>, ground_truths,
      ground_truths_valid, ground_truth_count, boxes, boxes_valid, box_count, maxima.data(), floor, best_iou,
      best_ground_truth, forced);
}

}  // namespace

extern "C" void match_boxes_float(
    const float* ground_truths, const bool* ground_truths_valid, const float* boxes, const bool* boxes_valid,
    int64_t batch, int64_t ground_truth_count, int64_t box_count, double floor, float* best_iou,
    int64_t* best_ground_truth, int64_t* forced, unsigned threads) {
  match_boxes<float>(
      ground_truths, ground_truths_valid, boxes, boxes_valid, batch, ground_truth_count, box_count,
      static_cast<float>(floor), best_iou, best_ground_truth, forced, threads);
}

extern "C" void match_boxes_double(
    const double* ground_truths, const bool* ground_truths_valid, const double* boxes, const bool* boxes_valid,
    int64_t batch, int64_t ground_truth_count, int64_t box_count, double floor, double* best_iou,
    int64_t* best_ground_truth, int64_t* forced, unsigned threads) {
  match_boxes<double>(
      ground_truths, ground_truths_valid, boxes, boxes_valid, batch, ground_truth_count, box_count, floor, best_iou,
      best_ground_truth, forced, threads);
}
