#include "builder/publish.h"

#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "base/file_system.h"
#include "base/log.h"
#include "patchfmt/codec.h"

namespace livecare::builder {

namespace fs = std::filesystem;

fs::path default_key() {
  if (const char* directory = std::getenv("XDG_CONFIG_HOME"); directory && *directory)
    return fs::path(directory) / "livecare" / "maker.key";
  const char* home = std::getenv("HOME");
  return fs::path(home && *home ? home : "/root") / ".config" / "livecare" / "maker.key";
}

Result<trust::PrivateKey> load_maker_key(const fs::path& named) {
  if (!named.empty()) return trust::load_private_key(named);
  fs::path path = default_key();
  std::error_code failure;
  if (fs::exists(path, failure)) return trust::load_private_key(path);
  TRY(trust::PrivateKey key, trust::generate_key());
  fs::create_directories(path.parent_path(), failure);
  TRY_STATUS(trust::save_private_key(path, key));
  fs::path public_path = path;
  public_path.replace_extension(".pub");
  TRY_STATUS(trust::save_public_key(public_path, key.public_key()));
  log(LogLevel::info, "made a maker's key: {} (public half: {})", path.native(),
      public_path.native());
  return key;
}

Status check_output_directory(const fs::path& directory) {
  std::error_code failure;
  fs::create_directories(directory, failure);
  if (failure)
    return make_error(ErrorCode::io, directory.native(), "cannot make it: {}", failure.message());
  std::string probe = (directory / ".livecare.XXXXXX").native();
  int fd = ::mkstemp(probe.data());
  if (fd < 0) return errno_error(directory.native(), "cannot write into it", errno);
  ::close(fd);
  ::unlink(probe.c_str());
  return ok_status();
}

Result<std::string> next_patchset_name(const fs::path& directory, const std::string& date,
                                       char kind) {
  for (unsigned number = 1; number <= patchsets_per_day_max; ++number) {
    std::string name = fmt::format("{}{}_{:02}", kind, date, number);
    std::error_code ignored;
    if (!fs::exists(directory / (name + ".lcpatch"), ignored)) return name;
  }
  return make_error(ErrorCode::unsupported, directory.native(),
                    "has {} patchsets of {} already; use another directory", patchsets_per_day_max,
                    date);
}

uint32_t latest_level(const fs::path& directory, const std::string& id) {
  auto found = read_text(directory / id / "latest.v2");
  const std::string text = found.ok() ? std::move(found).value() : std::string();
  uint32_t level = 0;
  std::from_chars(text.data(), text.data() + text.size(), level);
  return level;
}

std::vector<PublishedPlace> places_of(const patchfmt::Patchset& patchset) {
  std::vector<PublishedPlace> places;
  for (const patchfmt::Object& object : patchset.objects) places.push_back({object.build_id, ""});
  for (const patchfmt::KernelModule& module : patchset.modules)
    places.push_back({module.kernel_id, module.type == "default" ? "" : "." + module.type});
  return places;
}

Result<Published> publish(const fs::path& directory, const patchfmt::Patchset& patchset,
                          const trust::PrivateKey& key) {
  std::string name = patchset.name + ".lcpatch";
  Bytes unsigned_file = patchfmt::write(patchset);
  TRY(ByteView to_sign, patchfmt::signed_bytes(unsigned_file, name));
  patchfmt::Signature signature;
  signature.key_id = key.public_key().id();
  TRY(signature.signature, trust::sign(key, to_sign));
  TRY(Bytes file, patchfmt::add_signature(unsigned_file, name, signature));
  // What is written is what an agent will be able to read.
  auto checked = patchfmt::read(file, name);
  if (!checked.ok())
    return make_error(ErrorCode::internal, name, "the written patch is not readable: {}",
                      checked.error().text());
  std::string info = patchfmt::kpatch_info(patchset);
  for (const PublishedPlace& place : places_of(patchset)) {
    fs::path level = directory / place.id / std::to_string(patchset.level);
    TRY_STATUS(write_file_atomic(level / ("kpatch.info" + place.type), ByteView(info)));
    TRY_STATUS(write_file_atomic(level / place.file(), file));
  }
  TRY_STATUS(write_file_atomic(directory / name, file));
  fs::path public_key = directory / "maker.pub";
  auto before = trust::load_public_key(public_key);
  if (!before.ok() || before->raw != key.public_key().raw)
    TRY_STATUS(trust::save_public_key(public_key, key.public_key()));
  std::string level = std::to_string(patchset.level) + "\n";
  for (const PublishedPlace& place : places_of(patchset)) {
    // Whether a kernel is supported is asked by its presence.
    if (!patchset.modules.empty())
      TRY_STATUS(write_file_atomic(directory / place.id / "version", ByteView(level)));
    TRY_STATUS(write_file_atomic(directory / place.id / "latest.v2", ByteView(level)));
  }
  return Published{directory / name, file.size()};
}

}  // namespace livecare::builder
