// The table of linear kernels.
#include "x86/avx512/dot.h"

#include "linear/run.h"

namespace millrace {

const LinearKernels& linearKernelsAvx512() {
  static const LinearKernels table = {
      .pack = packLinear,
      .run = MILLRACE_ISA::runLinear,
      .unpackRow = unpackRow,
      .quantizeRow = MILLRACE_ISA::quantizeRow,
  };
  return table;
}

}  // namespace millrace
