// What is drawn from logits and read of them, as JavaScript sees it.
#pragma once

#include "addon/values.h"

namespace millrace {

napi_value sample(const Args& args);
napi_value scoreTargets(const Args& args);
napi_value diverge(const Args& args);

}  // namespace millrace
