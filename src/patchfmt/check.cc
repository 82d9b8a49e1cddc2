// The checks of one object run in an order that lets each rely on those before it: sizes of the
// image first, then the parts, then what points into the parts, then what points into tables.
#include "patchfmt/check.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace livecare::patchfmt {

namespace {

template <class... Args>
Error invalid(std::string_view name, fmt::format_string<Args...> format, Args&&... args) {
  return make_error(ErrorCode::invalid_input, name, "{}; the file was made wrongly: build it again",
                    fmt::format(format, std::forward<Args>(args)...));
}

bool inside(uint64_t offset, uint64_t size, uint64_t begin, uint64_t length) {
  return offset >= begin && offset - begin <= length && size <= length - (offset - begin);
}

bool inside(uint64_t offset, uint64_t size, const Part& part) {
  return inside(offset, size, part.offset, part.size);
}

bool is_build_id(std::string_view text) {
  return !text.empty() && text.size() % 2 == 0 && text.size() <= build_id_digits_max &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// A patchset's name becomes a file name on servers and hosts.
bool is_patchset_name(std::string_view text) {
  return !text.empty() && text.size() <= patchset_name_bytes_max && text[0] != '.' &&
         text[0] != '-' &&
         text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+~-") ==
             std::string_view::npos;
}

uint64_t width(RelocationKind kind) {
  switch (kind) {
    case RelocationKind::absolute64:
    case RelocationKind::tls_module64:
    case RelocationKind::tls_offset64:
    case RelocationKind::tp_offset64:
    case RelocationKind::pc64:
      return 8;
    case RelocationKind::pc32:
    case RelocationKind::absolute32:
    case RelocationKind::absolute32s:
    case RelocationKind::tls_offset32:
    case RelocationKind::tp_offset32:
      return 4;
  }
  return 8;
}

class ObjectCheck {
 public:
  ObjectCheck(const Object& object, std::string_view file)
      : object_(object), name_(fmt::format("{}, object {}", file, object.soname)) {}

  Status run() const {
    TRY_STATUS(image());
    TRY_STATUS(eh_frame());
    TRY_STATUS(new_tls());
    TRY_STATUS(functions());
    TRY_STATUS(entries_apart());
    TRY_STATUS(symbols());
    TRY_STATUS(relocations());
    return places();
  }

 private:
  Status image() const {
    if (!is_build_id(object_.build_id)) return invalid(name_, "build-ID is not lowercase hex");
    if (object_.image_size == 0 || object_.image_size > image_bytes_max ||
        object_.image_size % page_bytes != 0)
      return invalid(name_, "image size {} is not a multiple of {} up to {}", object_.image_size,
                     page_bytes, image_bytes_max);
    std::vector<std::pair<uint64_t, uint64_t>> pages;
    for (const Part* part : {&object_.text, &object_.rodata, &object_.data}) {
      if (part->offset % page_bytes != 0 ||
          !inside(part->offset, part->size, 0, object_.image_size))
        return invalid(name_, "part at {:#x} of {} bytes is not inside the image", part->offset,
                       part->size);
      if (part->bytes.size() > part->size)
        return invalid(name_, "part at {:#x} has more bytes than its size", part->offset);
      if (part->size != 0) pages.emplace_back(part->offset, part->offset + part->size);
    }
    std::sort(pages.begin(), pages.end());
    for (size_t i = 1; i < pages.size(); ++i)
      if (pages[i - 1].second > pages[i].first) return invalid(name_, "parts overlap");
    return ok_status();
  }

  // The unwinder inside the target walks the records by their lengths until a zero: prove here that
  // the walk stays inside and ends.
  Status eh_frame() const {
    if (object_.eh_frame_size == 0) return ok_status();
    const Part& rodata = object_.rodata;
    if (!inside(object_.eh_frame_offset, object_.eh_frame_size, rodata))
      return invalid(name_, "unwind table is not inside the read-only part");
    uint64_t at = object_.eh_frame_offset - rodata.offset;
    for (;;) {
      if (rodata.size - at < 4) return invalid(name_, "unwind table has no end mark");
      // What lies past bytes is zero in memory; a word that straddles the border is odd enough.
      auto length = at >= rodata.bytes.size() ? std::optional<uint32_t>(0)
                                              : ByteView(rodata.bytes).read<uint32_t>(at);
      if (!length) return invalid(name_, "unwind table is cut off");
      if (*length == 0) return ok_status();
      if (*length > rodata.size - at - 4)
        return invalid(name_, "unwind record runs out of the part");
      at += uint64_t{4} + *length;
    }
  }

  Status new_tls() const {
    uint64_t align = object_.new_tls_align;
    if (object_.new_tls_size > new_tls_bytes_max ||
        object_.new_tls_bytes.size() > object_.new_tls_size)
      return invalid(name_, "new thread-local block of {} bytes is over the limit of {}",
                     object_.new_tls_size, new_tls_bytes_max);
    if (align == 0 || align > new_tls_align_max || (align & (align - 1)) != 0)
      return invalid(name_, "alignment {} of the new thread-local block is not a power of two",
                     align);
    return ok_status();
  }

  Status functions() const {
    for (const FunctionPatch& function : object_.functions) {
      if (function.size == 0 || function.size > target_address_max ||
          function.address > target_address_max)
        return invalid(name_, "{}: address or size cannot be right", function.name);
      if (function.entry_bytes.size() != std::min<uint64_t>(function.size, 64))
        return invalid(name_, "{}: has {} entry bytes, not the first {}", function.name,
                       function.entry_bytes.size(), std::min<uint64_t>(function.size, 64));
      if (function.new_size == 0 || !inside(function.new_offset, function.new_size, object_.text))
        return invalid(name_, "{}: new code is not inside the text part", function.name);
      bool entry_covered = false;
      for (const Range& range : function.ranges) {
        if (range.size == 0 || range.size > target_address_max ||
            range.address > target_address_max)
          return invalid(name_, "{}: a code range cannot be right", function.name);
        entry_covered |= inside(function.address, function.size, range.address, range.size);
      }
      if (!entry_covered)
        return invalid(name_, "{}: no code range covers its entry", function.name);
    }
    return ok_status();
  }

  Status entries_apart() const {
    std::vector<const FunctionPatch*> order;
    for (const FunctionPatch& function : object_.functions) order.push_back(&function);
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->address < b->address; });
    for (size_t i = 1; i < order.size(); ++i)
      if (order[i - 1]->address + order[i - 1]->size > order[i]->address)
        return invalid(name_, "{} and {} overlap", order[i - 1]->name, order[i]->name);
    return ok_status();
  }

  Status symbols() const {
    for (const Symbol& symbol : object_.symbols) {
      if (symbol.name.empty()) return invalid(name_, "a symbol has no name");
      switch (symbol.kind) {
        case SymbolKind::image:
          if (symbol.value > object_.image_size)
            return invalid(name_, "{}: lies outside the image", symbol.name);
          break;
        case SymbolKind::new_tls:
          if (!inside(symbol.value, symbol.size, 0, object_.new_tls_size))
            return invalid(name_, "{}: lies outside the new thread-local block", symbol.name);
          break;
        case SymbolKind::target:
        case SymbolKind::target_ifunc:
        case SymbolKind::target_tls:
        case SymbolKind::target_got:
          if (symbol.value > target_address_max)
            return invalid(name_, "{}: address cannot be right", symbol.name);
          break;
        case SymbolKind::import:
          break;
      }
    }
    return ok_status();
  }

  Status relocations() const {
    std::vector<std::pair<uint64_t, uint64_t>> fields;
    fields.reserve(object_.relocations.size());
    for (const Relocation& relocation : object_.relocations) {
      uint64_t size = width(relocation.kind);
      if (relocation.symbol >= object_.symbols.size())
        return invalid(name_, "relocation at {:#x} names symbol {} of {}", relocation.offset,
                       relocation.symbol, object_.symbols.size());
      const bool in_new_tls =
          relocation.kind == RelocationKind::absolute64 &&
          inside(relocation.offset, size, object_.image_size, object_.new_tls_size);
      if (!inside(relocation.offset, size, object_.text) &&
          !inside(relocation.offset, size, object_.rodata) &&
          !inside(relocation.offset, size, object_.data) && !in_new_tls)
        return invalid(name_, "relocation at {:#x} is not inside a part", relocation.offset);
      fields.emplace_back(relocation.offset, relocation.offset + size);
    }
    std::sort(fields.begin(), fields.end());
    for (size_t i = 1; i < fields.size(); ++i)
      if (fields[i - 1].second > fields[i].first)
        return invalid(name_, "relocations at {:#x} and {:#x} overlap", fields[i - 1].first,
                       fields[i].first);
    return ok_status();
  }

  Status places() const {
    for (const Hook& hook : object_.hooks)
      if (!inside(hook.offset, 1, object_.text))
        return invalid(name_, "hook {} is not inside the text part", hook.name);
    for (const KeptData& kept : object_.kept_data)
      if (kept.size == 0 || !inside(kept.offset, kept.size, object_.data))
        return invalid(name_, "kept variable {} is not inside the data part", kept.name);
    for (const ImageSymbol& symbol : object_.image_symbols)
      if (!inside(symbol.offset, symbol.size, 0, object_.image_size))
        return invalid(name_, "image symbol {} is not inside the image", symbol.name);
    return ok_status();
  }

  const Object& object_;
  std::string name_;
};

bool is_module_name(std::string_view text) {
  return !text.empty() && text.size() <= module_name_bytes_max &&
         text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
             std::string_view::npos;
}

Status check_module(const KernelModule& module, std::string_view name) {
  if (module.kernel_id.size() != kernel_id_digits || !is_build_id(module.kernel_id))
    return invalid(name, "kernel ID is not a SHA-1 in lowercase hex");
  if (!is_module_name(module.module))
    return invalid(name, "module name is empty, too long or not letters, digits and _");
  if (module.release.empty() || module.effective.empty())
    return invalid(name, "module {} does not say for which kernel it is", module.module);
  if (module.type != "default" && module.type != "free" && module.type != "extra")
    return invalid(name, "module {} is of type '{}', not default, free or extra", module.module,
                   module.type);
  constexpr std::array<uint8_t, 4> elf_magic = {0x7f, 'E', 'L', 'F'};
  if (module.file.size() < elf_magic.size() ||
      !std::equal(elf_magic.begin(), elf_magic.end(), module.file.begin()))
    return invalid(name, "module {} is not an ELF file", module.module);
  return ok_status();
}

Status check_modules(const Patchset& patchset, std::string_view name) {
  if (!patchset.objects.empty())
    return invalid(name, "patchset of the kernel has objects of user space");
  if (patchset.modules.empty()) return invalid(name, "patchset has no module");
  std::set<std::pair<std::string_view, std::string_view>> kernels;
  for (const KernelModule& module : patchset.modules) {
    TRY_STATUS(check_module(module, name));
    if (!kernels.emplace(module.kernel_id, module.type).second)
      return invalid(name, "kernel ID {} occurs twice", module.kernel_id);
  }
  return ok_status();
}

}  // namespace

Status check(const Patchset& patchset, std::string_view name) {
  if (!is_patchset_name(patchset.name))
    return invalid(name, "patchset name is empty, too long or unsafe as a file name");
  if (patchset.level == 0) return invalid(name, "level 0 stands for the unpatched state");
  if (patchset.product == kernel_product) return check_modules(patchset, name);
  if (!patchset.modules.empty())
    return invalid(name, "patchset of user space has modules of the kernel");
  if (patchset.objects.empty()) return invalid(name, "patchset has no object");
  if (patchset.objects.size() > objects_max)
    return invalid(name, "patchset has {} objects, over the limit of {}", patchset.objects.size(),
                   objects_max);
  std::set<std::string_view> build_ids;
  for (const Object& object : patchset.objects) {
    TRY_STATUS(ObjectCheck(object, name).run());
    if (!build_ids.insert(object.build_id).second)
      return invalid(name, "build-ID {} occurs twice", object.build_id);
  }
  return ok_status();
}

}  // namespace livecare::patchfmt
