// Files as memory.
#pragma once

#include "addon/values.h"

namespace millrace {

/** (path) → ArrayBuffer over a private read-only mapping, or the number of the system's error; unmapped when
    collected. An empty file gives 0. */
napi_value mapFile(const Args& args);

}  // namespace millrace
