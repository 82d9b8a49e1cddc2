// Content equality over a graph with cycles.
//
// Whether a table is unchanged may depend on a table that points back at it. We want the greatest
// set of pairs that agree with each other: assume that a pair is the same while its references are
// looked at, and when anything is found different, remember that for good and start again without
// any assumption. Every round adds at least one different pair, and in practice there are one or
// two rounds, because read-only cycles are rare.
//
// Functions and writable variables end the descent: they have an identity of their own, so a
// reference to one is the same if it is to the paired one. A changed function is still the same
// function: its old entry will lead to the new code.
#include "objdiff/compare.h"

#include <elf.h>

#include <algorithm>

#include "objdiff/kernel_tables.h"
#include "objdiff/names.h"

namespace livecare::objdiff {
namespace {

// Unnamed objects end where the next one is known to begin, so alignment may be counted in.
constexpr uint64_t padding_bytes_max = 64;

bool same_type(const Ref& a, const Ref& b) {
  if (a.type == b.type || a.type == 0 || b.type == 0) return true;
  auto plain = [](uint32_t type) { return type == R_X86_64_PC32 || type == R_X86_64_PLT32; };
  return plain(a.type) && plain(b.type);
}

void mask(Bytes& bytes, const Ref& ref, uint64_t begin) {
  for (unsigned i = 0; i < ref.width; i++) {
    uint64_t at = ref.offset + i;
    if (at < begin || at - begin >= bytes.size()) continue;
    uint8_t field = i < 4 ? static_cast<uint8_t>(ref.mask >> (8 * i)) : 0xff;
    bytes[at - begin] &= static_cast<uint8_t>(~field);
  }
}

Bytes masked_range(const ObjectMap& map, AtomId id, uint64_t begin, uint64_t end) {
  const Atom& atom = map.atom(id);
  auto part = map.bytes(atom).slice(begin, end - begin);
  Bytes bytes = part ? part->copy() : Bytes(end - begin, 0);
  for (const Ref& ref : atom.refs) mask(bytes, ref, begin);
  return bytes;
}

bool all_zero(const Bytes& bytes, size_t from) {
  return std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.end(),
                     [](uint8_t b) { return b == 0; });
}

bool is_feature_test(const ObjectMap& map, const Atom& atom) {
  return atom.kind == AtomKind::code && map.section_of(atom).name == feature_test_section;
}

}  // namespace

Bytes masked_bytes(const ObjectMap& map, AtomId id) {
  if (map.atom(id).zero) return {};
  return masked_range(map, id, 0, map.atom(id).size);
}

bool same_ref_places(const Atom& original, const Atom& patched) {
  if (original.refs.size() != patched.refs.size()) return false;
  for (size_t i = 0; i < original.refs.size(); i++) {
    const Ref &a = original.refs[i], &b = patched.refs[i];
    if (a.offset != b.offset || a.width != b.width || !same_type(a, b)) return false;
  }
  return true;
}

void Comparer::forget() {
  different_.clear();
  assumed_same_.clear();
}

bool Comparer::same_shape(AtomId original, AtomId patched) {
  const Atom &a = original_.atom(original), &b = patched_.atom(patched);
  if (a.size != b.size || a.zero != b.zero || !same_ref_places(a, b)) return false;
  if (a.zero || masked_bytes(original_, original) == masked_bytes(patched_, patched)) return true;
  return a.is_code() &&
         only_line_numbers_differ(original_, original, patched_, patched, line_shifts_);
}

std::optional<std::string> Comparer::code_difference(AtomId original, AtomId patched) {
  const Atom &a = original_.atom(original), &b = patched_.atom(patched);
  if (!same_shape(original, patched)) return "code";
  for (size_t i = 0; i < a.refs.size(); i++)
    if (!same_target(a.refs[i], b.refs[i])) return describe(a.refs[i], b.refs[i]);
  if (!same_exception_tables(a, b)) return "exception table";
  return std::nullopt;
}

bool Comparer::same_exception_tables(const Atom& original, const Atom& patched) {
  if ((original.lsda == no_atom) != (patched.lsda == no_atom)) return false;
  if (original.lsda == no_atom) return true;
  if (original.personality != patched.personality) return false;
  const Atom &a = original_.atom(original.lsda), &b = patched_.atom(patched.lsda);
  return same_pieces({original.lsda, original.lsda_at, a.size},
                     {patched.lsda, patched.lsda_at, b.size}, true);
}

bool Comparer::same_target(const Ref& original, const Ref& patched) {
  if (original.target != patched.target) return false;
  switch (original.target) {
    case Ref::Target::nothing:
      return true;
    case Ref::Target::external:
      return original.at == patched.at &&
             original_.symbol(original.symbol).name == patched_.symbol(patched.symbol).name;
    case Ref::Target::absolute:
      return original.at == patched.at &&
             original_.symbol(original.symbol).name == patched_.symbol(patched.symbol).name &&
             original_.symbol(original.symbol).value == patched_.symbol(patched.symbol).value;
    case Ref::Target::atom:
      return same_atom_target(original, patched);
  }
  return false;
}

bool Comparer::same_atom_target(const Ref& original, const Ref& patched) {
  if (original.atom == no_atom || patched.atom == no_atom) return original.atom == patched.atom;
  const Atom &a = original_.atom(original.atom), &b = patched_.atom(patched.atom);
  bool paired = pairing_.original_of[patched.atom] == original.atom;
  // A part of the function that refers to it, wherever it lies.
  if (is_feature_test(original_, a) && is_feature_test(patched_, b))
    return original.at == patched.at && !code_difference(original.atom, patched.atom);
  if (a.is_code() || b.is_code()) return paired && original.at == patched.at;
  std::string_view home_a = original_.section_of(a).name, home_b = patched_.section_of(b).name;
  // Where they lie and what they were paired with says nothing about these.
  if (knows_kernel_ && kernel_table(home_a) && kernel_table(home_b))
    return same_entry(original, patched);
  if (knows_kernel_ && (is_sanitizer_record(home_a) || is_sanitizer_record(home_b)))
    return same_record(original, patched);
  if (a.writable || b.writable || a.thread_local_ || b.thread_local_)
    return paired && original.at == patched.at;
  return same_read_only(original, patched);
}

Status Comparer::read_owners(const ObjectMap& map, EntryOwners& owners) {
  TRY(std::vector<KernelEntry> entries, read_kernel_entries(map.image()));
  for (const KernelEntry& entry : entries)
    owners[{entry.section, entry.offset}] =
        map.find(entry.owner_section, static_cast<int64_t>(entry.owner_offset));
  return ok_status();
}

Status Comparer::know_kernel_tables() {
  knows_kernel_ = true;
  TRY_STATUS(read_owners(original_, original_owners_));
  return read_owners(patched_, patched_owners_);
}

bool Comparer::same_entry(const Ref& original, const Ref& patched) const {
  auto owner_of = [](const ObjectMap& map, const EntryOwners& owners, const Ref& ref) {
    const Atom& atom = map.atom(ref.atom);
    auto found = owners.find({atom.section, atom.offset + static_cast<uint64_t>(ref.at)});
    return found == owners.end() ? Place{} : found->second;
  };
  Place before = owner_of(original_, original_owners_, original);
  Place after = owner_of(patched_, patched_owners_, patched);
  return before.atom != no_atom && after.atom != no_atom && before.at == after.at &&
         pairing_.original_of[after.atom] == before.atom;
}

bool Comparer::same_record(const Ref& original, const Ref& patched) {
  const Atom &a = original_.atom(original.atom), &b = patched_.atom(patched.atom);
  std::string_view kind_a = original_.section_of(a).name, kind_b = patched_.section_of(b).name;
  if (!is_sanitizer_record(kind_a) || !is_sanitizer_record(kind_b)) return false;
  if (original.at != 0 || patched.at != 0 || a.offset != 0 || b.offset != 0) return false;
  SourcePlace place = source_place_of(kind_a), other = source_place_of(kind_b);
  if (place.size != other.size || a.zero || b.zero || a.size != b.size) return false;
  Bytes bytes_a = masked_bytes(original_, original.atom);
  Bytes bytes_b = masked_bytes(patched_, patched.atom);
  for (uint64_t i = place.offset; i < place.offset + place.size && i < a.size; i++)
    bytes_a[i] = bytes_b[i] = 0;
  if (bytes_a != bytes_b || !same_ref_places(a, b)) return false;
  // A record refers to strings and to what says a type: no cycles.
  for (size_t i = 0; i < a.refs.size(); i++)
    if (!same_target(a.refs[i], b.refs[i])) return false;
  return true;
}

bool Comparer::same_read_only(const Ref& original, const Ref& patched) {
  const Atom &a = original_.atom(original.atom), &b = patched_.atom(patched.atom);
  if (a.named() && b.named()) {
    bool paired = pairing_.original_of[patched.atom] == original.atom;
    bool local =
        original_.symbol(a.symbol).bind == STB_LOCAL && patched_.symbol(b.symbol).bind == STB_LOCAL;
    if (!paired && !local) return false;
    return original.at == patched.at && same_data(original.atom, patched.atom);
  }
  if (a.kind == AtomKind::string && b.kind == AtomKind::string)
    return same_strings(original, patched);
  if (original.access_size != 0 && original.access_size == patched.access_size) {
    auto begin_a = static_cast<uint64_t>(original.at), begin_b = static_cast<uint64_t>(patched.at);
    bool inside = original.at >= 0 && patched.at >= 0 && begin_a + original.access_size <= a.size &&
                  begin_b + patched.access_size <= b.size;
    if (inside)
      return same_pieces({original.atom, begin_a, begin_a + original.access_size},
                         {patched.atom, begin_b, begin_b + patched.access_size}, false);
  }
  if (original.at == patched.at) return same_data(original.atom, patched.atom);
  // Other places in their pieces, since more or fewer of them have references. What follows has to
  // be the same to the last byte, and be there at all: one past the end says nothing.
  if (original.at < 0 || patched.at < 0) return false;
  if (original.at >= static_cast<int64_t>(a.size) || patched.at >= static_cast<int64_t>(b.size))
    return false;
  return a.refs.empty() && b.refs.empty() &&
         same_pieces({original.atom, static_cast<uint64_t>(original.at), a.size},
                     {patched.atom, static_cast<uint64_t>(patched.at), b.size}, false);
}

// From the target to the end of the literal. A target on the very end of a literal may mean one
// past it or the one before the next: then the neighbours have to agree as well.
bool Comparer::same_strings(const Ref& original, const Ref& patched) const {
  auto text = [](const ObjectMap& map, const Ref& ref) {
    const Atom& atom = map.atom(ref.atom);
    ByteView section = map.section_of(atom).bytes;
    int64_t begin = static_cast<int64_t>(atom.offset) + ref.at;
    uint64_t end = atom.end();
    bool on_terminator = ref.at < 0 || ref.at + 1 >= static_cast<int64_t>(atom.size);
    if (on_terminator && atom.size > 1) {
      begin = static_cast<int64_t>(atom.offset);
      Place next = map.find(atom.section, static_cast<int64_t>(atom.end()));
      if (next.atom != no_atom) end = std::max(end, map.atom(next.atom).end());
    }
    auto part = section.slice(static_cast<uint64_t>(begin), end - static_cast<uint64_t>(begin));
    return part ? std::optional(*part) : std::nullopt;
  };
  auto a = text(original_, original), b = text(patched_, patched);
  return a && b && *a == *b &&
         original_.section_of(original_.atom(original.atom)).entry_size ==
             patched_.section_of(patched_.atom(patched.atom)).entry_size;
}

bool Comparer::same_data(AtomId original, AtomId patched) {
  if (settling_) return same_data_once(original, patched);
  return settle(original, patched);
}

bool Comparer::settle(AtomId original, AtomId patched) {
  settling_ = true;
  bool same = false;
  size_t known = 0;
  do {
    known = different_.size();
    if (known != 0 && different_.contains({original, patched})) break;
    same = same_data_once(original, patched);
    if (different_.size() != known) assumed_same_.clear();
  } while (different_.size() != known);
  settling_ = false;
  return same;
}

bool Comparer::same_data_once(AtomId original, AtomId patched) {
  Key key{original, patched};
  if (different_.contains(key)) return false;
  if (!assumed_same_.insert(key).second) return true;
  const Atom &a = original_.atom(original), &b = patched_.atom(patched);
  bool unnamed = !a.named() || !b.named();
  bool same = same_pieces({original, 0, a.size}, {patched, 0, b.size}, unnamed);
  if (!same) different_.insert(key);
  return same;
}

bool Comparer::same_pieces(Piece original, Piece patched, bool tolerate_padding) {
  const Atom &a = original_.atom(original.atom), &b = patched_.atom(patched.atom);
  uint64_t size_a = original.end - original.begin, size_b = patched.end - patched.begin;
  uint64_t longer = std::max(size_a, size_b), common = std::min(size_a, size_b);
  if (size_a != size_b && (!tolerate_padding || longer - common >= padding_bytes_max)) return false;
  if (a.zero || b.zero) return size_a == size_b && is_all_zero(a, b);
  Bytes bytes_a = masked_range(original_, original.atom, original.begin, original.end);
  Bytes bytes_b = masked_range(patched_, patched.atom, patched.begin, patched.end);
  if (!std::equal(bytes_a.begin(), bytes_a.begin() + static_cast<std::ptrdiff_t>(common),
                  bytes_b.begin()))
    return false;
  if (!all_zero(bytes_a, common) || !all_zero(bytes_b, common)) return false;
  auto inside = [](const Atom& atom, const Piece& piece) {
    std::vector<const Ref*> refs;
    for (const Ref& ref : atom.refs)
      if (ref.offset + ref.width > piece.begin && ref.offset < piece.end) refs.push_back(&ref);
    return refs;
  };
  auto refs_a = inside(a, original), refs_b = inside(b, patched);
  if (refs_a.size() != refs_b.size()) return false;
  for (size_t i = 0; i < refs_a.size(); i++) {
    if (refs_a[i]->offset - original.begin != refs_b[i]->offset - patched.begin) return false;
    if (!same_type(*refs_a[i], *refs_b[i])) return false;
    if (!same_target(*refs_a[i], *refs_b[i])) return false;
  }
  return true;
}

// At least one of the two takes no bytes in its file.
bool Comparer::is_all_zero(const Atom& original, const Atom& patched) const {
  if (!original.refs.empty() || !patched.refs.empty()) return false;
  auto zero = [](const ObjectMap& map, const Atom& atom) {
    ByteView bytes = map.bytes(atom);
    return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
  };
  return zero(original_, original) && zero(patched_, patched);
}

std::string Comparer::describe(const Ref& original, const Ref& patched) const {
  auto name = [](const ObjectMap& map, const Ref& ref) -> std::string {
    if (ref.target == Ref::Target::external || ref.target == Ref::Target::absolute)
      return std::string(map.symbol(ref.symbol).name);
    if (ref.target != Ref::Target::atom || ref.atom == no_atom) return "nothing";
    const Atom& atom = map.atom(ref.atom);
    if (atom.named()) return std::string(atom.name);
    if (atom.kind == AtomKind::string) return "a string literal";
    return fmt::format("a constant in {}", map.section_of(atom).name);
  };
  std::string before = name(original_, original), after = name(patched_, patched);
  if (before == after) {
    if (original.at != patched.at) return fmt::format("refers to another place in {}", after);
    return fmt::format("refers to changed {}", after);
  }
  return fmt::format("refers to {} instead of {}", after, before);
}

}  // namespace livecare::objdiff
