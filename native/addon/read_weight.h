// Weights as JavaScript hands them over.
#pragma once

#include "addon/values.h"
#include "linear/linear.h"

namespace millrace {

/** A NativePart of src/kernels/addon.ts, over the arrays of the object; throws where they are too short. */
WeightPart readPart(const Args& args, napi_value object);

}  // namespace millrace
