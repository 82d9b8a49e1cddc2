#include "match/symbol_table.h"

#include <elf.h>

#include <algorithm>

namespace livecare::match {

std::string_view base_name(std::string_view path) {
  const size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string_view stem(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || dot + 1 == name.size()) return name;
  const auto number = name.substr(dot + 1);
  const bool digits =
      std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? name.substr(0, dot) : name;
}

SymbolTable::SymbolTable(const elf::Image& file) {
  for (const auto& symbol : file.symbols()) {
    has_source_files_ |= symbol.type == STT_FILE;
    if (symbol.name.empty() || symbol.is_undefined() || symbol.type == STT_SECTION ||
        symbol.type == STT_FILE)
      continue;
    by_name_[symbol.name.substr(0, symbol.name.find('@'))].push_back(&symbol);
  }
}

std::vector<const elf::Symbol*> SymbolTable::local(std::string_view name,
                                                   std::string_view source_file) const {
  std::vector<const elf::Symbol*> found;
  auto all = by_name_.find(name);
  if (all == by_name_.end()) return found;
  for (const elf::Symbol* symbol : all->second)
    if (symbol->bind == STB_LOCAL && (source_file.empty() || !has_source_files_ ||
                                      base_name(symbol->source_file) == base_name(source_file)))
      found.push_back(symbol);
  return found;
}

std::vector<const elf::Symbol*> SymbolTable::global(std::string_view name) const {
  std::vector<const elf::Symbol*> found;
  auto all = by_name_.find(name);
  if (all == by_name_.end()) return found;
  for (const elf::Symbol* symbol : all->second)
    if (symbol->bind != STB_LOCAL || symbol->source_file.empty()) found.push_back(symbol);
  return found;
}

}  // namespace livecare::match
