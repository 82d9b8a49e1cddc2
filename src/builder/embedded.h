// Files that the program carries inside itself, so that it needs no installed data.
#pragma once

#include "base/bytes.h"

namespace livecare::builder {

ByteView embedded_recorder();             // record/recorder.c as a shared object
ByteView embedded_patch_header();         // include/livecare/patch.h
ByteView embedded_kernel_patch_header();  // include/livecare/kernel_patch.h

}  // namespace livecare::builder
