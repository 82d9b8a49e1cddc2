// A layout is compared as a list of lines, one for each member, base class, virtual function or
// enumerator: "member NAME" -> "byte 8, 64 bits". Named types are compared on their own, so a
// member of a named type contributes only its size; anonymous ones are flattened into the type that
// holds them. Types are found by their full name, with the scopes around them; a type that only one
// of the two objects knows is new or gone and harms nobody.
//
// The objects are relocatable files: libdw does not apply their relocations, so the debug sections
// are relocated in a copy of the file first (references between debug sections: symbol + addend).
// Rejected: comparing the sources' text (macros, headers, generated code); comparing only the types
// that changed functions mention (a value may travel through code that did not change).
#include "builder/type_layout.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <memory>

#include "base/fd.h"

namespace livecare::builder {

namespace {

constexpr int nesting_max = 64;
constexpr uint32_t r_x86_64_64 = 1;
constexpr uint32_t r_x86_64_32 = 10;
constexpr uint32_t r_aarch64_abs64 = 257;
constexpr uint32_t r_aarch64_abs32 = 258;
constexpr std::string_view reviewed_section = ".livecare.layout_ok";

// "member x" -> "byte 8, 64 bits"
using Lines = std::map<std::string, std::string>;

struct Layout {
  bool is_enumeration = false;
  uint64_t size = 0;
  Lines lines;
  friend bool operator==(const Layout&, const Layout&) = default;
};

// Several types of one name in one object (block scopes): all of them.
using Layouts = std::map<std::string, std::vector<Layout>>;

void relocate_debug_sections(const elf::Image& image, Bytes& file) {
  bool x86 = image.machine() == elf::Machine::x86_64;
  for (const elf::Section& section : image.sections()) {
    if (!section.name.starts_with(".debug")) continue;
    for (const elf::Relocation& relocation : image.relocations(section.index)) {
      bool word32 = relocation.type == (x86 ? r_x86_64_32 : r_aarch64_abs32);
      bool word64 = relocation.type == (x86 ? r_x86_64_64 : r_aarch64_abs64);
      uint64_t width = word64 ? 8 : 4;
      if ((!word32 && !word64) || relocation.symbol >= image.symbols().size()) continue;
      if (section.bytes.size() < width || relocation.offset > section.bytes.size() - width)
        continue;
      uint64_t value =
          image.symbols()[relocation.symbol].value + static_cast<uint64_t>(relocation.addend);
      uint64_t at = section.offset + relocation.offset;
      if (word64)
        store_le<uint64_t>(file, at, value);
      else
        store_le<uint32_t>(file, at, static_cast<uint32_t>(value));
    }
  }
}

struct DwarfCloser {
  void operator()(Dwarf* dwarf) const { dwarf_end(dwarf); }
};

struct DebugInformation {
  Fd file;
  std::unique_ptr<Dwarf, DwarfCloser> dwarf;
};

Result<DebugInformation> open_debug_information(const elf::Image& image) {
  Bytes file = image.bytes().copy();
  relocate_debug_sections(image, file);
  DebugInformation opened;
  opened.file = Fd(::memfd_create("livecare-object", MFD_CLOEXEC));
  if (!opened.file.valid()) return errno_error(image.name(), "cannot make a memory file", errno);
  for (size_t done = 0; done < file.size();) {
    ssize_t put = ::write(opened.file.get(), file.data() + done, file.size() - done);
    if (put <= 0) return errno_error(image.name(), "cannot write a memory file", errno);
    done += static_cast<size_t>(put);
  }
  opened.dwarf.reset(dwarf_begin(opened.file.get(), DWARF_C_READ));
  if (opened.dwarf == nullptr)
    return make_error(ErrorCode::unsupported, image.name(),
                      "has no debug information that could be read ({}), so the layout of its "
                      "types cannot be compared; build with -g",
                      dwarf_errmsg(-1));
  return opened;
}

std::string name_of(Dwarf_Die* die) {
  const char* name = dwarf_diename(die);
  return name == nullptr ? "" : name;
}

uint64_t number(Dwarf_Die* die, unsigned attribute, uint64_t otherwise) {
  Dwarf_Attribute found;
  Dwarf_Word value = 0;
  if (dwarf_attr_integrate(die, attribute, &found) == nullptr) return otherwise;
  return dwarf_formudata(&found, &value) == 0 ? value : otherwise;
}

bool is_record(int tag) {
  return tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_union_type;
}

bool type_of(Dwarf_Die* die, Dwarf_Die* type) {
  Dwarf_Attribute found;
  Dwarf_Die direct;
  if (dwarf_attr_integrate(die, DW_AT_type, &found) == nullptr ||
      dwarf_formref_die(&found, &direct) == nullptr)
    return false;
  return dwarf_peel_type(&direct, type) == 0;
}

std::string_view kind_word(int tag) {
  switch (tag) {
    case DW_TAG_structure_type:
      return "struct";
    case DW_TAG_class_type:
      return "class";
    case DW_TAG_union_type:
      return "union";
    default:
      return "enum";
  }
}

class Reader {
 public:
  Layouts read(Dwarf* dwarf) {
    Dwarf_CU* unit = nullptr;
    Dwarf_Die unit_die;
    while (dwarf_get_units(dwarf, unit, &unit, nullptr, nullptr, &unit_die, nullptr) == 0) {
      typedef_names_.clear();
      name_typedefs(&unit_die);
      walk(&unit_die, "", 0);
    }
    return std::move(layouts_);
  }

 private:
  // An anonymous structure is called what the first typedef of the unit calls it.
  void name_typedefs(Dwarf_Die* unit) {
    for_each_child(unit, [&](Dwarf_Die* child) {
      Dwarf_Attribute found;
      Dwarf_Die type;
      if (dwarf_tag(child) == DW_TAG_typedef && dwarf_attr(child, DW_AT_type, &found) != nullptr &&
          dwarf_formref_die(&found, &type) != nullptr && name_of(&type).empty())
        typedef_names_.emplace(dwarf_dieoffset(&type), name_of(child));
    });
  }

  template <class Visit>
  static void for_each_child(Dwarf_Die* die, Visit visit) {
    Dwarf_Die child;
    if (dwarf_child(die, &child) != 0) return;
    do {
      visit(&child);
    } while (dwarf_siblingof(&child, &child) == 0);
  }

  void walk(Dwarf_Die* die, const std::string& scope, int depth) {
    if (depth > nesting_max) return;
    for_each_child(die, [&](Dwarf_Die* child) {
      int tag = dwarf_tag(child);
      bool is_scope = tag == DW_TAG_namespace || tag == DW_TAG_subprogram ||
                      tag == DW_TAG_lexical_block || is_record(tag);
      if (is_record(tag) || tag == DW_TAG_enumeration_type) take(child, tag, scope);
      if (!is_scope) return;
      std::string name = name_of(child);
      walk(child, name.empty() ? scope : scope + name + "::", depth + 1);
    });
  }

  void take(Dwarf_Die* die, int tag, const std::string& scope) {
    if (dwarf_hasattr(die, DW_AT_declaration) != 0) return;
    std::string name = name_of(die);
    if (name.empty()) {
      auto found = typedef_names_.find(dwarf_dieoffset(die));
      if (found == typedef_names_.end()) return;  // part of the type around it, or of a variable
      name = found->second;
    }
    Layout layout;
    layout.is_enumeration = tag == DW_TAG_enumeration_type;
    layout.size = number(die, DW_AT_byte_size, 0);
    describe(die, "", 0, layout.lines, 0);
    std::vector<Layout>& known = layouts_[fmt::format("{} {}{}", kind_word(tag), scope, name)];
    if (std::find(known.begin(), known.end(), layout) == known.end()) known.push_back(layout);
  }

  void describe(Dwarf_Die* die, const std::string& prefix, uint64_t bits_before, Lines& lines,
                int depth) {
    if (depth > nesting_max) return;
    int unnamed = 0;
    for_each_child(die, [&](Dwarf_Die* child) {
      switch (dwarf_tag(child)) {
        case DW_TAG_enumerator:
          add_enumerator(child, lines);
          break;
        case DW_TAG_member:
          add_member(child, prefix, bits_before, lines, unnamed, depth);
          break;
        case DW_TAG_inheritance: {
          Dwarf_Die base;
          std::string name = type_of(child, &base) ? name_of(&base) : "";
          lines["base class " + name] =
              fmt::format("byte {}", number(child, DW_AT_data_member_location, 0));
          break;
        }
        case DW_TAG_subprogram:
          add_virtual(child, lines);
          break;
        default:
          break;
      }
    });
  }

  static void add_enumerator(Dwarf_Die* die, Lines& lines) {
    Dwarf_Attribute found;
    Dwarf_Sword value = 0;
    if (dwarf_attr(die, DW_AT_const_value, &found) != nullptr &&
        dwarf_formsdata(&found, &value) == 0)
      lines["enumerator " + name_of(die)] = fmt::format("{}", value);
  }

  static void add_virtual(Dwarf_Die* die, Lines& lines) {
    Dwarf_Attribute found;
    Dwarf_Block slot;
    if (dwarf_attr(die, DW_AT_vtable_elem_location, &found) == nullptr ||
        dwarf_formblock(&found, &slot) != 0 || slot.length < 2 || slot.data[0] != DW_OP_constu)
      return;
    const char* linkage = nullptr;
    if (dwarf_attr(die, DW_AT_linkage_name, &found) != nullptr) linkage = dwarf_formstring(&found);
    lines[fmt::format("virtual function {}", linkage == nullptr ? name_of(die) : linkage)] =
        fmt::format("slot {}", to_hex(ByteView(slot.data + 1, slot.length - 1)));
  }

  void add_member(Dwarf_Die* die, const std::string& prefix, uint64_t bits_before, Lines& lines,
                  int& unnamed, int depth) {
    if (dwarf_hasattr(die, DW_AT_external) != 0) return;  // a static member
    uint64_t bits =
        bits_before + number(die, DW_AT_data_member_location, 0) * 8 + bit_in_member(die);
    Dwarf_Die type;
    bool typed = type_of(die, &type);
    std::string name = name_of(die);
    std::string path = prefix + (name.empty() ? fmt::format("(unnamed {})", unnamed++) : name);
    bool anonymous = typed && is_record(dwarf_tag(&type)) && name_of(&type).empty() &&
                     !typedef_names_.contains(dwarf_dieoffset(&type));
    if (anonymous) describe(&type, name.empty() ? prefix : path + ".", bits, lines, depth + 1);
    lines["member " + path] = fmt::format("{}, {} bits", place(bits), size_bits(die, typed, &type));
  }

  // DWARF 5 counts from the lowest bit, DWARF 3 from the highest of the storage unit (both of our
  // CPUs are little-endian).
  static uint64_t bit_in_member(Dwarf_Die* die) {
    if (dwarf_hasattr(die, DW_AT_bit_offset) == 0) return number(die, DW_AT_data_bit_offset, 0);
    return number(die, DW_AT_byte_size, 0) * 8 - number(die, DW_AT_bit_offset, 0) -
           number(die, DW_AT_bit_size, 0);
  }

  static std::string place(uint64_t bits) {
    return bits % 8 == 0 ? fmt::format("byte {}", bits / 8)
                         : fmt::format("byte {} bit {}", bits / 8, bits % 8);
  }

  static uint64_t size_bits(Dwarf_Die* member, bool typed, Dwarf_Die* type) {
    uint64_t bits = number(member, DW_AT_bit_size, 0);
    Dwarf_Word bytes = 0;
    if (bits == 0 && typed && dwarf_aggregate_size(type, &bytes) == 0) bits = bytes * 8;
    return bits;
  }

  std::map<Dwarf_Off, std::string> typedef_names_;
  Layouts layouts_;
};

Result<Layouts> read_layouts(const elf::Image& image) {
  TRY(DebugInformation information, open_debug_information(image));
  return Reader().read(information.dwarf.get());
}

std::string compare_lines(const Lines& before, const Lines& after, bool may_grow) {
  for (const auto& [name, where] : before) {
    auto found = after.find(name);
    if (found == after.end() && !may_grow) return name + " is gone";
    if (found != after.end() && found->second != where)
      return fmt::format("{} changes from {} to {}", name, where, found->second);
  }
  if (may_grow) return {};
  for (const auto& [name, where] : after)
    if (!before.contains(name)) return fmt::format("{} is new, at {}", name, where);
  return {};
}

// Empty: the same for everybody who holds a value of it. An enumeration may get and lose names, as
// long as none changes its value.
std::string compare(const Layout& before, const Layout& after) {
  if (before.size != after.size)
    return fmt::format("{} from {} to {} bytes", before.size < after.size ? "grows" : "shrinks",
                       before.size, after.size);
  return compare_lines(before.lines, after.lines, before.is_enumeration);
}

}  // namespace

Result<std::vector<LayoutChange>> layout_changes(const elf::Image& original,
                                                 const elf::Image& patched) {
  TRY(Layouts before, read_layouts(original));
  TRY(Layouts after, read_layouts(patched));
  std::vector<LayoutChange> changes;
  for (const auto& [type, known] : before) {
    auto found = after.find(type);
    if (found == after.end() || found->second == known) continue;
    std::string what = "several types of this name change";
    if (known.size() == 1 && found->second.size() == 1) what = compare(known[0], found->second[0]);
    if (!what.empty()) changes.push_back({type, what});
  }
  return changes;
}

std::set<std::string> reviewed_layouts(const elf::Image& patched) {
  std::set<std::string> names;
  const elf::Section* section = patched.section(reviewed_section);
  if (section == nullptr) return names;
  std::string_view text = section->bytes.as_text();
  while (!text.empty()) {
    size_t end = std::min(text.find('\0'), text.size());
    if (end > 0) names.emplace(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return names;
}

}  // namespace livecare::builder
