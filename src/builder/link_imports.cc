#include "builder/link_imports.h"

#include <elf.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <set>

namespace livecare::builder {
namespace {

constexpr std::array library_directories = {
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
};
constexpr size_t libraries_max = 200;

std::filesystem::path find_library(const std::string& name, const std::filesystem::path& beside) {
  std::error_code ignored;
  if (std::filesystem::exists(beside / name, ignored)) return beside / name;
  for (const char* directory : library_directories)
    if (auto path = std::filesystem::path(directory) / name; std::filesystem::exists(path, ignored))
      return path;
  return {};
}

}  // namespace

ImportVersions::ImportVersions(const elf::Image& shipped) : shipped_(shipped) {
  for (const auto& symbol : shipped.dynamic_symbols())
    if (!symbol.name.empty()) own_[symbol.name].push_back(&symbol);
  symbolic_ = shipped.dynamic_value(DT_SYMBOLIC).has_value() ||
              (shipped.dynamic_value(DT_FLAGS).value_or(0) & DF_SYMBOLIC) != 0;
}

const elf::Symbol* ImportVersions::own(std::string_view name) const {
  auto found = own_.find(name);
  if (found == own_.end()) return nullptr;
  // With several versions of a definition, the default one is what a plain name means.
  for (const elf::Symbol* symbol : found->second)
    if (!symbol->version_hidden) return symbol;
  return found->second.front();
}

bool ImportVersions::preemptible(const elf::Symbol& symbol) const {
  return shipped_.kind() == elf::Kind::shared && !shipped_.section(".interp") && !symbolic_ &&
         symbol.visibility == STV_DEFAULT;
}

void ImportVersions::read_libraries() {
  libraries_read_ = true;
  const auto beside = std::filesystem::path(shipped_.name()).parent_path();
  std::vector<std::string> queue = shipped_.needed();
  // Every process has the C library and the dynamic linker, whether this file needs them or not.
  queue.insert(queue.end(), {"libc.so.6", "ld-linux-x86-64.so.2"});
  std::set<std::string> seen;
  for (size_t i = 0; i < queue.size() && i < libraries_max; ++i) {
    if (!seen.insert(queue[i]).second) continue;
    auto image = elf::Image::open(find_library(queue[i], beside));
    if (!image.ok()) {
      library_missing_ = true;
      continue;
    }
    libraries_.push_back(std::make_unique<elf::Image>(std::move(image).value()));
    for (auto& name : libraries_.back()->needed()) queue.push_back(std::move(name));
  }
}

std::optional<ImportVersions::Found> ImportVersions::provided(std::string_view name) {
  if (!libraries_read_) read_libraries();
  for (const auto& library : libraries_)
    for (const auto& symbol : library->dynamic_symbols())
      if (symbol.name == name && !symbol.is_undefined() && !symbol.version_hidden &&
          symbol.bind != STB_LOCAL)
        return Found{std::string(symbol.version), true};
  if (library_missing_) return Found{};
  return std::nullopt;
}

bool ImportVersions::is_function(std::string_view name) {
  auto is_code = [](const elf::Symbol& symbol) {
    return symbol.type == STT_FUNC || symbol.type == STT_GNU_IFUNC;
  };
  if (const elf::Symbol* mine = own(name); mine && mine->type != STT_NOTYPE) return is_code(*mine);
  if (!libraries_read_) read_libraries();
  for (const auto& library : libraries_)
    for (const auto& symbol : library->dynamic_symbols())
      if (symbol.name == name && !symbol.is_undefined()) return is_code(symbol);
  return false;
}

}  // namespace livecare::builder
