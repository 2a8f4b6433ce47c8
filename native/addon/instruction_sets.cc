#include "addon/instruction_sets.h"

#include "runtime/cpu.h"
#include "runtime/tiles_access.h"

namespace millrace {

namespace {

bool hasAmx() { return cpuHasAvx512() && tilesAccess().isGranted; }

constexpr InstructionSet sets[] = {
    {"amx", hasAmx, kernelsAmx, false},
    {"avx512", cpuHasAvx512, kernelsAvx512, false},
    {"avx2", cpuHasAvx2, kernelsAvx2, false},
    {"amx-twin", cpuHasAvx2, kernelsAmxTwin, true},
};

}  // namespace

std::span<const InstructionSet> instructionSets() { return sets; }

const InstructionSet* findInstructionSet(const std::string& name) {
  for (const InstructionSet& set : sets) {
    if (name == set.name) return &set;
  }
  return nullptr;
}

}  // namespace millrace
