// Digests of files by the names that update metadata gives them: sha256, sha384, sha512. A file
// that is described by others as well is checked by those that we know; by others only, by none, so
// it is refused.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

struct evp_md_ctx_st;

namespace livecare::trust::tuf {

using Digests = std::map<std::string, std::string>;  // name of the algorithm -> digest in hex

// Of a file that comes piece by piece. Not thread-safe.
class DigestCheck {
 public:
  // Refuses (unsupported) when no algorithm of `wanted` is known.
  static Result<DigestCheck> make(const Digests& wanted, std::string_view object);

  void update(ByteView piece);
  // Once, after the last piece; untrusted when one that we know does not agree.
  Status finish();

 private:
  struct One {
    std::string name;
    Bytes wanted;
    std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st*)> context;
  };
  std::string object_;
  std::vector<One> checks_;
};

// A digest of `wanted` that we know, sha256 before others; empty when there is none.
std::string known_digest(const Digests& wanted);

Status check_digests(ByteView bytes, const Digests& wanted, std::string_view object);

}  // namespace livecare::trust::tuf
