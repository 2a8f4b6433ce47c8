// The instruction sets that kernels exist for.
#pragma once

#include <span>
#include <string>

#include "kernels/kernel_table.h"

namespace millrace {

struct InstructionSet {
  const char* name;
  /** Whether this processor and system offer it. */
  bool (*isUsable)();
  const KernelTable& (*kernels)();
  /** Written in software, to test the kernels of another: not for use. */
  bool isTwin;
};

/** Fastest first, twins last. */
std::span<const InstructionSet> instructionSets();

/** Null where there is none of this name. */
const InstructionSet* findInstructionSet(const std::string& name);

}  // namespace millrace
