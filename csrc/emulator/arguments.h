// What the main function of `maskrcnn/ops/emulator.py` hands to a kernel: tensors that lie in files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "emulator.h"

namespace emulator {

// A pointer to numbers of type F: where a kernel asks for a type of the same kind and size, it gets it. Bytes (uint8_t)
// become whatever is asked for.
template <typename F>
struct Pointer {
  F* data;

  template <typename T>
  operator T*() const {
    constexpr bool fits = std::is_same<F, std::uint8_t>::value ||
                          (sizeof(T) == sizeof(F) && std::is_arithmetic<T>::value &&
                           std::is_floating_point<T>::value == std::is_floating_point<F>::value);
    static_assert(fits, "the kernel's parameter points to numbers of another type than the tensor has");
    return reinterpret_cast<T*>(data);
  }
};

// The bytes of a file, in memory that ends with them, so that AddressSanitizer knows what is outside.
template <typename F>
class Memory {
 public:
  explicit Memory(const char* path) : path_(path) {
    std::FILE* file = open("rb");
    std::fseek(file, 0, SEEK_END);
    size_ = static_cast<std::size_t>(std::ftell(file));
    std::rewind(file);
    data_.reset(new char[size_]);
    const std::size_t read = std::fread(data_.get(), 1, size_, file);
    std::fclose(file);
    check(read == size_);
  }

  Pointer<F> pointer() {
    return {reinterpret_cast<F*>(data_.get())};
  }

  void write_back() const {
    std::FILE* file = open("wb");
    const std::size_t written = std::fwrite(data_.get(), 1, size_, file);
    check(std::fclose(file) == 0 && written == size_);
  }

 private:
  std::FILE* open(const char* mode) const {
    std::FILE* file = std::fopen(path_, mode);
    check(file != nullptr);
    return file;
  }

  void check(bool well) const {
    if (!well) {
      throw std::runtime_error(std::string("a tensor cannot be read or written: ") + path_);
    }
  }

  const char* path_;
  std::size_t size_ = 0;
  std::unique_ptr<char[]> data_;
};

inline dim3 to_dim3(char** words) {
  const auto number = [](const char* word) { return static_cast<unsigned>(std::strtoul(word, nullptr, 10)); };
  return dim3(number(words[0]), number(words[1]), number(words[2]));
}

}  // namespace emulator
