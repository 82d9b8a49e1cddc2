#include "builder/linked_in.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace livecare::builder {

namespace {

std::string_view without_version(std::string_view name) {
  return name.substr(0, name.find('@'));
}

bool is_thing(const elf::Symbol& symbol) {
  return !symbol.name.empty() && !symbol.is_undefined() && symbol.type != STT_FILE &&
         symbol.type != STT_SECTION;
}

std::string_view file_of(const elf::Image& object) {
  for (const elf::Symbol& symbol : object.symbols())
    if (symbol.type == STT_FILE && !symbol.name.empty()) return symbol.name;
  return {};
}

// Names of the sources that a linked file was made of.
class FileNames {
 public:
  explicit FileNames(const elf::Image& linked) {
    for (const elf::Symbol& symbol : linked.symbols())
      if (symbol.type == STT_FILE && !symbol.name.empty()) names_.insert(symbol.name);
    // What link-time optimisation leaves instead of the names.
    is_complete_ = !names_.contains("<artificial>") && !names_.contains("ld-temp.o");
    names_.erase("crtstuff.c");
    is_complete_ = is_complete_ && !names_.empty();
  }

  bool contains(std::string_view name) const { return names_.contains(name); }
  bool is_complete() const { return is_complete_; }

 private:
  std::set<std::string_view> names_;
  bool is_complete_ = false;
};

struct Traces {
  size_t globals = 0;
  size_t present = 0;              // globals whose name is there
  size_t same_size = 0;            // in the same size as well
  std::string_view missing;        // a strong one that is not
  std::string_view of_other_size;  // one that is there, but not in this size
  bool has_local = false;          // a static thing of the same file and name
};

Traces compare_symbols(const elf::Image& object, const elf::Image& linked, std::string_view file) {
  std::unordered_map<std::string_view, std::vector<const elf::Symbol*>> there;
  for (const elf::Symbol& symbol : linked.symbols())
    if (is_thing(symbol)) there[without_version(symbol.name)].push_back(&symbol);
  Traces traces;
  for (const elf::Symbol& symbol : object.symbols()) {
    if (!is_thing(symbol)) continue;
    std::string_view name = without_version(symbol.name);
    auto found = there.find(name);
    if (symbol.bind == STB_LOCAL) {
      traces.has_local =
          traces.has_local ||
          (found != there.end() && !file.empty() &&
           std::any_of(found->second.begin(), found->second.end(), [&](const elf::Symbol* other) {
             return other->bind == STB_LOCAL && other->source_file == file;
           }));
      continue;
    }
    ++traces.globals;
    if (found == there.end()) {
      if (symbol.bind != STB_WEAK) traces.missing = name;
      continue;
    }
    ++traces.present;
    if (std::none_of(found->second.begin(), found->second.end(),
                     [&](const elf::Symbol* other) { return other->size == symbol.size; }))
      traces.of_other_size = name;
    else
      ++traces.same_size;
  }
  return traces;
}

}  // namespace

LinkedIn linked_in(const elf::Image& object, const elf::Image& linked) {
  std::string_view file = file_of(object);
  FileNames files(linked);
  Traces traces = compare_symbols(object, linked, file);
  if (traces.globals == 0) return {true, {}};
  if (traces.present == 0 && !traces.has_local) return {false, {}};
  bool is_alike = traces.missing.empty() && traces.of_other_size.empty();
  if (!file.empty() && files.contains(file)) {
    if (is_alike) return {true, {}};
    std::string_view name = traces.missing.empty() ? traces.of_other_size : traces.missing;
    return {true, fmt::format("it has a source file named {}, but {} {}", file, name,
                              traces.missing.empty() ? "has another size there" : "is not there")};
  }
  if (file.empty() || !files.is_complete())
    return {true, is_alike ? std::string()
                           : std::string("it has symbols of these names, but its symbol table does "
                                         "not name all its source files")};
  // The linker would have kept the name. Unless something took it out of the archive: then more
  // than half of the sizes agree all the same.
  if (!traces.missing.empty() || traces.same_size * 2 <= traces.present) return {false, {}};
  return {true, fmt::format("it has its symbols, {} of {} in their sizes, but no source file named "
                            "{}",
                            traces.same_size, traces.present, file)};
}

}  // namespace livecare::builder
