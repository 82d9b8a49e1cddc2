// The symbol table of a file whose addresses are proved to be the shipped file's, by name.
#pragma once

#include <string_view>
#include <unordered_map>
#include <vector>

#include "elf/image.h"

namespace livecare::match {

class SymbolTable {
 public:
  explicit SymbolTable(const elf::Image& file);

  // Defined symbols that an object's symbol of that name can have become. Static ones by their
  // source file's base name; a hidden one is static in a linked file, without a source file.
  // An object without a source file's name (hand-written assembly) says nothing about it, nor does
  // a file that was stripped of all of them (a kernel module).
  std::vector<const elf::Symbol*> local(std::string_view name, std::string_view source_file) const;
  std::vector<const elf::Symbol*> global(std::string_view name) const;
  bool knows(std::string_view name) const { return by_name_.contains(name); }

 private:
  std::unordered_map<std::string_view, std::vector<const elf::Symbol*>> by_name_;
  bool has_source_files_ = false;
};

std::string_view base_name(std::string_view path);
// "counter" of the static local "counter.3"; the name itself without a number.
std::string_view stem(std::string_view name);

}  // namespace livecare::match
