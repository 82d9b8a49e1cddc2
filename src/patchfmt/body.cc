// One list of fields serves reader and writer, so the two cannot drift apart: fields(archive, x)
// names the members of x in file order, and the archive either appends or extracts each of them.
// Rejected: a self-describing encoding (JSON, CBOR, protobuf). It buys forward compatibility that
// the version number gives anyway - an agent must not apply a patch of which it understands half -
// and costs a second parser in front of the checks that matter.
//
// The reader grows its vectors record by record and stops at the first byte that is missing, so a
// count that lies costs no memory. A Reader that has failed gives zeroes and stays failed.
#include "patchfmt/body.h"

#include <concepts>
#include <type_traits>

#include "base/byte_cursor.h"

namespace livecare::patchfmt {

namespace {

constexpr uint32_t fixes_max = 10'000;
constexpr uint32_t cves_max = 10'000;
constexpr uint32_t ranges_max = 10'000;
constexpr uint32_t hooks_max = 1'000;
constexpr uint32_t kept_data_max = 100'000;
constexpr uint64_t entry_bytes_max = 64;

class Writer {
 public:
  template <class T>
  using Ref = const T&;

  template <std::integral T>
  void number(const T& value) {
    append_le(out_, value);
  }
  template <class T>
  requires std::is_enum_v<T>
  void enumeration(const T& value, T, T) { append_le(out_, static_cast<uint8_t>(value)); }
  void flag(const bool& value) { append_le(out_, static_cast<uint8_t>(value)); }
  void text(const std::string& value) {
    append_le(out_, static_cast<uint32_t>(value.size()));
    out_.insert(out_.end(), value.begin(), value.end());
  }
  void bytes(const Bytes& value, uint64_t) {
    append_le(out_, static_cast<uint64_t>(value.size()));
    out_.insert(out_.end(), value.begin(), value.end());
  }
  template <class T, class Each>
  void list(const std::vector<T>& values, uint32_t, std::string_view, Each each) {
    append_le(out_, static_cast<uint32_t>(values.size()));
    for (const T& value : values) each(value);
  }
  Bytes take() { return std::move(out_); }

 private:
  Bytes out_;
};

class Reader {
 public:
  template <class T>
  using Ref = T&;

  explicit Reader(ByteView body) : cursor_(body) {}

  template <std::integral T>
  void number(T& value) {
    value = cursor_.number<T>();
    if (!cursor_.ok()) fail("ends in the middle of a record");
  }
  template <class T>
  requires std::is_enum_v<T>
  void enumeration(T& value, T first, T last) {
    uint8_t raw = 0;
    number(raw);
    if (failed()) return;
    if (raw < static_cast<uint8_t>(first) || raw > static_cast<uint8_t>(last))
      return fail("holds a kind that this version does not know");
    value = static_cast<T>(raw);
  }
  void flag(bool& value) {
    uint8_t raw = 0;
    number(raw);
    if (raw > 1) return fail("holds a flag that is neither 0 nor 1");
    value = raw == 1;
  }
  void text(std::string& value) {
    uint32_t size = 0;
    number(size);
    if (size > string_bytes_max) return fail("holds a string over the limit of 65536 bytes");
    std::string_view part = cursor_.bytes(size).as_text();
    if (!cursor_.ok()) return fail("ends in the middle of a string");
    if (part.find('\0') != std::string_view::npos) return fail("holds a string with a NUL in it");
    value = part;
  }
  void bytes(Bytes& value, uint64_t bytes_max) {
    uint64_t size = 0;
    number(size);
    if (size > bytes_max) return fail("holds a byte string that is too long");
    ByteView part = cursor_.bytes(size);
    if (!cursor_.ok()) return fail("holds a byte string that is cut off");
    value = part.copy();
  }
  template <class T, class Each>
  void list(std::vector<T>& values, uint32_t count_max, std::string_view what, Each each) {
    uint32_t count = 0;
    number(count);
    if (count > count_max)
      return fail(fmt::format("claims {} {}, over the limit of {}", count, what, count_max));
    for (uint32_t i = 0; i < count && !failed(); ++i) each(values.emplace_back());
  }

  bool failed() const { return !problem_.empty(); }
  const std::string& problem() const { return problem_; }
  bool at_end() const { return cursor_.at_end(); }
  uint64_t position() const { return cursor_.position(); }

 private:
  void fail(std::string_view problem) {
    if (problem_.empty()) problem_ = problem;
    cursor_.fail();
  }

  ByteCursor cursor_;
  std::string problem_;
};

template <class A>
void part_fields(A& a, typename A::template Ref<Part> part) {
  a.number(part.offset);
  a.number(part.size);
  a.bytes(part.bytes, image_bytes_max);
}

template <class A>
void function_fields(A& a, typename A::template Ref<FunctionPatch> function) {
  a.text(function.name);
  a.number(function.address);
  a.number(function.size);
  a.list(function.ranges, ranges_max, "code ranges", [&](auto& range) {
    a.number(range.address);
    a.number(range.size);
  });
  a.bytes(function.entry_bytes, entry_bytes_max);
  a.number(function.new_offset);
  a.number(function.new_size);
  a.text(function.proof);
}

template <class A>
void symbol_fields(A& a, typename A::template Ref<Symbol> symbol) {
  a.enumeration(symbol.kind, SymbolKind::image, SymbolKind::target_got);
  a.text(symbol.name);
  a.text(symbol.version);
  a.number(symbol.value);
  a.number(symbol.size);
  a.flag(symbol.weak);
  a.text(symbol.proof);
}

template <class A>
void relocation_fields(A& a, typename A::template Ref<Relocation> relocation) {
  a.enumeration(relocation.kind, RelocationKind::absolute64, RelocationKind::pc64);
  a.number(relocation.offset);
  a.number(relocation.symbol);
  a.number(relocation.addend);
}

template <class A>
void object_fields(A& a, typename A::template Ref<Object> object) {
  a.text(object.build_id);
  a.text(object.soname);
  a.text(object.package);
  a.enumeration(object.cpu, Cpu::x86_64, Cpu::aarch64);
  a.number(object.image_size);
  part_fields(a, object.text);
  part_fields(a, object.rodata);
  part_fields(a, object.data);
  a.number(object.eh_frame_offset);
  a.number(object.eh_frame_size);
  a.number(object.new_tls_size);
  a.number(object.new_tls_align);
  a.bytes(object.new_tls_bytes, image_bytes_max);
  a.list(object.functions, functions_max, "functions", [&](auto& x) { function_fields(a, x); });
  a.list(object.symbols, symbols_max, "symbols", [&](auto& x) { symbol_fields(a, x); });
  a.list(object.relocations, relocations_max, "relocations",
         [&](auto& x) { relocation_fields(a, x); });
  a.list(object.hooks, hooks_max, "hooks", [&](auto& hook) {
    a.enumeration(hook.when, HookWhen::before_switch, HookWhen::after_undo);
    a.text(hook.name);
    a.number(hook.offset);
  });
  a.list(object.kept_data, kept_data_max, "kept variables", [&](auto& kept) {
    a.text(kept.name);
    a.number(kept.offset);
    a.number(kept.size);
  });
  a.list(object.image_symbols, symbols_max, "image symbols", [&](auto& symbol) {
    a.text(symbol.name);
    a.number(symbol.offset);
    a.number(symbol.size);
  });
}

template <class A>
void module_fields(A& a, typename A::template Ref<KernelModule> module) {
  a.text(module.kernel_id);
  a.text(module.release);
  a.text(module.effective);
  a.text(module.type);
  a.text(module.module);
  a.bytes(module.file, image_bytes_max);
}

template <class A>
void patchset_fields(A& a, typename A::template Ref<Patchset> patchset) {
  a.text(patchset.name);
  a.number(patchset.level);
  a.text(patchset.product);
  a.text(patchset.distribution);
  a.text(patchset.source_package);
  a.text(patchset.time);
  a.text(patchset.description);
  a.list(patchset.fixes, fixes_max, "fixes", [&](auto& fix) {
    a.text(fix.name);
    a.text(fix.description);
    a.text(fix.package);
    a.list(fix.cves, cves_max, "CVEs", [&](auto& cve) { a.text(cve); });
    a.text(fix.cvss);
    a.text(fix.cve_url);
    a.text(fix.patch_url);
  });
  a.list(patchset.objects, objects_max, "objects", [&](auto& x) { object_fields(a, x); });
  if (patchset.product == kernel_product)
    a.list(patchset.modules, modules_max, "modules", [&](auto& x) { module_fields(a, x); });
}

}  // namespace

Bytes write_body(const Patchset& patchset) {
  Writer writer;
  patchset_fields(writer, patchset);
  return writer.take();
}

Result<Patchset> read_body(ByteView body, std::string_view name) {
  Reader reader(body);
  Patchset patchset;
  patchset_fields(reader, patchset);
  if (reader.failed())
    return make_error(ErrorCode::invalid_input, name, "body {} (at byte {}); fetch the file again",
                      reader.problem(), reader.position());
  if (!reader.at_end())
    return make_error(ErrorCode::invalid_input, name,
                      "body has {} bytes after the last record; fetch the file again",
                      body.size() - reader.position());
  return patchset;
}

}  // namespace livecare::patchfmt
