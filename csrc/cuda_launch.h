// What every launch of a CUDA kernel needs of PyTorch and of the CUDA runtime.
#pragma once

#include <cuda_runtime.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <string>

// PyTorch's stable ABI has this function, but only the headers of a CUDA build declare it. Weak, so that the ops also
// load beside a CPU build of PyTorch, where nobody calls it.
#if defined(_MSC_VER)
extern "C" int32_t aoti_torch_get_current_cuda_stream(int32_t device, void** stream);
#else
extern "C" __attribute__((weak)) int32_t aoti_torch_get_current_cuda_stream(int32_t device, void** stream);
#endif

namespace maskrcnn {

// As long as it lives, the device of a tensor is the current one, and launches go to the stream PyTorch works on there.
class CurrentStream {
 public:
  explicit CurrentStream(const torch::stable::Tensor& tensor) : guard_(tensor.get_device_index()) {
    void* stream = nullptr;
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
    stream_ = static_cast<cudaStream_t>(stream);
  }

  operator cudaStream_t() const {
    return stream_;
  }

 private:
  torch::stable::accelerator::DeviceGuard guard_;
  cudaStream_t stream_;
};

// How many blocks it takes; grids have one dimension, the only one that holds more than 65,535 blocks.
inline unsigned block_count(int64_t blocks) {
  STD_TORCH_CHECK(blocks < (int64_t{1} << 31), "this many boxes take too many CUDA blocks: ", blocks);
  return static_cast<unsigned>(blocks);
}

inline int64_t divide_up(int64_t count, int64_t per_block) {
  return (count + per_block - 1) / per_block;
}

inline bool on_device_of(const torch::stable::Tensor& tensor, const torch::stable::Tensor& other) {
  return tensor.is_cuda() && other.is_cuda() && tensor.get_device_index() == other.get_device_index();
}

// Says if the last launch was refused. What goes wrong while a kernel runs, PyTorch reports later.
inline void check_launch(const char* op) {
  const cudaError_t error = cudaGetLastError();
  STD_TORCH_CHECK(error == cudaSuccess, op, ": ", cudaGetErrorString(error));
}

}  // namespace maskrcnn
