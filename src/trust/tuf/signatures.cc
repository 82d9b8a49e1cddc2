#include "trust/tuf/signatures.h"

#include <algorithm>
#include <set>

namespace livecare::trust::tuf {

Status verify_role(const Envelope& envelope, const std::string& role_name, const RoleKeys& role,
                   const KeyMap& keys) {
  std::set<std::string> signers;
  const ByteView message{std::string_view(envelope.signed_bytes)};
  for (const Signature& signature : envelope.signatures) {
    bool is_of_role =
        std::find(role.key_ids.begin(), role.key_ids.end(), signature.key_id) != role.key_ids.end();
    auto key = keys.find(signature.key_id);
    if (!is_of_role || key == keys.end() || !key->second.is_usable()) continue;
    if (signers.count(key->second.identity()) != 0) continue;
    if (key->second.verify(message, signature.bytes)) signers.insert(key->second.identity());
    if (signers.size() >= role.threshold) return ok_status();
  }
  return make_error(ErrorCode::untrusted, envelope.object,
                    "is signed by {} of the {} keys of the role {} that must sign; it is not used",
                    signers.size(), role.threshold, role_name);
}

}  // namespace livecare::trust::tuf
