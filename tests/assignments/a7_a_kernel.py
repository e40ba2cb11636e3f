"""Mistakes in A7. Each submission has several, in cells that do not need each other."""

from course import Wrong

OF_IOU = ("iou-by-hand", "iou-special", "iou-many")
OF_NMS = ("nms-by-hand", "nms-order", "nms-threshold", "nms-chain", "nms-many", "nms-fast")
OF_PAIRS = ("pairs-by-hand", "pairs-blocks", "pairs-many")
OF_VISIT = ("visit-alone", "visit-together", "visit-many")
OF_MENDED = ("mended-watched", "mended-many")

SIGNATURE = (
    'extern "C" int64_t nms(const float* boxes, const float* scores, int64_t count, float threshold, int64_t* kept)'
)
SORT = "  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[a] > scores[b]; });\n"
VISITED = """        if (drops[i * count + j]) {
          alive[j] = 0;
        }
"""


def mended(inside: str) -> tuple[str, str]:
    """The inside of the loop that is to be mended."""
    return (
        """    __syncthreads();  // all sums of the step before are there
    const int before = i >= step ? sum[i - step] : 0;
    __syncthreads();  // all have read, before anyone writes
    sum[i] += before;
""",
        inside,
    )


WRONG = [
    Wrong(
        "a semicolon is missing; >= for >; no if (i < count && j < count)",
        {
            "iou": ("shared = width * height;", "shared = width * height"),
            "nms": ("> threshold;", ">= threshold;"),
            "pairs": ("if (i < count && j < count) {", "{"),
        },
        loses=(*OF_IOU, "nms-threshold", "nms-many", "pairs-blocks", "pairs-many"),
    ),
    Wrong(
        "whole numbers are divided; boxes as they come, not sorted; row and column swapped; a block too many",
        {
            "iou": ("shared / both", "int(shared) / int(both)"),
            "nms": (SORT, ""),
            "blocks-for": ("max(1, (count + threads - 1) // threads)", "count // threads + 1"),
            "pairs": ("drops[i * count + j]", "drops[j * count + i]"),
        },
        loses=("iou-by-hand", "iou-many", "nms-by-hand", "nms-order", "nms-many", "nms-fast", "blocks", *OF_PAIRS),
    ),
    Wrong(
        "the library's IoU; a sort that is not stable; a barrier forgotten",
        {
            "iou": """%%cpp iou_cpp
#include "box.h"
extern "C" float iou(const float* a, const float* b) {
  return maskrcnn::iou(maskrcnn::load_box(a), maskrcnn::load_box(b));
}
""",
            "nms": ("std::stable_sort", "std::sort"),
            "visit": ("    __syncthreads();  // who strikes off box i has done so\n", ""),
        },
        loses=(*OF_IOU, "nms-order", "nms-many", "visit-together", "visit-many"),
    ),
    Wrong(
        "negative sides; all better boxes count, not those that were kept; as many threads as boxes",
        {
            "iou": (
                "std::max(std::min(a[2], b[2]) - std::max(a[0], b[0]), 0.0f)",
                "std::min(a[2], b[2]) - std::max(a[0], b[0])",
            ),
            "nms": f"""%%cpp nms_cpp
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

{SIGNATURE} {{
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
{SORT}  int64_t survivors = 0;
  for (int64_t i = 0; i < count; ++i) {{
    bool falls = false;
    for (int64_t j = 0; j < i; ++j) {{
      falls |= iou(boxes + 4 * order[i], boxes + 4 * order[j]) > threshold;
    }}
    if (!falls) {{
      kept[survivors++] = order[i];
    }}
  }}
  return survivors;
}}
""",
            "visit": """%%cpp visit_cpp
#include <cstdint>

__global__ void visit(const uint8_t* drops, int count, uint8_t* kept) {
  __shared__ int alive[256];
  const int j = threadIdx.x;
  alive[j] = 1;
  for (int i = 0; i < count; ++i) {
    __syncthreads();
    if (alive[i] && j < count && drops[i * count + j]) {
      alive[j] = 0;
    }
  }
  if (j < count) {
    kept[j] = alive[j];
  }
}
""",
        },
        loses=("iou-special", "iou-many", "nms-chain", "nms-many", "nms-fast", *OF_VISIT),
    ),
    Wrong(
        "a box too far; the number of the block forgotten; a barrier that some threads pass more often",
        {
            "nms": ("order(count);", "order(count + 1);"),
            "pairs": ("const int i = blockIdx.y * blockDim.y + threadIdx.y;", "const int i = threadIdx.y;"),
            "visit": (VISITED, f"{VISITED}        __syncthreads();\n"),
        },
        loses=(*OF_NMS, "pairs-blocks", "pairs-many", "visit-together", "visit-many"),
    ),
    Wrong(
        "a loop without end; a barrier more, where it does not help",
        {
            "nms": ("k < survivors && !falls; ++k", "k < survivors && !falls;"),
            "mended": mended(
                "    __syncthreads();\n    if (i >= step) { sum[i] += sum[i - step]; }\n    __syncthreads();\n"
            ),
        },
        loses=(*OF_NMS, *OF_MENDED),
    ),
    Wrong(
        "too slow: every box is looked for among those that were kept; a kernel without end",
        {
            "nms": f"""%%cpp nms_cpp
#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

{SIGNATURE} {{
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), 0);
{SORT}  std::vector<int64_t> found;
  for (int64_t i = 0; i < count; ++i) {{
    bool falls = false;
    for (int64_t j = 0; j < i; ++j) {{
      const bool stays = std::find(found.begin(), found.end(), order[j]) != found.end();
      falls |= stays && iou(boxes + 4 * order[i], boxes + 4 * order[j]) > threshold;
    }}
    if (!falls) {{
      found.push_back(order[i]);
    }}
  }}
  std::copy(found.begin(), found.end(), kept);
  return found.size();
}}
""",
            "visit": ("for (int i = 0; i < count; ++i) {", "for (int i = 0; i < count;) {"),
        },
        loses=("nms-fast", *OF_VISIT),
    ),
    Wrong(
        "the answers that the first test asks for; a barrier inside of an if",
        {
            "nms": f"""%%cpp nms_cpp
#include <cstdint>

{SIGNATURE} {{
  kept[0] = scores[0] > 0.85f ? 0 : 3;
  kept[1] = scores[0] > 0.85f ? 2 : 0;
  return 2;
}}
""",
            "mended": mended(
                "    __syncthreads();\n    if (i >= step) {\n      const int before = sum[i - step];\n"
                "      __syncthreads();\n      sum[i] += before;\n    }\n"
            ),
        },
        loses=("nms-order", "nms-threshold", "nms-chain", "nms-many", "nms-fast", *OF_MENDED),
    ),
    Wrong(
        "50 GB of memory; the library's IoU by #import, and its kernel",
        {
            "iou": """%%cpp iou_cpp
#import "box.h"
extern "C" float iou(const float* a, const float* b) {
  return maskrcnn::iou(maskrcnn::load_box(a), maskrcnn::load_box(b));
}
""",
            "nms": (SORT, f"{SORT}  std::vector<float> all(12'500'000'000);\n"),
            "pairs": ("#include <cstdint>\n", '#include <cstdint>\n#include "nms/kernel.cuh"\n'),
        },
        loses=(*OF_IOU, *OF_NMS, *OF_PAIRS),
    ),
]
