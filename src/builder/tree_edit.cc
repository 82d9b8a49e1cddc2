#include "builder/tree_edit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/fd.h"
#include "base/file_system.h"
#include "base/log.h"

namespace livecare::builder {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

fs::path journal_of(const fs::path& entry) {
  return entry / "journal.json";
}

// In place: hard links, owner and mode stay.
Status overwrite(const fs::path& path, ByteView bytes) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid() && errno == EACCES) {
    ::chmod(path.c_str(), 0644);
    fd = Fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  }
  if (!fd.valid()) return errno_error(path.native(), "cannot write", errno);
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t put = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error(path.native(), "cannot write", errno);
    done += static_cast<size_t>(put);
  }
  return ok_status();
}

Status copy_with_times(const fs::path& from, const fs::path& to) {
  TRY(Bytes bytes, read_file(from));
  TRY_STATUS(overwrite(to, bytes));
  struct stat info {};
  if (::stat(from.c_str(), &info) != 0) return errno_error(from.native(), "cannot stat", errno);
  ::chmod(to.c_str(), info.st_mode & 07777);
  timespec times[2] = {info.st_atim, info.st_mtim};
  if (::utimensat(AT_FDCWD, to.c_str(), times, 0) != 0)
    return errno_error(to.native(), "cannot set its time", errno);
  return ok_status();
}

Status save_originals(const fs::path& entry, const std::map<fs::path, std::string>& contents,
                      json& journal) {
  std::error_code failure;
  fs::remove_all(entry / "saved", failure);
  fs::create_directories(entry / "saved", failure);
  for (const auto& [path, content] : contents) {
    std::string saved;
    if (fs::exists(path, failure)) {
      saved = (entry / "saved" / std::to_string(journal.size())).native();
      TRY_STATUS(copy_with_times(path, saved));
    }
    // The first directory that has to be made for a new file goes again with it.
    fs::path made;
    for (fs::path parent = path.parent_path(); !fs::exists(parent, failure);
         parent = parent.parent_path())
      made = parent;
    journal.push_back({{"path", path.native()}, {"saved", saved}, {"made", made.native()}});
  }
  return ok_status();
}

}  // namespace

Status restore_tree(const fs::path& entry) {
  auto text = read_text(journal_of(entry));
  if (!text.ok())
    return text.error().code == ErrorCode::not_found ? ok_status() : Status(text.take_error());
  json journal = json::parse(*text, nullptr, false);
  if (!journal.is_array())
    return make_error(ErrorCode::conflict, journal_of(entry).native(),
                      "is damaged; remove {} to prepare it anew", entry.native());
  for (const json& item : journal) {
    fs::path path = item.value("path", "");
    std::string saved = item.value("saved", "");
    std::string made = item.value("made", "");
    std::error_code failure;
    if (!saved.empty())
      TRY_STATUS(copy_with_times(saved, path));
    else
      fs::remove(path, failure);
    if (!made.empty()) fs::remove_all(made, failure);
  }
  std::error_code failure;
  fs::remove(journal_of(entry), failure);
  if (failure)
    return make_error(ErrorCode::io, journal_of(entry).native(), "cannot remove it: {}",
                      failure.message());
  fs::remove_all(entry / "saved", failure);
  return ok_status();
}

Result<TreeEdit> TreeEdit::begin(const fs::path& entry,
                                 const std::map<fs::path, std::string>& contents) {
  TRY_STATUS(restore_tree(entry));
  json journal = json::array();
  TRY_STATUS(save_originals(entry, contents, journal));
  std::string text = journal.dump(1, ' ', false, json::error_handler_t::replace);
  TRY_STATUS(write_file_atomic(journal_of(entry), ByteView(text)));
  TreeEdit edit(entry);
  for (const auto& [path, content] : contents) {
    std::error_code failure;
    fs::create_directories(path.parent_path(), failure);
    TRY_STATUS(overwrite(path, ByteView(content)));
  }
  return edit;
}

TreeEdit::TreeEdit(TreeEdit&& other) noexcept : entry_(std::exchange(other.entry_, {})) {}

TreeEdit::~TreeEdit() {
  if (entry_.empty()) return;
  if (auto restored = restore(); !restored.ok())
    log(LogLevel::error, "{}", restored.error().text());
}

Status TreeEdit::restore() {
  fs::path entry = std::exchange(entry_, {});
  return entry.empty() ? ok_status() : restore_tree(entry);
}

}  // namespace livecare::builder
