// Writes what kcare.ko reads of a patch module (kmod/uapi/kcare_patch.h) into its object.
#pragma once

#include <string>

#include "base/result.h"
#include "builder/kernel/module_image.h"

namespace livecare::builder {

struct KernelPatchHead {
  uint32_t level = 1;
  std::string name;       // of the patchset
  std::string release;    // uname -r
  std::string effective;  // what kcare-uname -r says
  std::string cves;       // separated by single blanks
};

Status write_kcare_sections(ModuleImage& image, const KernelPatchHead& head);

// .modinfo: lines KEY=VALUE.
void write_module_information(ModuleImage& image, const std::vector<std::string>& lines);

}  // namespace livecare::builder
