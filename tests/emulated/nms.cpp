// The launches of csrc/nms/cuda.cu, on the emulator.

#include "emulator/emulator.h"
#include "nms/kernel.cuh"

#include <vector>

namespace {

using namespace maskrcnn;

template <typename T>
void nms(
    const T* boxes, const T* scores, const int64_t* groups, int64_t batch, int64_t count, T iou_threshold,
    int64_t max_keep, int64_t* keep, unsigned rank_threads, unsigned survivor_threads) {
  const int64_t tiles = tiles_of(count);
  std::vector<RankedBox<T>> ranked(batch * count);
  std::vector<Bits> suppressors(batch * count * tiles), survivors(batch * tiles);
  if (count > 0) {
    const unsigned blocks = static_cast<unsigned>(batch * ((count + rank_threads - 1) / rank_threads));
    emulator::launch(blocks, rank_threads, rank_boxes<T>, boxes, scores, groups, count, ranked.data());
    const unsigned pairs = static_cast<unsigned>(batch * tiles * tiles);
    emulator::launch(pairs, kTile, find_suppressors<T>, ranked.data(), count, iou_threshold, suppressors.data());
  }
  emulator::launch(
      static_cast<unsigned>(batch), survivor_threads, keep_survivors<T>, ranked.data(), suppressors.data(), count,
      max_keep, survivors.data(), keep);
}

}  // namespace

extern "C" void nms_float(
    const float* boxes, const float* scores, const int64_t* groups, int64_t batch, int64_t count, double iou_threshold,
    int64_t max_keep, int64_t* keep, unsigned rank_threads, unsigned survivor_threads) {
  nms<float>(
      boxes, scores, groups, batch, count, static_cast<float>(iou_threshold), max_keep, keep, rank_threads,
      survivor_threads);
}

extern "C" void nms_double(
    const double* boxes, const double* scores, const int64_t* groups, int64_t batch, int64_t count,
    double iou_threshold, int64_t max_keep, int64_t* keep, unsigned rank_threads, unsigned survivor_threads) {
  nms<double>(
      boxes, scores, groups, batch, count, iou_threshold, max_keep, keep, rank_threads, survivor_threads);
}
