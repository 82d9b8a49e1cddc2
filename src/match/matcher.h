// Finds the code and data of a rebuilt object in the shipped binary and proves each place.
//
// Two proofs: (1) the rebuilt, unstripped binary has the same loadable bytes as the shipped one
// (build-ID or section equality; .text, .rodata, .eh_frame, .data, .data.rel.ro, .dynsym, .dynstr):
// its symbol table is then the shipped file's; (2) a unique match of the function's bytes with
// relocations masked, whose relocations give every symbol one consistent address across all
// functions of the object. Anything else is a refusal.
//
// A Matcher borrows the images; it is immutable after create() and thread-safe.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "elf/image.h"

namespace livecare::match {

enum class Proof { rebuilt_identical, unique_match };
std::string_view to_string(Proof proof);

struct Placement {
  enum class Kind {
    plain,
    ifunc,  // address: of the resolver
    tls,    // address: offset in the file's TLS block
  };
  Kind kind = Kind::plain;
  // False for what has no bytes to compare in this object: a symbol defined by another object, or
  // an inline function of which the linker kept another object's copy. Such a place is good to
  // refer to, never to replace.
  bool content_proved = true;
  uint64_t address = 0;  // virtual address in the shipped file (its link-time address)
  uint64_t size = 0;     // of the function or variable in the shipped file
  Proof proof = Proof::rebuilt_identical;
  std::string detail;  // "build-ID ab12.. and 7 sections equal", "1 of 1 matches, 14 relocations"
};

struct Import {
  std::string name;
  std::string version;  // as the shipped file asks for it; empty without one
};

class Matcher {
 public:
  // rebuilt may be null (no rebuilt binary at all). progress lines go to the log.
  static Result<Matcher> create(const elf::Image& shipped, const elf::Image* rebuilt);
  Matcher(Matcher&&) noexcept;
  ~Matcher();

  // True when the first proof holds; why() says which sections differ otherwise.
  bool rebuilt_is_identical() const;
  const std::string& why() const;

  // Object-wide matching: `object` is the original object (compiled before the fix, with function
  // and data sections). Gives the place of every symbol of it that could be proved; a missing key
  // means not proved, and refusals() says why, by symbol.
  struct ObjectMap {
    std::map<uint32_t, Placement> placements;  // key: symbol index in object
    std::map<uint32_t, std::string> refusals;  // key: symbol index; the reason
    // Symbols that the shipped code reaches by name, through a GOT word or PLT stub (even those
    // that the file defines itself: they can be interposed). May have a placement as well.
    std::map<uint32_t, Import> imports;
    // Functions and data of the object that the shipped file does not have at all: inlined
    // everywhere, or dropped by the linker. Known with the first proof only; refusals holds them
    // too.
    std::set<uint32_t> absent;
  };
  Result<ObjectMap> match_object(const elf::Image& object, std::string_view source_file) const;

  // A non-static symbol of the target by its name: for references that the original object did not
  // have. Needs the first proof; only the one symbol of that name will do.
  Result<Placement> find_symbol(std::string_view name) const;

 private:
  struct State;
  explicit Matcher(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace livecare::match
