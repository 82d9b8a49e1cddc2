#include "builder/key_commands.h"

#include <algorithm>

#include "base/file_system.h"
#include "patchfmt/codec.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

std::string id_text(const trust::KeyId& id) {
  return to_hex(ByteView(id.data(), id.size()));
}

}  // namespace

Status keygen_command(const fs::path& prefix, std::ostream& out) {
  fs::path private_path = prefix.native() + ".key";
  fs::path public_path = prefix.native() + ".pub";
  std::error_code failure;
  if (fs::exists(public_path, failure))
    return make_error(ErrorCode::conflict, public_path.native(),
                      "exists already and is not overwritten; choose another name");
  if (prefix.has_parent_path()) fs::create_directories(prefix.parent_path(), failure);
  TRY(trust::PrivateKey key, trust::generate_key());
  TRY_STATUS(trust::save_private_key(private_path, key));
  TRY_STATUS(trust::save_public_key(public_path, key.public_key()));
  out << fmt::format("private key  {}\npublic key   {}\nkey ID       {}\n", private_path.native(),
                     public_path.native(), id_text(key.public_key().id()));
  return ok_status();
}

Status sign_command(const fs::path& file, const trust::PrivateKey& key, std::ostream& out) {
  TRY(Bytes bytes, read_file(file, patchfmt::patch_file_bytes_max));
  // Nobody signs what is not a whole, valid patch.
  TRY(patchfmt::PatchFile patch, patchfmt::read(bytes, file.native()));
  trust::PublicKey public_key = key.public_key();
  TRY(ByteView covered, patchfmt::signed_bytes(bytes, file.native()));
  for (const patchfmt::Signature& signature : patch.signatures)
    if (signature.key_id == public_key.id() &&
        trust::verify(public_key, covered, signature.signature)) {
      out << fmt::format("{}: signed already by key {}\n", file.native(), id_text(public_key.id()));
      return ok_status();
    }
  TRY(auto value, trust::sign(key, covered));
  TRY(Bytes whole, patchfmt::add_signature(bytes, file.native(), {public_key.id(), value}));
  TRY_STATUS(write_file_atomic(file, whole));
  out << fmt::format("{}: signed by key {}\n", file.native(), id_text(public_key.id()));
  return ok_status();
}

Result<bool> verify_command(const fs::path& file, const std::vector<fs::path>& public_keys,
                            std::ostream& out) {
  std::vector<trust::PublicKey> keys;
  for (const fs::path& path : public_keys) {
    TRY(trust::PublicKey key, trust::load_public_key(path));
    keys.push_back(std::move(key));
  }
  TRY(Bytes bytes, read_file(file, patchfmt::patch_file_bytes_max));
  TRY(auto signatures, patchfmt::signatures(bytes, file.native()));
  TRY(ByteView covered, patchfmt::signed_bytes(bytes, file.native()));
  if (signatures.empty()) out << fmt::format("{}: not signed\n", file.native());
  bool good = false;
  for (const patchfmt::Signature& signature : signatures) {
    auto key = std::find_if(keys.begin(), keys.end(),
                            [&](const auto& known) { return known.id() == signature.key_id; });
    if (key == keys.end()) {
      out << fmt::format("{}: signature by unknown key {}\n", file.native(),
                         id_text(signature.key_id));
      continue;
    }
    bool matches = trust::verify(*key, covered, signature.signature);
    good = good || matches;
    out << fmt::format("{}: {} signature by {} ({})\n", file.native(), matches ? "good" : "BAD",
                       key->name, id_text(signature.key_id));
  }
  // A good signature over a file that no agent can read is of no use to anybody.
  if (good) {
    auto whole = patchfmt::read(bytes, file.native());
    if (!whole.ok()) return whole.take_error();
  }
  return good;
}

}  // namespace livecare::builder
