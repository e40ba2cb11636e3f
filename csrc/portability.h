// What differs between compilers and between processors, in one place.
#pragma once

// Arithmetic that the CPU and the CUDA kernels share is declared with this.
#if defined(__CUDACC__)
#define MASKRCNN_HOST_DEVICE __host__ __device__
#else
#define MASKRCNN_HOST_DEVICE
#endif

// A loop that must become straight code on a GPU, so that the arrays it runs over can live in registers.
#if defined(__CUDACC__)
#define MASKRCNN_UNROLL _Pragma("unroll")
#else
#define MASKRCNN_UNROLL
#endif

#if defined(_MSC_VER)
#define MASKRCNN_ALWAYS_INLINE __forceinline
#else
#define MASKRCNN_ALWAYS_INLINE inline __attribute__((always_inline))
#endif

// A function marked with this is compiled three times, and the loader picks the version for the processor it meets:
// one binary for all of them. What the function calls belongs to a version only if it is inlined into it. The sums are
// the same bits in each, because setup.py forbids the compiler to contract a * b + c into one rounding.
#include <cstddef>  // defines __GLIBC__: the choice needs a loader that knows about it
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#define MASKRCNN_TARGET_CLONES __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define MASKRCNN_TARGET_CLONES
#endif

// Where a file may be compiled for instructions that the processor perhaps lacks, and ask before it uses them.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define MASKRCNN_X86_WITH_TARGETS
#endif
