// COCO's compressed strings of counts. `maskrcnn/reference/counts_string.py` tells the format step by step.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "run_length.h"

namespace maskrcnn::run_length {

// Seven groups of five bits hold any difference of two counts.
constexpr int kMostGroups = 7;

inline std::string to_string(const Code& code) {
  std::string text;
  for (int64_t i = 0; i < code.size; ++i) {
    int64_t value = code.counts[i];
    if (i > 2) {
      value -= code.counts[i - 2];
    }
    bool more = true;
    while (more) {
      const int64_t group = value & 31;
      value >>= 5;
      more = value != ((group & 16) ? -1 : 0);  // otherwise the sign is in the group's highest bit
      text.push_back(static_cast<char>('0' + group + (more ? 32 : 0)));
    }
  }
  return text;
}

// Raises std::invalid_argument, in Python a ValueError, for anything that is no list of counts.
inline std::vector<uint32_t> from_string(std::string_view text) {
  std::vector<uint32_t> counts;
  for (size_t at = 0; at < text.size();) {
    const std::string number = std::to_string(counts.size());
    int64_t value = 0;
    int groups = 0;
    bool more = true;
    while (more) {
      if (at == text.size()) {
        throw std::invalid_argument("the string ends within count " + number);
      }
      if (groups == kMostGroups) {
        throw std::invalid_argument("count " + number + " has more than 7 characters");
      }
      const int bits = static_cast<unsigned char>(text[at]) - '0';
      if (bits < 0 || bits > 63) {
        throw std::invalid_argument("character " + std::to_string(at) + " is not one of '0' to 'o'");
      }
      value |= static_cast<int64_t>(bits & 31) << (5 * groups);
      ++at;
      ++groups;
      more = bits & 32;
      if (!more && (bits & 16)) {
        value -= int64_t{1} << (5 * groups);
      }
    }
    if (counts.size() > 2) {
      value += counts[counts.size() - 2];
    }
    if (value < 0 || value > UINT32_MAX) {
      throw std::invalid_argument("count " + number + " is " + std::to_string(value) + ", expected 0 to 4294967295");
    }
    counts.push_back(static_cast<uint32_t>(value));
  }
  return counts;
}

}  // namespace maskrcnn::run_length
