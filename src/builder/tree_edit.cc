#include "builder/tree_edit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

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

struct Change {
  std::string path;
  std::string saved;  // empty: the file is new
  std::string made;   // the first directory that had to be made for it
};

Result<std::vector<Change>> read_journal(const std::string& text, const fs::path& entry) {
  auto damaged = [&] {
    return make_error(ErrorCode::conflict, journal_of(entry).native(),
                      "is damaged; remove {} to prepare it anew", entry.native());
  };
  json journal = json::parse(text, nullptr, false);
  if (!journal.is_array()) return damaged();
  std::vector<Change> changes;
  for (const json& item : journal) {
    Change change;
    for (auto [name, field] : {std::pair("path", &change.path), std::pair("saved", &change.saved),
                               std::pair("made", &change.made)}) {
      if (!item.is_object() || !item.contains(name) || !item[name].is_string()) return damaged();
      *field = item[name].get<std::string>();
    }
    if (change.path.empty()) return damaged();
    changes.push_back(std::move(change));
  }
  return changes;
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
  TRY(std::vector<Change> changes, read_journal(*text, entry));
  for (const Change& change : changes) {
    std::error_code failure;
    if (change.saved.empty()) {
      fs::remove(change.path, failure);
    } else if (auto copied = copy_with_times(change.saved, change.path); !copied.ok()) {
      Error error = copied.take_error();
      error.message += fmt::format(
          "; the source tree cannot be put back: remove {} to prepare it "
          "anew",
          entry.native());
      return error;
    }
    if (!change.made.empty()) fs::remove_all(change.made, failure);
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
  // Exact or not at all: a name that is not UTF-8 must not come back as another one.
  std::string text = journal.dump(1, ' ', false, json::error_handler_t::ignore);
  TRY(std::vector<Change> written, read_journal(text, entry));
  for (const Change& change : written)
    if (!contents.contains(change.path))
      return make_error(ErrorCode::unsupported, change.path,
                        "has a name that is not UTF-8; leave this file out of the fix");
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
