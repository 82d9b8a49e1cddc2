#include "builder/kernel/symvers.h"

#include <vector>

#include "base/file_system.h"
#include "base/text.h"

namespace livecare::builder {

Result<ExportedSymbols> ExportedSymbols::read(const std::filesystem::path& file) {
  TRY(std::string text, read_text(file));
  return parse(text, file.native());
}

Result<ExportedSymbols> ExportedSymbols::parse(std::string_view text, const std::string& name) {
  ExportedSymbols out;
  for (std::string_view line : split_lines(text)) {
    std::vector<std::string_view> fields;
    for (size_t at = 0; at <= line.size();) {
      size_t end = std::min(line.find('\t', at), line.size());
      fields.push_back(line.substr(at, end - at));
      at = end + 1;
    }
    if (fields.size() < 4 || fields[1].empty())
      return make_error(ErrorCode::invalid_input, name, "has a line that is no exported symbol: {}",
                        line);
    ExportedSymbol symbol{std::string(fields[2]),
                          fields.size() > 4 ? std::string(fields[4]) : std::string()};
    out.symbols_.emplace(std::string(fields[1]), std::move(symbol));
  }
  if (out.symbols_.empty())
    return make_error(ErrorCode::invalid_input, name, "names no exported symbol");
  return out;
}

const ExportedSymbol* ExportedSymbols::find(std::string_view name) const {
  auto found = symbols_.find(name);
  return found == symbols_.end() ? nullptr : &found->second;
}

bool ExportedSymbols::loader_finds(std::string_view name) const {
  const ExportedSymbol* symbol = find(name);
  return symbol && symbol->owner == "vmlinux" && symbol->name_space.empty();
}

std::string module_name(std::string_view path) {
  std::string_view name = path.substr(path.rfind('/') + 1);
  name = name.substr(0, name.find(".ko"));
  std::string out(name);
  for (char& c : out)
    if (c == '-') c = '_';
  return out;
}

}  // namespace livecare::builder
