// Module.symvers: what a kernel and its modules export.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace livecare::builder {

struct ExportedSymbol {
  std::string owner;       // "vmlinux", or a module's path without .ko
  std::string name_space;  // of EXPORT_SYMBOL_NS; empty without
};

class ExportedSymbols {
 public:
  static Result<ExportedSymbols> read(const std::filesystem::path& file);
  static Result<ExportedSymbols> parse(std::string_view text, const std::string& name);

  const ExportedSymbol* find(std::string_view name) const;
  // The kernel's own loader finds it for any module that it loads.
  bool loader_finds(std::string_view name) const;

 private:
  std::map<std::string, ExportedSymbol, std::less<>> symbols_;
};

// "nf_tables" of "net/netfilter/nf_tables.ko.xz" and of "nf-tables": what the kernel calls it.
std::string module_name(std::string_view path);

}  // namespace livecare::builder
