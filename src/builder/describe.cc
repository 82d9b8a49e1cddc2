#include "builder/describe.h"

#include <ctime>

namespace livecare::builder {

namespace {

patchfmt::Fix describe_fix(const Description& description, const FixPatch& fix, bool is_only) {
  patchfmt::Fix block;
  block.name = fix.name;
  block.description = fix.description.empty() ? description.text : fix.description;
  block.package = description.source_package;
  // One fix: what the command line says is about it. Several: about those that name nothing.
  block.cves = fix.cves;
  if (!description.cves.empty() && (is_only || fix.cves.empty())) block.cves = description.cves;
  block.cvss = description.cvss;
  if (!block.cves.empty())
    block.cve_url = "https://security-tracker.debian.org/tracker/" + block.cves[0];
  return block;
}

}  // namespace

std::string utc(const char* format) {
  std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[64];
  size_t size = std::strftime(text, sizeof(text), format, &parts);
  return {text, size};
}

Status describe_patchset(const Description& description, const std::vector<FixPatch>& fixes,
                         patchfmt::Patchset& patchset) {
  const uint32_t published = description.published;
  if (description.level != 0 && description.level <= published)
    return make_error(ErrorCode::conflict, description.out.native(),
                      "level {} is published already; give --level {} or leave it out", published,
                      published + 1);
  patchset.level = description.level != 0 ? description.level : published + 1;
  patchset.source_package = description.source_package;
  patchset.time = utc("%Y-%m-%d %H:%M:%S");
  patchset.description = description.text;
  for (const FixPatch& fix : fixes)
    patchset.fixes.push_back(describe_fix(description, fix, fixes.size() == 1));
  if (patchset.description.empty() && !patchset.fixes.empty())
    patchset.description = patchset.fixes[0].description;
  return ok_status();
}

}  // namespace livecare::builder
