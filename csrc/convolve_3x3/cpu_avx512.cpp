// 16 floats in a register (AVX-512).
#include "convolution.h"

#if defined(MASKRCNN_X86_WITH_TARGETS)
#include <immintrin.h>
#pragma GCC target("avx512f")
#include "block.h"  // after the line above, which its templates have to see

namespace maskrcnn {
namespace {

struct Lanes {
  static constexpr int kCount = 16, kRows = 8, kColumns = 2;  // 16 of 32 registers hold sums
  __m512 value;

  Lanes() = default;
  Lanes(float all) : value(_mm512_set1_ps(all)) {}
  Lanes(__m512 v) : value(v) {}

  static Lanes load(const float* from) { return _mm512_loadu_ps(from); }
  static Lanes load(const BFloat16Bits* from) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }

  void store(float* to) const { _mm512_storeu_ps(to, value); }
  void store(BFloat16Bits* to) const {
    const __m512i bits = _mm512_castps_si512(value);
    const __m512i is_odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), is_odd);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    const __m512i chosen = _mm512_mask_blend_epi32(is_nan, rounded, _mm512_set1_epi32(0x7fc00000));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(_mm512_srli_epi32(chosen, 16)));
  }
};

inline Lanes operator+(Lanes a, Lanes b) { return _mm512_add_ps(a.value, b.value); }
inline Lanes operator-(Lanes a, Lanes b) { return _mm512_sub_ps(a.value, b.value); }
inline Lanes operator*(Lanes a, Lanes b) { return _mm512_mul_ps(a.value, b.value); }
inline Lanes multiply_add(Lanes a, Lanes b, Lanes c) { return _mm512_fmadd_ps(a.value, b.value, c.value); }

constexpr InstructionSet kInstructions{Lanes::kCount, transform_kernel<Lanes>, convolve_block<Lanes>};

}  // namespace

const InstructionSet* avx512_instructions() { return __builtin_cpu_supports("avx512f") ? &kInstructions : nullptr; }

}  // namespace maskrcnn
#else
const maskrcnn::InstructionSet* maskrcnn::avx512_instructions() { return nullptr; }
#endif
