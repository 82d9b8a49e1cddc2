// Whether enough of a role's keys signed an envelope. Pure; safe in any thread.
#pragma once

#include "trust/tuf/metadata.h"

namespace livecare::trust::tuf {

// untrusted unless role.threshold different keys of the role signed. A key counts once, however
// many key IDs it goes under; signatures by others, and wrong ones, neither help nor harm.
Status verify_role(const Envelope& envelope, const std::string& role_name, const RoleKeys& role,
                   const KeyMap& keys);

}  // namespace livecare::trust::tuf
