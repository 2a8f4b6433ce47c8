// Files as memory.
#pragma once

#include "addon/values.h"

namespace millrace {

/** (path) → ArrayBuffer over a private read-only mapping, or the number of the system's error; unmapped when
    collected. An empty file gives 0. */
napi_value mapFile(const Args& args);

/** (mapping): gives back the memory of its pages, which are read again when touched. Of mapFile's buffers only. */
napi_value dropPages(const Args& args);

}  // namespace millrace
