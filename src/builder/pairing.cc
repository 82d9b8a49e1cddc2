#include "builder/pairing.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "trust/keys.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr std::array compared_sections = {".text",        ".rodata", ".eh_frame", ".data",
                                          ".data.rel.ro", ".dynsym", ".dynstr",   ".init_array",
                                          ".rela.dyn",    ".tdata"};

// libtool's program in the build tree is a script that starts .libs/NAME or .libs/lt-NAME.
std::string build_name(const std::string& name) {
  return name.starts_with("lt-") ? name.substr(3) : name;
}

bool same_name(const Fingerprint& shipped, const Fingerprint& rebuilt) {
  if (!shipped.soname.empty() || !rebuilt.soname.empty()) return shipped.soname == rebuilt.soname;
  return build_name(rebuilt.file_name) == shipped.file_name;
}

const Fingerprint::Section* find_section(const Fingerprint& file, std::string_view name) {
  for (const auto& section : file.sections)
    if (section.name == name) return &section;
  return nullptr;
}

}  // namespace

std::string Likeness::text() const {
  if (different.empty()) return fmt::format("identical: {} sections equal", equal);
  std::string names;
  for (const std::string& name : different) names += (names.empty() ? "" : ", ") + name;
  return fmt::format("differs in {} ({} of {} sections equal)", names, equal, compared);
}

Fingerprint fingerprint_of(const elf::Image& image, const fs::path& path) {
  Fingerprint result;
  result.soname = image.soname();
  result.file_name = path.filename();
  result.build_id = image.build_id();
  result.has_symbols = image.section(".symtab") != nullptr;
  for (const char* name : compared_sections)
    if (const elf::Section* section = image.section(name))
      result.sections.push_back({name, section->size, trust::sha256(section->bytes)});
  return result;
}

Likeness compare(const Fingerprint& shipped, const Fingerprint& rebuilt) {
  Likeness likeness;
  likeness.has_symbols = rebuilt.has_symbols;
  for (const char* name : compared_sections) {
    const auto* a = find_section(shipped, name);
    const auto* b = find_section(rebuilt, name);
    if (a == nullptr && b == nullptr) continue;
    ++likeness.compared;
    bool same_size = a != nullptr && b != nullptr && a->size == b->size;
    if (same_size) ++likeness.same_size;
    if (same_size && a->digest == b->digest)
      ++likeness.equal;
    else
      likeness.different.emplace_back(name);
  }
  return likeness;
}

std::optional<Pair> find_pair(const Fingerprint& shipped,
                              const std::vector<Fingerprint>& candidates) {
  std::optional<Pair> best;
  for (bool by_name : {true, false}) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (by_name && !same_name(shipped, candidates[i])) continue;
      Likeness likeness = compare(shipped, candidates[i]);
      // Without the name only an equal file will do: programs are installed under other names.
      if (!by_name && (likeness.equal == 0 || !likeness.different.empty())) continue;
      if (!best || likeness.score() > best->likeness.score()) best = Pair{i, likeness};
    }
    if (best) break;
  }
  return best;
}

bool is_elf64(const fs::path& path, uint16_t* type) {
  std::array<char, 20> head{};
  std::ifstream file(path, std::ios::binary);
  if (!file.read(head.data(), head.size())) return false;
  if (std::string_view(head.data(), 4) !=
          "\x7f"
          "ELF" ||
      head[EI_CLASS] != ELFCLASS64 || head[EI_DATA] != ELFDATA2LSB)
    return false;
  ByteView view(std::string_view(head.data(), head.size()));
  if (type != nullptr) *type = *view.read<uint16_t>(16);
  return true;
}

std::vector<fs::path> find_elf_files(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code failure;
  fs::recursive_directory_iterator end;
  for (fs::recursive_directory_iterator at(directory, failure); !failure && at != end;
       at.increment(failure)) {
    std::error_code ignored;
    uint16_t type = 0;
    if (at->is_symlink(ignored) || !at->is_regular_file(ignored)) continue;
    if (is_elf64(at->path(), &type) && (type == ET_DYN || type == ET_EXEC))
      files.push_back(at->path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace livecare::builder
