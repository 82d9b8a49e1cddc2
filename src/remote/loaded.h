// The ELF objects of a running process as the dynamic linker sees them, read from its memory: files
// on disk may be deleted or replaced. Works without a dynamic linker (static executables, vdso) by
// looking for ELF headers in the mappings.
//
// A snapshot; `Loaded` owns everything it hands out and keeps the Memory that it was read from. For
// one thread.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "elf/image.h"
#include "remote/maps.h"
#include "remote/memory.h"

namespace livecare::remote {

inline constexpr uint32_t objects_max = 10'000;

struct LoadedObject {
  uint64_t bias = 0;     // run-time minus link-time address
  std::string path;      // as in maps (or the link map's name when maps has none)
  bool deleted = false;  // the file on disk is not the one that is mapped
  bool is_main = false;  // the executable
  bool in_link_map = false;
  uint32_t name_space = 0;  // 0: the main one; >0: dlmopen
  RemoteAddress link_map;   // struct link_map, null without one
  RemoteAddress headers;    // the ELF header in memory (start of the first mapping)
  RemoteAddress dynamic;    // null: none
  std::string build_id;     // lowercase hex, empty without one
  std::string soname;       // DT_SONAME, may be empty
  std::vector<std::string> needed;
  std::vector<elf::Segment> segments;  // program headers, link-time addresses
  RemoteRange span;                    // from the first to the last PT_LOAD byte, run-time

  // soname, else the file name of path.
  std::string name() const;
  bool contains(RemoteAddress address) const;  // inside one of its PT_LOADs
};

// A symbol of .dynsym.
struct LoadedSymbol {
  std::string name;
  std::string version;          // "GLIBC_2.34", empty without one
  bool version_hidden = false;  // name@VERSION, not name@@VERSION
  uint64_t value = 0;           // link-time address; TLS: offset in the block
  uint64_t size = 0;
  uint8_t type = 0, bind = 0, visibility = 0;
  bool defined = false;
};

struct LoadedRelocation {
  uint64_t offset = 0;  // link-time address of the place
  uint32_t type = 0;    // R_X86_64_*
  uint32_t symbol = 0;  // into DynamicTables::symbols
  int64_t addend = 0;
};

// The dynamic tables of one object, parsed on demand from memory.
struct DynamicTables {
  std::vector<LoadedSymbol> symbols;
  std::vector<LoadedRelocation> relocations;  // DT_RELA, then DT_JMPREL (no DT_RELR)
};

struct FoundSymbol {
  const LoadedObject* object = nullptr;
  LoadedSymbol symbol;
  RemoteAddress address;  // bias + value; for STT_GNU_IFUNC the resolver; null for STT_TLS
};

struct TlsPlace {
  uint64_t module = 0;                   // l_tls_modid
  std::optional<int64_t> static_offset;  // of the block from the thread pointer (negative on
                                         // x86-64); empty: not (known to be) in static TLS
};

class Loaded {
 public:
  static Result<Loaded> read(const Memory& memory, const Maps& maps);

  const std::vector<LoadedObject>& objects() const { return objects_; }
  const LoadedObject* main() const;
  const LoadedObject* find(RemoteAddress address) const;
  const LoadedObject* by_build_id(std::string_view build_id) const;
  // "libc.so.6", "libgcc_s.so.1": by soname or file name; the first of the main name space.
  const LoadedObject* by_name(std::string_view name) const;
  bool has_dynamic_linker() const;

  Result<DynamicTables> tables(const LoadedObject& object) const;

  // One definition in one object. An empty version means the default one.
  std::optional<FoundSymbol> find_in(const LoadedObject& object, std::string_view name,
                                     std::string_view version = {}) const;
  // As the dynamic linker does for a reference made by `from`: the global scope (the program and
  // its dependencies), then the object's own dependencies.
  std::optional<FoundSymbol> resolve(const LoadedObject& from, std::string_view name,
                                     std::string_view version = {}) const;

  // Module and static offset of the object's PT_TLS block (glibc only: through the _thread_db_*
  // descriptors, nptl_db's contract with debuggers). Refused when they are missing.
  Result<TlsPlace> tls(const LoadedObject& object) const;

  // The file that is mapped, also when deleted: the path, else /proc/PID/map_files, else the
  // loaded segments copied from memory (then without section headers).
  Result<elf::Image> image(const LoadedObject& object) const;

 private:
  const std::vector<LoadedSymbol>& symbols_of(const LoadedObject& object) const;

  const Memory* memory_ = nullptr;  // outlives us
  Maps maps_;
  std::vector<LoadedObject> objects_;
  mutable std::map<uint64_t, std::vector<LoadedSymbol>> symbols_;  // by start; read once
};

}  // namespace livecare::remote
