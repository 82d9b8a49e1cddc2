// Names to addresses in a running process, the way the dynamic linker does it.
//
// The global scope is not public in the dynamic linker's data; it is the program, what was
// preloaded and their dependencies in breadth-first order, which is the order of the link map up to
// the last object of that closure. Objects opened later are looked at only for themselves and their
// own dependencies (RTLD_LOCAL, and what RTLD_GLOBAL users reach through their dependencies as
// well).
#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "base/file_system.h"
#include "remote/dynamic_view.h"
#include "remote/loaded.h"

namespace livecare::remote {

namespace {

// The objects reachable by DT_NEEDED, breadth first, beginning with the start itself.
std::vector<const LoadedObject*> closure(const std::vector<LoadedObject>& objects,
                                         const LoadedObject& start) {
  std::vector<const LoadedObject*> order{&start};
  for (size_t next = 0; next < order.size(); ++next) {
    for (const std::string& name : order[next]->needed) {
      for (const LoadedObject& object : objects) {
        if (object.name_space != start.name_space || object.name() != name) continue;
        if (std::find(order.begin(), order.end(), &object) == order.end()) order.push_back(&object);
        break;
      }
    }
  }
  return order;
}

// What the dynamic linker accepts (check_match in dl-lookup.c).
bool version_fits(const LoadedSymbol& symbol, std::string_view version) {
  if (version.empty()) return !symbol.version_hidden;
  return symbol.version == version || symbol.version.empty();
}

}  // namespace

std::optional<FoundSymbol> Loaded::find_in(const LoadedObject& object, std::string_view name,
                                           std::string_view version) const {
  const std::vector<LoadedSymbol>& symbols = symbols_of(object);
  for (const LoadedSymbol& symbol : symbols) {
    if (!symbol.defined || symbol.name != name || symbol.bind == STB_LOCAL) continue;
    if (symbol.visibility == STV_HIDDEN || symbol.visibility == STV_INTERNAL) continue;
    if (!version_fits(symbol, version)) continue;
    FoundSymbol found{&object, symbol, RemoteAddress(object.bias + symbol.value)};
    if (symbol.type == STT_TLS) found.address = RemoteAddress();
    return found;
  }
  return std::nullopt;
}

std::optional<FoundSymbol> Loaded::resolve(const LoadedObject& from, std::string_view name,
                                           std::string_view version) const {
  if (from.name_space == 0 && main() != nullptr) {
    std::vector<const LoadedObject*> global = closure(objects_, *main());
    // Preloaded objects stand right behind the program in the link map.
    for (const LoadedObject& object : objects_) {
      if (!object.in_link_map || object.name_space != 0) continue;
      if (std::find(global.begin(), global.end(), &object) != global.end()) {
        if (auto found = find_in(object, name, version)) return found;
        continue;
      }
      bool before_dependencies =
          global.size() > 1 && &object < *std::min_element(global.begin() + 1, global.end());
      if (!before_dependencies) continue;
      if (auto found = find_in(object, name, version)) return found;
    }
  }
  for (const LoadedObject* object : closure(objects_, from))
    if (auto found = find_in(*object, name, version)) return found;
  return std::nullopt;
}

const std::vector<LoadedSymbol>& Loaded::symbols_of(const LoadedObject& object) const {
  auto known = symbols_.find(object.span.start.address());
  if (known != symbols_.end()) return known->second;
  return symbols_[object.span.start.address()] = DynamicView(*memory_, object).symbols();
}

Result<DynamicTables> Loaded::tables(const LoadedObject& object) const {
  DynamicTables tables;
  tables.symbols = symbols_of(object);
  tables.relocations = DynamicView(*memory_, object).relocations();
  return tables;
}

Result<TlsPlace> Loaded::tls(const LoadedObject& object) const {
  if (object.link_map.is_null())
    return make_error(ErrorCode::unsupported, object.name(),
                      "is not in the dynamic linker's list, so its thread-local storage cannot be "
                      "found");
  // Three words: size in bits, number of elements, offset (nptl_db/db_info.c).
  auto field = [&](std::string_view name) -> std::optional<uint64_t> {
    for (const LoadedObject& provider : objects_) {
      if (provider.name_space != object.name_space && provider.name_space != 0) continue;
      auto found = find_in(provider, name);
      if (!found) continue;
      Bytes words = memory_->read_prefix(found->address, 12);
      if (words.size() != 12) return std::nullopt;
      auto bits = *ByteView(words).read<uint32_t>(0);
      auto offset = *ByteView(words).read<uint32_t>(8);
      auto value = memory_->read(object.link_map + offset, 8);
      if (!value.ok() || bits != 64) return std::nullopt;
      return ByteView(*value).read<uint64_t>(0);
    }
    return std::nullopt;
  };
  auto module = field("_thread_db_link_map_l_tls_modid");
  if (!module)
    return make_error(ErrorCode::unsupported, object.name(),
                      "thread-local storage: the C library does not describe its link map to "
                      "debuggers (glibc 2.34 or newer does)");
  TlsPlace place;
  place.module = *module;
  // 0: not decided yet (NO_TLS_OFFSET); -1: forced dynamic (FORCED_DYNAMIC_TLS_OFFSET).
  auto offset = field("_thread_db_link_map_l_tls_offset");
  if (offset && *offset != 0 && *offset != ~uint64_t{0})
    place.static_offset = -static_cast<int64_t>(*offset);
  return place;
}

Result<elf::Image> Loaded::image(const LoadedObject& object) const {
  const Mapping* mapping = maps_.find(object.span.start);
  if (mapping != nullptr && mapping->is_file()) {
    std::string link = fmt::format("/proc/{}/map_files/{:x}-{:x}", memory_->pid(),
                                   mapping->range.start.address(), mapping->range.end().address());
    std::string by_root = fmt::format("/proc/{}/root{}", memory_->pid(), mapping->path);
    for (const std::string& path : {link, by_root}) {
      struct stat info {};
      if (::stat(path.c_str(), &info) != 0 || info.st_ino != mapping->inode) continue;
      auto image = elf::Image::open(path);
      if (image.ok()) return image;
    }
  }
  // From memory: the file-backed bytes of every segment at their file offsets.
  Bytes file;
  for (const elf::Segment& segment : object.segments) {
    if (segment.type != PT_LOAD || segment.file_size == 0) continue;
    uint64_t end = segment.offset + segment.file_size;
    if (end > elf::file_bytes_max || end < segment.offset)
      return make_error(ErrorCode::invalid_input, object.name(), "its segments make no sense");
    if (file.size() < end) file.resize(end);
    TRY_STATUS(
        memory_->read_into(RemoteAddress(object.bias + segment.address),
                           {file.data() + segment.offset, static_cast<size_t>(segment.file_size)}));
  }
  if (file.size() < sizeof(Elf64_Ehdr))
    return make_error(ErrorCode::invalid_input, object.name(), "has no ELF header in memory");
  store_le(file, offsetof(Elf64_Ehdr, e_shoff), uint64_t{0});
  store_le(file, offsetof(Elf64_Ehdr, e_shnum), uint16_t{0});
  store_le(file, offsetof(Elf64_Ehdr, e_shstrndx), uint16_t{0});
  return elf::Image::parse(std::move(file), object.name());
}

}  // namespace livecare::remote
