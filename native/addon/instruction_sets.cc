#include "addon/instruction_sets.h"

#include <array>

#include "runtime/cpu.h"
#include "runtime/tiles_access.h"

namespace millrace {

namespace {

bool hasAmx() { return cpuHasAvx512() && tilesAccess().isGranted; }

constexpr InstructionSet plain{"avx512", cpuHasAvx512, kernelsAvx512, false};
constexpr InstructionSet withBf16{"avx512-bf16", cpuHasAvx512Bf16, kernelsAvx512Bf16, false};

/** Where the instruction for bf16 gains nothing it comes second, and is there to be asked for. */
std::array<InstructionSet, 5> listSets() {
  const bool gains = cpuHasFastBf16();
  return {{
      {"amx", hasAmx, kernelsAmx, false},
      gains ? withBf16 : plain,
      gains ? plain : withBf16,
      {"avx2", cpuHasAvx2, kernelsAvx2, false},
      {"amx-twin", cpuHasAvx2, kernelsAmxTwin, true},
  }};
}

}  // namespace

std::span<const InstructionSet> instructionSets() {
  static const std::array<InstructionSet, 5> sets = listSets();
  return sets;
}

const InstructionSet* findInstructionSet(const std::string& name) {
  for (const InstructionSet& set : instructionSets()) {
    if (name == set.name) return &set;
  }
  return nullptr;
}

}  // namespace millrace
