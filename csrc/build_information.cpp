// The Python module `maskrcnn._C`. Importing it registers the compiled ops (the static initialisers behind
// STABLE_TORCH_LIBRARY_IMPL); what it offers to Python itself is how it was built, and run-length codes, which are no
// tensors.

#include <pybind11/pybind11.h>

#include <string>

#include "portability.h"

#define MASKRCNN_TEXT(x) #x
#define MASKRCNN_TEXT_OF(x) MASKRCNN_TEXT(x)

static pybind11::dict build_information() {
  pybind11::dict result;
#if defined(_MSC_VER)
  result["compiler"] = "MSVC " MASKRCNN_TEXT_OF(_MSC_VER);
#elif defined(__clang__)
  result["compiler"] = __VERSION__;
#else
  result["compiler"] = "GCC " __VERSION__;
#endif
  result["flags"] = MASKRCNN_BUILD_FLAGS;
#if defined(MASKRCNN_WITH_CUDA)
  result["cuda"] = true;
#else
  result["cuda"] = false;
#endif
  return result;
}

namespace maskrcnn {
int widest_lanes();  // convolve_3x3/cpu.cpp
}
void bind_run_length(pybind11::module_ module);  // run_length/binding.cpp

PYBIND11_MODULE(_C, module) {
  module.doc() = "Compiled ops of maskrcnn, reached through torch.ops.maskrcnn once this module is imported.";
  module.def("build_information", &build_information, "Compiler, flags, and whether the CUDA kernels are in.");
  module.def("widest_lanes", &maskrcnn::widest_lanes, "Floats in the widest register that convolve_3x3 can use.");
  bind_run_length(module.def_submodule("run_length"));
}
