// kpatch.info: the text that people and scanners read (field format: four header lines, a blank
// line, one block of seven lines per fix, blocks parted by a blank line). A value is one line
// whatever the maker wrote, so that a description cannot forge a block.
#include "patchfmt/codec.h"

namespace livecare::patchfmt {

namespace {

void line(std::string& out, std::string_view key, std::string_view value) {
  out += key;
  out += ": ";
  if (value.empty()) value = "N/A";
  for (char c : value) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  out += '\n';
}

}  // namespace

std::string kpatch_info(const Patchset& patchset) {
  std::string out;
  line(out, "OS", patchset.distribution);
  line(out, "kernel", patchset.source_package);
  line(out, "time", patchset.time);
  line(out, "uname", patchset.name);
  for (const Fix& fix : patchset.fixes) {
    std::string cves;
    for (const std::string& cve : fix.cves) cves += (cves.empty() ? "" : ", ") + cve;
    out += '\n';
    line(out, "kpatch-name", fix.name);
    line(out, "kpatch-description", fix.description);
    line(out, "kpatch-kernel", fix.package);
    line(out, "kpatch-cve", cves);
    line(out, "kpatch-cvss", fix.cvss);
    line(out, "kpatch-cve-url", fix.cve_url);
    line(out, "kpatch-patch-url", fix.patch_url);
  }
  return out;
}

}  // namespace livecare::patchfmt
