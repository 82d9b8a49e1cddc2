// A valid patchset for tests and fuzzers, with at least one of everything; header-only so that
// other rooms' tests can sign and apply it.
#pragma once

#include "patchfmt/patch.h"

namespace livecare::patchfmt {

inline Object sample_object(std::string build_id = "0123456789abcdef0123456789abcdef01234567") {
  Object object;
  object.build_id = std::move(build_id);
  object.soname = "libsample.so.1";
  object.package = "libsample1 1.0-1";
  object.image_size = 4 * page_bytes;
  object.text = {0, 64, Bytes(64, 0xc3)};
  object.rodata = {page_bytes, 128, Bytes(96, 0)};
  object.data = {2 * page_bytes, 8192, Bytes(16, 7)};
  // One 8-byte unwind record, then the end mark.
  object.eh_frame_offset = page_bytes + 16;
  object.eh_frame_size = 12;
  object.rodata.bytes[16] = 4;
  object.new_tls_size = 64;
  object.new_tls_align = 16;
  object.new_tls_bytes = {1, 2, 3};
  object.functions = {
      {"parse", 0x1000, 32, {{0x1000, 32}, {0x900, 8}}, Bytes(32, 0x90), 0, 32, "build-ID equal"}};
  object.symbols = {{SymbolKind::import, "malloc", "GLIBC_2.2.5", 0, 0, false, ""},
                    {SymbolKind::target, "helper", "", 0x2000, 16, false, "unique match"},
                    {SymbolKind::new_tls, "counter", "", 8, 8, false, ""},
                    {SymbolKind::image, "table", "", page_bytes, 16, false, ""}};
  object.relocations = {{RelocationKind::pc32, 4, 0, -4},
                        {RelocationKind::absolute64, page_bytes + 64, 1, 0},
                        {RelocationKind::tp_offset64, page_bytes + 72, 2, 0}};
  object.hooks = {{HookWhen::before_switch, "prepare", 32}};
  object.kept_data = {{"cache", 2 * page_bytes + 8, 8}};
  object.image_symbols = {{"parse", 0, 32}};
  return object;
}

inline Patchset sample_patchset() {
  Patchset patchset;
  patchset.name = "U20261122_01";
  patchset.level = 2;
  patchset.distribution = "debian12";
  patchset.source_package = "sample 1.0-1";
  patchset.time = "2026-11-22 04:30:00";
  patchset.description = "a sample";
  patchset.fixes = {{"bounds.patch",
                     "check the length",
                     "sample 1.0-1",
                     {"CVE-2026-0001", "CVE-2026-0002"},
                     "7.5",
                     "https://example.org/cve",
                     ""}};
  patchset.objects = {sample_object()};
  return patchset;
}

inline KernelModule sample_module(std::string kernel_id = std::string(40, 'a')) {
  KernelModule module;
  module.kernel_id = std::move(kernel_id);
  module.release = "6.1.0-47-cloud-amd64";
  module.effective = "6.1.0-48-cloud-amd64";
  module.type = "default";
  module.module = "kpatch_sample";
  module.file = {0x7f, 'E', 'L', 'F', 2, 1, 1, 0};
  return module;
}

inline Patchset sample_kernel_patchset() {
  Patchset patchset = sample_patchset();
  patchset.name = "K20261122_01";
  patchset.product = kernel_product;
  patchset.objects.clear();
  patchset.modules = {sample_module()};
  return patchset;
}

}  // namespace livecare::patchfmt
