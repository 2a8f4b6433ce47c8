// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (2011).
#pragma once

#include <cstdint>

namespace millrace {

/** A number in [0, 1) of 53 bits that depends on key and counter only. */
inline double uniformDraw(uint32_t key0, uint32_t key1, uint32_t counter0, uint32_t counter1) {
  uint32_t c[4] = {counter0, counter1, 0, 0};
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xd2511f53} * c[0];
    const uint64_t second = uint64_t{0xcd9e8d57} * c[2];
    const uint32_t next0 = static_cast<uint32_t>(second >> 32) ^ c[1] ^ key0;
    const uint32_t next2 = static_cast<uint32_t>(first >> 32) ^ c[3] ^ key1;
    c[1] = static_cast<uint32_t>(second);
    c[3] = static_cast<uint32_t>(first);
    c[0] = next0;
    c[2] = next2;
    key0 += 0x9e3779b9;
    key1 += 0xbb67ae85;
  }
  return (static_cast<double>(c[0]) * 2097152.0 + static_cast<double>(c[1] >> 11)) * 0x1p-53;
}

}  // namespace millrace
