// NMS on the GPU, for all images in one chain of three kernels:
//
// 1. `rank_boxes`: every box counts the boxes that come before it, best score first. That is its place in the order.
// 2. `find_suppressors`: for each box and each tile of 64 better ones, a word with a bit for each of them: would it,
//    if it survived, suppress the box? All pairs are independent here.
// 3. `keep_survivors`: one block of threads per image walks over the tiles, best first. Who survived among the better
//    ones is known by then, so a box falls if its words have a bit in common with the survivors'.
//
// Nothing waits for the host, and no size depends on what the boxes are. The words of an image take N * N / 8 bytes.
#pragma once

#include <cstdint>
#include <limits>

#include "nms.h"

namespace maskrcnn {

using Bits = unsigned long long;  // the type of CUDA's atomic operations on 64 bits
constexpr int kTile = 64;         // a word has a bit for each box of a tile
constexpr int kRankThreads = 256;
constexpr int kSurvivorThreads = 8 * kTile;

MASKRCNN_HOST_DEVICE inline int64_t tiles_of(int64_t count) {
  return (count + kTile - 1) / kTile;
}

template <typename T>
struct RankedBox {
  Box<T> box;
  int64_t group;
  int64_t index;  // among the boxes as they were given, or -1 if this is no candidate; such boxes come last
};

template <typename T>
MASKRCNN_HOST_DEVICE inline T score_or_lowest(const T* box, T score) {
  return is_candidate(box, score) ? score : -std::numeric_limits<T>::infinity();
}

// A thread for each box; blocks of up to kRankThreads, no block with boxes of two images.
template <typename T>
__global__ void __launch_bounds__(kRankThreads)
rank_boxes(const T* boxes, const T* scores, const int64_t* groups, int64_t count, RankedBox<T>* ranked) {
  __shared__ T others[kRankThreads];
  const int64_t threads = blockDim.x, blocks_per_image = (count + threads - 1) / threads;
  const int64_t image = blockIdx.x / blocks_per_image;
  const int64_t i = blockIdx.x % blocks_per_image * threads + threadIdx.x;
  boxes += image * count * 4;
  scores += image * count;

  const T own = i < count ? score_or_lowest(boxes + 4 * i, scores[i]) : T(0);
  int64_t better = 0;
  for (int64_t first = 0; first < count; first += threads) {
    const int64_t mine = first + threadIdx.x;
    __syncthreads();  // all have read the scores before
    if (mine < count) {
      others[threadIdx.x] = score_or_lowest(boxes + 4 * mine, scores[mine]);
    }
    __syncthreads();
    for (int64_t j = first; j < first + threads && j < count; ++j) {
      const T other = others[j - first];
      better += other > own || (other == own && j < i);
    }
  }
  if (i < count) {
    RankedBox<T>& place = ranked[image * count + better];
    place.box = load_box(boxes + 4 * i);
    place.group = groups ? groups[image * count + i] : 0;
    place.index = is_candidate(boxes + 4 * i, scores[i]) ? i : -1;
  }
}

// For each image tiles x tiles blocks of kTile threads: a thread for each box of one tile, to compare with another.
// suppressors: (images, boxes, tiles), of which the words up to the box's own tile are written.
template <typename T>
__global__ void __launch_bounds__(kTile)
find_suppressors(const RankedBox<T>* ranked, int64_t count, T iou_threshold, Bits* suppressors) {
  __shared__ RankedBox<T> others[kTile];
  const int64_t tiles = tiles_of(count), image = blockIdx.x / (tiles * tiles);
  const int64_t own_tile = blockIdx.x / tiles % tiles, better_tile = blockIdx.x % tiles;
  if (better_tile > own_tile) {
    return;
  }
  ranked += image * count;
  const int64_t mine = better_tile * kTile + threadIdx.x;
  if (mine < count) {
    others[threadIdx.x] = ranked[mine];
  }
  __syncthreads();
  const int64_t rank = own_tile * kTile + threadIdx.x;
  if (rank >= count) {
    return;
  }
  const RankedBox<T> own = ranked[rank];
  const T factor = may_overlap_factor(iou_threshold);
  const int better = own.index < 0 ? 0 : better_tile < own_tile ? kTile : static_cast<int>(threadIdx.x);
  Bits bits = 0;
  for (int k = 0; k < better; ++k) {
    const RankedBox<T>& other = others[k];
    if (other.group == own.group && may_overlap(other.box, own.box, factor) &&
        overlaps(other.box, own.box, iou_threshold)) {
      bits |= Bits{1} << k;
    }
  }
  suppressors[(image * count + rank) * tiles + better_tile] = bits;
}

// A block for each image, its threads a multiple of kTile, up to kSurvivorThreads: several in a row share the words of
// one box.
// survivors: (images, tiles), to work in; keep: (images, max_keep).
template <typename T>
__global__ void __launch_bounds__(kSurvivorThreads) keep_survivors(
    const RankedBox<T>* ranked, const Bits* suppressors, int64_t count, int64_t max_keep, Bits* survivors,
    int64_t* keep) {
  __shared__ Bits fallen;                   // of this tile: suppressed by survivors of earlier tiles, or no candidate
  __shared__ Bits suppressors_here[kTile];  // in the same tile
  const int64_t tiles = tiles_of(count), image = blockIdx.x;
  const int sharing = blockDim.x / kTile, k = threadIdx.x / sharing, part = threadIdx.x % sharing;
  ranked += image * count;
  suppressors += image * count * tiles;
  survivors += image * tiles;
  keep += image * max_keep;

  if (threadIdx.x == 0) {
    fallen = 0;
  }
  __syncthreads();
  int64_t kept = 0;
  for (int64_t tile = 0; tile < tiles && kept < max_keep && ranked[tile * kTile].index >= 0; ++tile) {
    const int64_t rank = tile * kTile + k;
    const bool candidate = rank < count && ranked[rank].index >= 0;
    bool falls = !candidate;
    if (candidate) {
      const Bits* words = suppressors + rank * tiles;
      for (int64_t earlier = part; earlier < tile; earlier += sharing) {
        falls |= (words[earlier] & survivors[earlier]) != 0;
      }
      if (part == 0) {
        suppressors_here[k] = words[tile];
      }
    }
    if (falls) {
      atomicOr(&fallen, Bits{1} << k);
    }
    __syncthreads();
    if (threadIdx.x == 0) {  // within a tile, each box has to wait for the better ones
      Bits alive = 0;
      for (int i = 0; i < kTile; ++i) {
        if (!(fallen >> i & 1) && !(suppressors_here[i] & alive)) {
          alive |= Bits{1} << i;
        }
      }
      survivors[tile] = alive;
      fallen = 0;
    }
    __syncthreads();
    const Bits alive = survivors[tile];
    if (part == 0 && (alive >> k & 1)) {
      const int64_t slot = kept + __popcll(alive & ((Bits{1} << k) - 1));
      if (slot < max_keep) {
        keep[slot] = ranked[rank].index;
      }
    }
    kept += __popcll(alive);
  }
  for (int64_t slot = kept + threadIdx.x; slot < max_keep; slot += blockDim.x) {
    keep[slot] = -1;
  }
}

}  // namespace maskrcnn
