// Which objects a process has loaded.
//
// The dynamic linker keeps a list (struct link_map, <link.h>) for debuggers; it says where each
// object's dynamic section is and how far it was moved. It is read through DT_DEBUG of the program,
// whose program headers the kernel names in the auxiliary vector. What is in no list (static
// programs, the vdso, the dynamic linker before it has set up the list) shows as an ELF header at
// the start of a mapping. Both views are merged; the program headers in memory are the truth about
// segments, the maps about paths.
//
// The process runs meanwhile and may load or unload: a link map that cannot be followed is read
// again, and an object whose headers are gone is left out.
#include "remote/loaded.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/file_system.h"
#include "remote/dynamic_view.h"

namespace livecare::remote {

namespace {

constexpr uint32_t program_headers_max = 512;
constexpr uint32_t name_spaces_max = 64;
constexpr uint64_t note_bytes_max = 1 << 20;

struct Auxv {
  RemoteAddress program_headers, interpreter;
  uint64_t count = 0;
};

Result<Auxv> read_auxv(pid_t pid) {
  TRY(std::string text, read_proc(fmt::format("/proc/{}/auxv", pid)));
  ByteView bytes{std::string_view(text)};
  Auxv auxv;
  for (uint64_t at = 0; at + 16 <= bytes.size(); at += 16) {
    uint64_t tag = *bytes.read<uint64_t>(at), value = *bytes.read<uint64_t>(at + 8);
    if (tag == AT_PHDR) auxv.program_headers = RemoteAddress(value);
    if (tag == AT_PHNUM) auxv.count = value;
    if (tag == AT_BASE) auxv.interpreter = RemoteAddress(value);
  }
  return auxv;
}

Result<std::vector<elf::Segment>> read_segments(const Memory& memory, RemoteAddress at,
                                                uint64_t count) {
  if (count > program_headers_max)
    return make_error(ErrorCode::invalid_input, "program headers", "{} are too many", count);
  TRY(Bytes bytes, memory.read(at, count * sizeof(Elf64_Phdr)));
  ByteView view(bytes);
  std::vector<elf::Segment> segments;
  for (uint64_t i = 0; i < count; ++i) {
    uint64_t p = i * sizeof(Elf64_Phdr);
    elf::Segment segment;
    segment.type = *view.read<uint32_t>(p);
    segment.flags = *view.read<uint32_t>(p + 4);
    segment.offset = *view.read<uint64_t>(p + 8);
    segment.address = *view.read<uint64_t>(p + 16);
    segment.file_size = *view.read<uint64_t>(p + 32);
    segment.memory_size = *view.read<uint64_t>(p + 40);
    segment.alignment = *view.read<uint64_t>(p + 48);
    segments.push_back(segment);
  }
  return segments;
}

// The program headers of an ELF header in memory; empty when there is none.
std::vector<elf::Segment> segments_at(const Memory& memory, RemoteAddress header) {
  Bytes bytes = memory.read_prefix(header, sizeof(Elf64_Ehdr));
  if (bytes.size() != sizeof(Elf64_Ehdr) || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0 ||
      bytes[EI_CLASS] != ELFCLASS64)
    return {};
  ByteView view(bytes);
  auto type = *view.read<uint16_t>(16);
  if (type != ET_EXEC && type != ET_DYN) return {};
  auto offset = *view.read<uint64_t>(32);
  auto count = *view.read<uint16_t>(56);
  auto segments = read_segments(memory, header + static_cast<int64_t>(offset), count);
  return segments.ok() ? std::move(segments).value() : std::vector<elf::Segment>();
}

const elf::Segment* segment_of_type(const std::vector<elf::Segment>& segments, uint32_t type) {
  for (const elf::Segment& segment : segments)
    if (segment.type == type) return &segment;
  return nullptr;
}

std::string build_id_of(const Memory& memory, const LoadedObject& object) {
  for (const elf::Segment& segment : object.segments) {
    if (segment.type != PT_NOTE || segment.memory_size > note_bytes_max) continue;
    auto bytes = memory.read(RemoteAddress(object.bias + segment.address), segment.memory_size);
    if (!bytes.ok()) continue;
    ByteView notes(*bytes);
    uint64_t align = segment.alignment == 8 ? 8 : 4;
    auto round = [&](uint64_t size) { return (size + align - 1) & ~(align - 1); };
    for (uint64_t at = 0; at + 12 <= notes.size();) {
      uint64_t name_size = *notes.read<uint32_t>(at);
      uint64_t size = *notes.read<uint32_t>(at + 4);
      auto type = *notes.read<uint32_t>(at + 8);
      uint64_t content = round(at + 12 + name_size);
      auto name = notes.slice(at + 12, name_size);
      auto id = notes.slice(content, size);
      if (!name || !id) break;
      if (type == NT_GNU_BUILD_ID && name_size == 4 && std::memcmp(name->data(), "GNU", 4) == 0)
        return to_hex(*id);
      at = round(content + size);
    }
  }
  return {};
}

// Fills in everything that follows from bias and segments.
bool complete(const Memory& memory, const Maps& maps, LoadedObject& object) {
  uint64_t low = UINT64_MAX, high = 0;
  for (const elf::Segment& segment : object.segments) {
    if (segment.type != PT_LOAD) continue;
    low = std::min(low, segment.address & ~uint64_t{4095});
    high = std::max(high, segment.address + segment.memory_size);
  }
  if (low >= high) return false;
  object.span = {RemoteAddress(object.bias + low), high - low};
  object.headers = object.span.start;
  if (const elf::Segment* dynamic = segment_of_type(object.segments, PT_DYNAMIC))
    object.dynamic = RemoteAddress(object.bias + dynamic->address);
  if (const Mapping* mapping = maps.find(object.span.start)) {
    if (!mapping->path.empty()) object.path = mapping->path;
    object.deleted = mapping->deleted;
  }
  object.build_id = build_id_of(memory, object);
  DynamicView view(memory, object);
  object.soname = view.soname();
  object.needed = view.needed();
  return true;
}

}  // namespace

std::string LoadedObject::name() const {
  if (!soname.empty()) return soname;
  size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

bool LoadedObject::contains(RemoteAddress address) const {
  for (const elf::Segment& segment : segments)
    if (segment.type == PT_LOAD &&
        RemoteRange{RemoteAddress(bias + segment.address), segment.memory_size}.contains(address))
      return true;
  return false;
}

// Reads the lists and the maps into objects_.
class LoadedReader {
 public:
  LoadedReader(const Memory& memory, const Maps& maps, std::vector<LoadedObject>& objects)
      : memory_(memory), maps_(maps), objects_(objects) {}

  Status read() {
    TRY(Auxv auxv, read_auxv(memory_.pid()));
    TRY_STATUS(add_program(auxv));
    RemotePtr<r_debug> list = find_list();
    if (list.is_null() && !auxv.interpreter.is_null()) list = list_of_interpreter(auxv);
    for (uint32_t name_space = 0; !list.is_null() && name_space < name_spaces_max; ++name_space) {
      auto debug = memory_.read_value(list);
      if (!debug.ok()) break;
      walk(RemotePtr<link_map>(reinterpret_cast<uint64_t>(debug->r_map)), name_space);
      if (debug->r_version < 2) break;  // r_next: since version 2 (glibc 2.35)
      auto next = memory_.read_value(RemotePtr<uint64_t>(list.address() + sizeof(r_debug)));
      if (!next.ok()) break;
      list = RemotePtr<r_debug>(*next);
    }
    add_from_maps();
    return ok_status();
  }

 private:
  Status add_program(const Auxv& auxv) {
    LoadedObject program;
    TRY(program.segments, read_segments(memory_, auxv.program_headers, auxv.count));
    program.is_main = true;
    if (const elf::Segment* self = segment_of_type(program.segments, PT_PHDR)) {
      program.bias = auxv.program_headers.address() - self->address;
    } else if (const Mapping* mapping = maps_.find(auxv.program_headers)) {
      // Static programs have no PT_PHDR; theirs lie in the first segment, at file offset 0.
      uint64_t low = UINT64_MAX;
      for (const elf::Segment& segment : program.segments)
        if (segment.type == PT_LOAD) low = std::min(low, segment.address & ~uint64_t{4095});
      program.bias = mapping->range.start.address() - low;
    }
    if (!complete(memory_, maps_, program))
      return make_error(ErrorCode::unsupported, fmt::format("process {}", memory_.pid()),
                        "its program headers make no sense");
    objects_.push_back(std::move(program));
    return ok_status();
  }

  RemotePtr<r_debug> find_list() const {
    DynamicView view(memory_, objects_.front());
    return RemotePtr<r_debug>(view.raw(DT_DEBUG).value_or(0));
  }

  RemotePtr<r_debug> list_of_interpreter(const Auxv& auxv) const {
    LoadedObject linker;
    linker.bias = auxv.interpreter.address();
    linker.segments = segments_at(memory_, auxv.interpreter);
    if (!complete(memory_, maps_, linker)) return {};
    DynamicView view(memory_, linker);
    for (const LoadedSymbol& symbol : view.symbols())
      if (symbol.defined && symbol.name == "_r_debug")
        return RemotePtr<r_debug>(linker.bias + symbol.value);
    return {};
  }

  void walk(RemotePtr<link_map> at, uint32_t name_space) {
    std::set<uint64_t> seen;
    while (!at.is_null() && seen.insert(at.address()).second && seen.size() < objects_max) {
      auto entry = memory_.read_value(at);
      if (!entry.ok()) return;
      add_entry(at, *entry, name_space);
      at = RemotePtr<link_map>(reinterpret_cast<uint64_t>(entry->l_next));
    }
  }

  void add_entry(RemotePtr<link_map> at, const link_map& entry, uint32_t name_space) {
    LoadedObject object;
    object.bias = entry.l_addr;
    object.in_link_map = true;
    object.name_space = name_space;
    object.link_map = at;
    RemoteAddress dynamic(reinterpret_cast<uint64_t>(entry.l_ld));
    for (LoadedObject& known : objects_) {
      if (known.dynamic != dynamic || dynamic.is_null()) continue;
      // The program itself; or an object that is listed in several name spaces (the linker).
      if (!known.in_link_map) {
        known.in_link_map = true;
        known.link_map = at;
        known.name_space = name_space;
      }
      return;
    }
    auto name = memory_.read_string(RemotePtr<char>(reinterpret_cast<uint64_t>(entry.l_name)));
    if (name.ok()) object.path = *name;
    object.segments = segments_at(memory_, header_of(dynamic));
    if (complete(memory_, maps_, object)) objects_.push_back(std::move(object));
  }

  // Where the object begins whose dynamic section this is: the nearest mapping before it that holds
  // an ELF header.
  RemoteAddress header_of(RemoteAddress dynamic) const {
    const Mapping* inside = maps_.find(dynamic);
    if (inside == nullptr) return {};
    constexpr size_t mappings_back_max = 64;
    size_t index = static_cast<size_t>(inside - maps_.all().data());
    for (size_t back = 0; back <= index && back < mappings_back_max; ++back) {
      const Mapping& mapping = maps_.all()[index - back];
      if (mapping.offset == 0 && mapping.readable &&
          !segments_at(memory_, mapping.range.start).empty())
        return mapping.range.start;
    }
    return {};
  }

  void add_from_maps() {
    for (const Mapping& mapping : maps_.all()) {
      bool candidate = mapping.path == "[vdso]" || (mapping.is_file() && mapping.offset == 0);
      if (!candidate || !mapping.readable || mapping.path.starts_with("/dev/")) continue;
      if (std::any_of(objects_.begin(), objects_.end(), [&](const LoadedObject& object) {
            return object.span.contains(mapping.range.start);
          }))
        continue;
      LoadedObject object;
      object.segments = segments_at(memory_, mapping.range.start);
      uint64_t low = UINT64_MAX;
      bool code = false;
      for (const elf::Segment& segment : object.segments) {
        if (segment.type != PT_LOAD) continue;
        low = std::min(low, segment.address & ~uint64_t{4095});
        if ((segment.flags & PF_X) == 0) continue;
        // A file that is merely being read as data has no executable mapping at its code.
        object.bias = mapping.range.start.address() - low;
        const Mapping* there = maps_.find(RemoteAddress(object.bias + segment.address));
        code |= there != nullptr && there->executable && there->inode == mapping.inode;
      }
      if (code && complete(memory_, maps_, object)) objects_.push_back(std::move(object));
    }
  }

  const Memory& memory_;
  const Maps& maps_;
  std::vector<LoadedObject>& objects_;
};

Result<Loaded> Loaded::read(const Memory& memory, const Maps& maps) {
  Loaded loaded;
  loaded.memory_ = &memory;
  loaded.maps_ = maps;
  LoadedReader reader(memory, loaded.maps_, loaded.objects_);
  TRY_STATUS(reader.read());
  return loaded;
}

const LoadedObject* Loaded::main() const {
  return objects_.empty() ? nullptr : &objects_.front();
}

const LoadedObject* Loaded::find(RemoteAddress address) const {
  for (const LoadedObject& object : objects_)
    if (object.span.contains(address) && object.contains(address)) return &object;
  return nullptr;
}

const LoadedObject* Loaded::by_build_id(std::string_view build_id) const {
  for (const LoadedObject& object : objects_)
    if (object.build_id == build_id) return &object;
  return nullptr;
}

const LoadedObject* Loaded::by_name(std::string_view name) const {
  for (const LoadedObject& object : objects_) {
    if (object.name_space != 0) continue;
    size_t slash = object.path.rfind('/');
    std::string_view file = object.path;
    if (slash != std::string::npos) file.remove_prefix(slash + 1);
    if (object.soname == name || file == name) return &object;
  }
  return nullptr;
}

bool Loaded::has_dynamic_linker() const {
  return std::any_of(objects_.begin(), objects_.end(),
                     [](const LoadedObject& object) { return object.in_link_map; });
}

}  // namespace livecare::remote
