#include "builder/inspect_command.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file_system.h"

namespace livecare::builder {

namespace {

using Json = nlohmann::ordered_json;
using patchfmt::Object;

std::string_view name_of(patchfmt::SymbolKind kind) {
  switch (kind) {
    case patchfmt::SymbolKind::image:
      return "image";
    case patchfmt::SymbolKind::target:
      return "target";
    case patchfmt::SymbolKind::target_ifunc:
      return "target-ifunc";
    case patchfmt::SymbolKind::target_tls:
      return "target-tls";
    case patchfmt::SymbolKind::import:
      return "import";
    case patchfmt::SymbolKind::new_tls:
      return "new-tls";
    case patchfmt::SymbolKind::target_got:
      return "target-got";
  }
  return "unknown";
}

std::string_view name_of(patchfmt::RelocationKind kind) {
  switch (kind) {
    case patchfmt::RelocationKind::absolute64:
      return "absolute64";
    case patchfmt::RelocationKind::pc32:
      return "pc32";
    case patchfmt::RelocationKind::absolute32:
      return "absolute32";
    case patchfmt::RelocationKind::absolute32s:
      return "absolute32s";
    case patchfmt::RelocationKind::tls_module64:
      return "tls-module64";
    case patchfmt::RelocationKind::tls_offset64:
      return "tls-offset64";
    case patchfmt::RelocationKind::tls_offset32:
      return "tls-offset32";
    case patchfmt::RelocationKind::tp_offset64:
      return "tp-offset64";
    case patchfmt::RelocationKind::tp_offset32:
      return "tp-offset32";
    case patchfmt::RelocationKind::pc64:
      return "pc64";
  }
  return "unknown";
}

std::string_view name_of(patchfmt::HookWhen when) {
  switch (when) {
    case patchfmt::HookWhen::before_switch:
      return "before-switch";
    case patchfmt::HookWhen::after_switch:
      return "after-switch";
    case patchfmt::HookWhen::before_undo:
      return "before-undo";
    case patchfmt::HookWhen::after_undo:
      return "after-undo";
  }
  return "unknown";
}

std::string key_id(const patchfmt::Signature& signature) {
  return to_hex(ByteView(signature.key_id.data(), signature.key_id.size()));
}

std::map<std::string_view, size_t> relocation_counts(const Object& object) {
  std::map<std::string_view, size_t> counts;
  for (const auto& relocation : object.relocations) ++counts[name_of(relocation.kind)];
  return counts;
}

std::map<std::string_view, size_t> symbol_counts(const Object& object) {
  std::map<std::string_view, size_t> counts;
  for (const auto& symbol : object.symbols) ++counts[name_of(symbol.kind)];
  return counts;
}

Json functions_json(const Object& object) {
  Json list = Json::array();
  for (const auto& function : object.functions) {
    Json ranges = Json::array();
    for (const auto& range : function.ranges)
      ranges.push_back({{"address", range.address}, {"size", range.size}});
    list.push_back({{"name", function.name},
                    {"address", function.address},
                    {"size", function.size},
                    {"ranges", ranges},
                    {"new_offset", function.new_offset},
                    {"new_size", function.new_size},
                    {"proof", function.proof}});
  }
  return list;
}

Json symbols_json(const Object& object) {
  Json list = Json::array();
  for (const auto& symbol : object.symbols)
    list.push_back({{"name", symbol.name},
                    {"kind", name_of(symbol.kind)},
                    {"version", symbol.version},
                    {"value", symbol.value},
                    {"size", symbol.size},
                    {"weak", symbol.weak},
                    {"proof", symbol.proof}});
  return list;
}

Json object_json(const Object& object) {
  Json json{{"build_id", object.build_id},
            {"soname", object.soname},
            {"package", object.package},
            {"cpu", object.cpu == patchfmt::Cpu::x86_64 ? "x86_64" : "aarch64"},
            {"image_size", object.image_size},
            {"text_size", object.text.size},
            {"rodata_size", object.rodata.size},
            {"data_size", object.data.size},
            {"eh_frame_size", object.eh_frame_size},
            {"new_tls_size", object.new_tls_size}};
  json["functions"] = functions_json(object);
  json["symbols"] = symbols_json(object);
  json["relocations"] = Json::object();
  for (const auto& [kind, count] : relocation_counts(object)) json["relocations"][kind] = count;
  json["hooks"] = Json::array();
  for (const auto& hook : object.hooks)
    json["hooks"].push_back(
        {{"when", name_of(hook.when)}, {"name", hook.name}, {"offset", hook.offset}});
  json["kept_data"] = Json::array();
  for (const auto& kept : object.kept_data)
    json["kept_data"].push_back(
        {{"name", kept.name}, {"offset", kept.offset}, {"size", kept.size}});
  return json;
}

// Names are the maker's: a terminal must not act on what is in them.
std::string shown(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  return out;
}

void line(std::string& out, std::string_view key, std::string_view value) {
  if (!value.empty()) out += fmt::format("{:<14}{}\n", key, shown(value));
}

std::string counts_text(const std::map<std::string_view, size_t>& counts) {
  std::string text;
  for (const auto& [kind, count] : counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kind);
  return text;
}

void object_text(std::string& out, const Object& object) {
  out += fmt::format("\nobject        {} {}\n", shown(object.soname), object.build_id);
  line(out, "  package", object.package);
  out += fmt::format("  image       {} bytes: text {}, read-only {}, writable {}\n",
                     object.image_size, object.text.size, object.rodata.size, object.data.size);
  if (object.new_tls_size > 0) out += fmt::format("  new TLS     {} bytes\n", object.new_tls_size);
  line(out, "  symbols", counts_text(symbol_counts(object)));
  line(out, "  relocations", counts_text(relocation_counts(object)));
  size_t width = 8;
  for (const auto& function : object.functions) width = std::max(width, function.name.size());
  width = std::min<size_t>(width, 48);
  out += fmt::format("  {:<{}}  {:>10} {:>6} -> {:>6}  proof\n", "function", width, "address",
                     "size", "size");
  for (const auto& function : object.functions)
    out += fmt::format("  {:<{}}  {:>#10x} {:>6} -> {:>6}  {}\n", shown(function.name), width,
                       function.address, function.size, function.new_size, shown(function.proof));
  for (const auto& hook : object.hooks)
    out += fmt::format("  hook        {} {}\n", name_of(hook.when), shown(hook.name));
  for (const auto& kept : object.kept_data)
    out += fmt::format("  kept        {} ({} bytes)\n", shown(kept.name), kept.size);
}

void module_text(std::string& out, const patchfmt::KernelModule& module) {
  out += fmt::format("\nmodule        {} ({} bytes)\n", shown(module.module), module.file.size());
  line(out, "  kernel", module.release);
  line(out, "  kernel ID", module.kernel_id);
  line(out, "  effective", module.effective);
  line(out, "  type", module.type);
}

}  // namespace

std::string inspect_json(const patchfmt::PatchFile& file) {
  const patchfmt::Patchset& patchset = file.patchset;
  Json json{{"patchset", patchset.name},
            {"level", patchset.level},
            {"product", patchset.product},
            {"distribution", patchset.distribution},
            {"source_package", patchset.source_package},
            {"time", patchset.time},
            {"description", patchset.description}};
  json["fixes"] = Json::array();
  for (const auto& fix : patchset.fixes)
    json["fixes"].push_back({{"name", fix.name},
                             {"description", fix.description},
                             {"package", fix.package},
                             {"cves", fix.cves},
                             {"cvss", fix.cvss},
                             {"cve_url", fix.cve_url},
                             {"patch_url", fix.patch_url}});
  json["objects"] = Json::array();
  for (const Object& object : patchset.objects) json["objects"].push_back(object_json(object));
  json["modules"] = Json::array();
  for (const patchfmt::KernelModule& module : patchset.modules)
    json["modules"].push_back({{"module", module.module},
                               {"release", module.release},
                               {"kernel_id", module.kernel_id},
                               {"effective", module.effective},
                               {"type", module.type},
                               {"bytes", module.file.size()}});
  json["signatures"] = Json::array();
  for (const auto& signature : file.signatures)
    json["signatures"].push_back({{"key_id", key_id(signature)}});
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string inspect_text(const patchfmt::PatchFile& file) {
  const patchfmt::Patchset& patchset = file.patchset;
  std::string out;
  line(out, "patchset",
       fmt::format("{} level {} ({})", patchset.name, patchset.level, patchset.product));
  line(out, "for", fmt::format("{} {}", patchset.distribution, patchset.source_package));
  line(out, "made", patchset.time);
  line(out, "description", patchset.description);
  for (const auto& fix : patchset.fixes) {
    std::string cves;
    for (const std::string& cve : fix.cves) cves += " " + cve;
    line(out, "fix", fix.name + cves + (fix.cvss.empty() ? "" : ", CVSS " + fix.cvss));
  }
  if (file.signatures.empty()) line(out, "signature", "none: agents will not apply it");
  for (const auto& signature : file.signatures) line(out, "signed by", "key " + key_id(signature));
  for (const Object& object : patchset.objects) object_text(out, object);
  for (const patchfmt::KernelModule& module : patchset.modules) module_text(out, module);
  return out;
}

Status inspect_command(const std::filesystem::path& file, bool json, std::ostream& out) {
  TRY(Bytes bytes, read_file(file, patchfmt::patch_file_bytes_max));
  TRY(patchfmt::PatchFile patch, patchfmt::read(bytes, file.native()));
  out << (json ? inspect_json(patch) : inspect_text(patch));
  return ok_status();
}

}  // namespace livecare::builder
