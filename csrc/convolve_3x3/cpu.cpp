// A 3 x 3 convolution of stride 1 by Winograd's algorithm on the CPU: which instructions, and input channels of the
// kernel, then blocks of tiles divided among the threads. A result depends on its own tile alone, so not on the threads,
// nor on the other images.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>

#include "../parallel.h"
#include "block.h"

namespace maskrcnn {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// For any processor. Compilers make what they can of the loops.
struct Lanes {
  static constexpr int kCount = 4, kRows = 4, kColumns = 2;
  float value[kCount];

  Lanes() = default;
  Lanes(float all) { std::fill_n(value, kCount, all); }

  template <typename Element>
  static Lanes load(const Element* from) {
    Lanes result;
    std::transform(from, from + kCount, result.value, [](Element element) { return to_float(element); });
    return result;
  }
  void store(float* to) const { std::copy_n(value, kCount, to); }
  void store(BFloat16Bits* to) const {
    std::transform(value, value + kCount, to, [](float one) { return c10::BFloat16(one).x; });
  }

  static float to_float(float one) { return one; }
  static float to_float(BFloat16Bits bits) { return c10::BFloat16(bits, c10::BFloat16::from_bits()); }

  template <typename Operation>
  static Lanes each(const Lanes& a, const Lanes& b, Operation operation) {
    Lanes result;
    std::transform(a.value, a.value + kCount, b.value, result.value, operation);
    return result;
  }
};

inline Lanes operator+(const Lanes& a, const Lanes& b) { return Lanes::each(a, b, std::plus<float>()); }
inline Lanes operator-(const Lanes& a, const Lanes& b) { return Lanes::each(a, b, std::minus<float>()); }
inline Lanes operator*(const Lanes& a, const Lanes& b) { return Lanes::each(a, b, std::multiplies<float>()); }
inline Lanes multiply_add(const Lanes& a, const Lanes& b, const Lanes& c) { return a * b + c; }

constexpr InstructionSet kPlainInstructions{Lanes::kCount, transform_kernel<Lanes>, convolve_block<Lanes>};

// Those with so many lanes, or for 0 the widest that the processor has.
const InstructionSet* instructions_with(int64_t lanes) {
  for (const InstructionSet* instructions : {avx512_instructions(), avx2_instructions(), &kPlainInstructions}) {
    if (instructions && (lanes == 0 || lanes == instructions->lanes)) {
      return instructions;
    }
  }
  return nullptr;
}

// What both ops ask for.
const InstructionSet* checked_instructions(
    const char* op, int64_t lanes, int64_t in_channels, int64_t out_channels) {
  const InstructionSet* instructions = instructions_with(lanes);
  STD_TORCH_CHECK(instructions, op, ": this processor has no registers of ", lanes, " floats");
  STD_TORCH_CHECK(
      in_channels % instructions->lanes == 0 && out_channels % instructions->lanes == 0, op,
      ": channels must be a multiple of ", instructions->lanes);
  return instructions;
}

Tensor transform_kernel_3x3(const Tensor& kernel, int64_t lanes) {
  STD_TORCH_CHECK(
      kernel.is_cpu() && kernel.scalar_type() == ScalarType::Float && kernel.dim() == 4 && kernel.size(0) == 3 &&
          kernel.size(1) == 3,
      "transform_kernel_3x3: kernel must be (3, 3, I, O) in float32, on the CPU");
  const int64_t in_channels = kernel.size(2), out_channels = kernel.size(3);
  const InstructionSet* instructions = checked_instructions("transform_kernel_3x3", lanes, in_channels, out_channels);

  const Tensor contiguous = torch::stable::contiguous(kernel);
  const int64_t stride = weight_stride(in_channels, out_channels);
  Tensor transformed = torch::stable::new_empty(kernel, {kPlaces, stride});
  float* weights = static_cast<float*>(transformed.mutable_data_ptr());
  const float* given = static_cast<const float*>(contiguous.const_data_ptr());
  for_each_in_parallel(in_channels, [&](int64_t i) {
    instructions->transform_kernel(given, i, in_channels, out_channels, weights);
  });
  for (int64_t place = 0; place < kPlaces; ++place) {
    std::fill_n(weights + (place + 1) * stride - kGap, kGap, 0.0f);
  }
  return transformed;
}

Tensor convolve_3x3(
    const Tensor& maps, const Tensor& weights, const std::optional<Tensor>& bias, int64_t out_channels,
    int64_t lanes) {
  STD_TORCH_CHECK(
      maps.is_cpu() && weights.is_cpu() && (!bias || bias->is_cpu()), "convolve_3x3: tensors must be on the CPU");
  STD_TORCH_CHECK(maps.dim() == 4, "convolve_3x3: maps must be (B, I, H, W)");
  const int64_t batch = maps.size(0), in_channels = maps.size(1), height = maps.size(2), width = maps.size(3);
  STD_TORCH_CHECK(
      weights.dim() == 2 && weights.size(0) == kPlaces && out_channels >= 0 && out_channels <= weights.size(1) &&
          weights.size(1) == weight_stride(in_channels, out_channels),
      "convolve_3x3: weights must be those of a kernel (3, 3, I, O)");
  STD_TORCH_CHECK(
      !bias || (bias->dim() == 1 && bias->size(0) == out_channels), "convolve_3x3: bias must be (O,)");
  const bool is_bfloat16 = maps.scalar_type() == ScalarType::BFloat16;
  STD_TORCH_CHECK(
      (is_bfloat16 || maps.scalar_type() == ScalarType::Float) && weights.scalar_type() == ScalarType::Float &&
          (!bias || bias->scalar_type() == ScalarType::Float),
      "convolve_3x3: maps must be float32 or bfloat16, weights and bias float32");
  const InstructionSet* instructions = checked_instructions("convolve_3x3", lanes, in_channels, out_channels);

  const Tensor pixels = torch::stable::contiguous(maps, MemoryFormat::ChannelsLast);
  const Tensor all_weights = torch::stable::contiguous(weights);
  std::optional<Tensor> all_bias;
  if (bias) {
    all_bias = torch::stable::contiguous(*bias);
  }
  Tensor output = torch::stable::empty(
      {batch, out_channels, height, width}, maps.scalar_type(), std::nullopt, maps.device(), std::nullopt,
      MemoryFormat::ChannelsLast);
  if (batch * height * width == 0 || out_channels == 0) {
    return output;
  }

  const Convolution convolution{
      pixels.const_data_ptr(), output.mutable_data_ptr(), is_bfloat16,
      static_cast<const float*>(all_weights.const_data_ptr()),
      all_bias ? static_cast<const float*>(all_bias->const_data_ptr()) : nullptr,
      batch, height, width, in_channels, out_channels};
  const int64_t each = working_memory(in_channels, out_channels);
  Tensor working = torch::stable::new_empty(weights, {worker_count(convolution.blocks()) * each});
  float* memory = static_cast<float*>(working.mutable_data_ptr());
  for_each_with_worker(convolution.blocks(), [&](int64_t block, int64_t worker) {
    instructions->convolve_block(convolution, block, memory + worker * each);
  });
  return output;
}

}  // namespace

int widest_lanes() { return instructions_with(0)->lanes; }

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, m) {
  m.impl("transform_kernel_3x3", TORCH_BOX(&transform_kernel_3x3));
  m.impl("convolve_3x3", TORCH_BOX(&convolve_3x3));
}

}  // namespace maskrcnn
