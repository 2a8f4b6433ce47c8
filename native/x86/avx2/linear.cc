// The table of linear kernels.
#include "x86/avx2/dot.h"

#include "linear/vector_linear.h"

namespace millrace {

const LinearKernels& linearKernelsAvx2() {
  static const LinearKernels table = {
      .pack = packLinear,
      .scratchBytes = MILLRACE_ISA::scratchBytes,
      .run = MILLRACE_ISA::runLinear,
      .takesForm = MILLRACE_ISA::takesForm,
      .unpackRow = unpackRow,
      .quantizeRow = MILLRACE_ISA::quantizeRow,
  };
  return table;
}

}  // namespace millrace
