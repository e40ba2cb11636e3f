// 8 floats in a register (AVX2 with FMA).
#include "convolution.h"

#if defined(MASKRCNN_X86_WITH_TARGETS)
#include <immintrin.h>
#pragma GCC target("avx2,fma")
#include "block.h"  // after the line above, which its templates have to see

namespace maskrcnn {
namespace {

struct Lanes {
  static constexpr int kCount = 8, kRows = 6, kColumns = 2;  // 12 of 16 registers hold sums
  __m256 value;

  Lanes() = default;
  Lanes(float all) : value(_mm256_set1_ps(all)) {}
  Lanes(__m256 v) : value(v) {}

  static Lanes load(const float* from) { return _mm256_loadu_ps(from); }
  static Lanes load(const BFloat16Bits* from) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }

  void store(float* to) const { _mm256_storeu_ps(to, value); }
  void store(BFloat16Bits* to) const {
    const __m256i bits = _mm256_castps_si256(value);
    const __m256i is_odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), is_odd);
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    const __m256i chosen = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), is_nan);
    const __m256i halves = _mm256_srli_epi32(chosen, 16);
    // Packing works on each half of the register; the two quarters that hold numbers then lie first and third.
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(halves, halves), 0b1000);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(packed));
  }
};

inline Lanes operator+(Lanes a, Lanes b) { return _mm256_add_ps(a.value, b.value); }
inline Lanes operator-(Lanes a, Lanes b) { return _mm256_sub_ps(a.value, b.value); }
inline Lanes operator*(Lanes a, Lanes b) { return _mm256_mul_ps(a.value, b.value); }
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return _mm256_fmadd_ps(a.value, b.value, c.value); }

constexpr InstructionSet kInstructions{Lanes::kCount, transform_kernel<Lanes>, convolve_block<Lanes>};

}  // namespace

const InstructionSet* avx2_instructions() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kInstructions : nullptr;
}

}  // namespace maskrcnn
#else
const maskrcnn::InstructionSet* maskrcnn::avx2_instructions() { return nullptr; }
#endif
