// The version with which a symbol is to be imported: as the shipped file asks for it, or else the
// default version of the library that defines it, found among the target's DT_NEEDED libraries.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "elf/image.h"

namespace livecare::builder {

class ImportVersions {
 public:
  explicit ImportVersions(const elf::Image& shipped);

  // A symbol of the shipped file's own dynamic symbol table, defined or not; nullptr: none.
  const elf::Symbol* own(std::string_view name) const;
  // True when the dynamic linker may bind the file's own definition to another file's.
  bool preemptible(const elf::Symbol& symbol) const;

  struct Found {
    std::string version;
    bool proved = false;  // a library that defines it was read
  };
  // For a symbol that the shipped file does not import yet. Empty: no library that the target
  // needs defines it. Not proved: some of those libraries are not on this machine.
  std::optional<Found> provided(std::string_view name);
  // Whether what would be imported is code and not a variable; false when it is not known.
  bool is_function(std::string_view name);

 private:
  void read_libraries();

  const elf::Image& shipped_;
  std::unordered_map<std::string_view, std::vector<const elf::Symbol*>> own_;
  bool symbolic_ = false;
  bool libraries_read_ = false;
  bool library_missing_ = false;
  std::vector<std::unique_ptr<elf::Image>> libraries_;
};

}  // namespace livecare::builder
