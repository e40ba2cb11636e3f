// A 3 x 3 convolution of stride 1 by Winograd's algorithm on the CPU: which instructions, and blocks of tiles divided
// among the threads. A result depends on its own tile alone, so not on the threads, nor on the other images.

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

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

Tensor convolve_3x3(const Tensor& maps, const Tensor& kernel, const std::optional<Tensor>& bias, int64_t lanes) {
  STD_TORCH_CHECK(
      maps.is_cpu() && kernel.is_cpu() && (!bias || bias->is_cpu()), "convolve_3x3: tensors must be on the CPU");
  STD_TORCH_CHECK(maps.dim() == 4, "convolve_3x3: maps must be (B, I, H, W)");
  const int64_t batch = maps.size(0), in_channels = maps.size(1), height = maps.size(2), width = maps.size(3);
  STD_TORCH_CHECK(
      kernel.dim() == 4 && kernel.size(0) == 3 && kernel.size(1) == 3 && kernel.size(2) == in_channels,
      "convolve_3x3: kernel must be (3, 3, I, O)");
  const int64_t out_channels = kernel.size(3);
  STD_TORCH_CHECK(
      !bias || (bias->dim() == 1 && bias->size(0) == out_channels), "convolve_3x3: bias must be (O,)");
  const bool is_bfloat16 = maps.scalar_type() == ScalarType::BFloat16;
  STD_TORCH_CHECK(
      (is_bfloat16 || maps.scalar_type() == ScalarType::Float) && kernel.scalar_type() == ScalarType::Float &&
          (!bias || bias->scalar_type() == ScalarType::Float),
      "convolve_3x3: maps must be float32 or bfloat16, kernel and bias float32");
  const InstructionSet* instructions = instructions_with(lanes);
  STD_TORCH_CHECK(instructions, "convolve_3x3: this processor has no registers of ", lanes, " floats");
  STD_TORCH_CHECK(
      in_channels % instructions->lanes == 0 && out_channels % instructions->lanes == 0,
      "convolve_3x3: channels must be a multiple of ", instructions->lanes);

  const Tensor pixels = torch::stable::contiguous(maps, MemoryFormat::ChannelsLast);
  const Tensor all_weights = torch::stable::contiguous(kernel);
  const Tensor all_bias = bias ? torch::stable::contiguous(*bias) : kernel;
  Tensor output = torch::stable::empty(
      {batch, out_channels, height, width}, maps.scalar_type(), std::nullopt, maps.device(), std::nullopt,
      MemoryFormat::ChannelsLast);
  const Tensor transformed = torch::stable::new_empty(kernel, {kPlaces * weight_stride(in_channels, out_channels)});
  if (batch * height * width == 0 || out_channels == 0) {
    return output;
  }

  float* weights = static_cast<float*>(transformed.mutable_data_ptr());
  const float* given = static_cast<const float*>(all_weights.const_data_ptr());
  for_each_in_parallel(in_channels, [&](int64_t i) {
    instructions->transform_kernel(given, i, in_channels, out_channels, weights);
  });
  const Convolution convolution{
      pixels.const_data_ptr(), output.mutable_data_ptr(), is_bfloat16, weights,
      bias ? static_cast<const float*>(all_bias.const_data_ptr()) : nullptr,
      batch, height, width, in_channels, out_channels};
  const int64_t each = working_memory(in_channels, out_channels);
  std::vector<float> memory(worker_count(convolution.blocks()) * each);
  for_each_with_worker(convolution.blocks(), [&](int64_t block, int64_t worker) {
    instructions->convolve_block(convolution, block, memory.data() + worker * each);
  });
  return output;
}

}  // namespace

int widest_lanes() { return instructions_with(0)->lanes; }

STABLE_TORCH_LIBRARY_IMPL(maskrcnn, CPU, m) {
  m.impl("convolve_3x3", TORCH_BOX(&convolve_3x3));
}

}  // namespace maskrcnn
