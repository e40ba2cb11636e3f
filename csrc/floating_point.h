// From the dtype of features, known when the program runs, to types, known when it is compiled.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

namespace maskrcnn {

// The type of the features, and that of the sums over them.
template <typename F, typename T>
struct FeatureTypes {
  using Feature = F;
  using Sum = T;
};

// Calls `run` with the FeatureTypes of a dtype; `what` is what an error calls the tensor.
template <typename Run>
auto with_feature_types(torch::headeronly::ScalarType dtype, const char* what, const Run& run) {
  using torch::headeronly::ScalarType;
  switch (dtype) {
    case ScalarType::Float:
      return run(FeatureTypes<float, float>{});
    case ScalarType::BFloat16:
      return run(FeatureTypes<c10::BFloat16, float>{});
    case ScalarType::Half:
      return run(FeatureTypes<c10::Half, float>{});
    default:
      STD_TORCH_CHECK(dtype == ScalarType::Double, what, " must be floating-point");
      return run(FeatureTypes<double, double>{});
  }
}

}  // namespace maskrcnn
