#include "builder/build_space.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

// Everything that the child needs between fork and exec, made beforehand: it must not allocate.
struct Plan {
  std::string root;
  std::string seen;
  bool seen_exists = false;
  std::string scratch;
  struct Entry {
    std::string from;  // "/usr"
    std::string to;    // SCRATCH/usr
    std::string link;  // target, if it is a symbolic link
  };
  std::vector<Entry> entries;            // of the real root directory
  std::vector<std::string> directories;  // to be made for `seen`, outermost first
  std::string seen_in_scratch;
  bool needs_user = false;
  std::string uid_map;
  std::string gid_map;
};

int write_proc(const char* path, const std::string& text) {
  int fd = ::open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ssize_t put = ::write(fd, text.data(), text.size());
  int failure = put == static_cast<ssize_t>(text.size()) ? 0 : errno;
  ::close(fd);
  return failure;
}

int enter_namespace(const Plan& plan) {
  if (::unshare(CLONE_NEWNS | (plan.needs_user ? CLONE_NEWUSER : 0)) != 0) return errno;
  if (plan.needs_user) {
    if (int failure = write_proc("/proc/self/setgroups", "deny")) return failure;
    if (int failure = write_proc("/proc/self/uid_map", plan.uid_map)) return failure;
    if (int failure = write_proc("/proc/self/gid_map", plan.gid_map)) return failure;
  }
  return ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 ? 0 : errno;
}

int make_root(const Plan& plan) {
  if (::mount("tmpfs", plan.scratch.c_str(), "tmpfs", 0, "mode=755,size=1m") != 0) return errno;
  for (const Plan::Entry& entry : plan.entries) {
    if (!entry.link.empty()) {
      if (::symlink(entry.link.c_str(), entry.to.c_str()) != 0) return errno;
      continue;
    }
    if (::mkdir(entry.to.c_str(), 0755) != 0) return errno;
    if (::mount(entry.from.c_str(), entry.to.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
      return errno;
  }
  for (const std::string& directory : plan.directories)
    if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) return errno;
  if (::mount(plan.root.c_str(), plan.seen_in_scratch.c_str(), nullptr, MS_BIND | MS_REC, nullptr))
    return errno;
  if (::chroot(plan.scratch.c_str()) != 0) return errno;
  return ::chdir("/") == 0 ? 0 : errno;
}

int enter(const Plan& plan) {
  if (int failure = enter_namespace(plan)) return failure;
  if (!plan.seen_exists) return make_root(plan);
  return ::mount(plan.root.c_str(), plan.seen.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0
             ? 0
             : errno;
}

void list_root(Plan& plan, const std::string& first_of_seen) {
  std::error_code failure;
  fs::directory_iterator end;
  for (fs::directory_iterator at("/", failure); !failure && at != end; at.increment(failure)) {
    std::string name = at->path().filename();
    std::error_code ignored;
    if (name == first_of_seen) continue;
    Plan::Entry entry{at->path().native(), plan.scratch + "/" + name, {}};
    if (at->is_symlink(ignored))
      entry.link = fs::read_symlink(at->path(), ignored).native();
    else if (!at->is_directory(ignored))
      continue;
    plan.entries.push_back(std::move(entry));
  }
}

Plan make_plan(const fs::path& root, const std::string& seen, const fs::path& scratch) {
  Plan plan;
  plan.root = root.native();
  plan.seen = seen;
  plan.scratch = scratch.native();
  std::error_code ignored;
  plan.seen_exists = fs::is_directory(seen, ignored);
  plan.needs_user = ::geteuid() != 0;
  plan.uid_map = fmt::format("{0} {0} 1\n", ::geteuid());
  plan.gid_map = fmt::format("{0} {0} 1\n", ::getegid());
  if (plan.seen_exists) return plan;
  std::string first = seen.substr(1, seen.find('/', 1) - 1);
  list_root(plan, first);
  for (size_t slash = seen.find('/', 1); slash != std::string::npos;
       slash = seen.find('/', slash + 1))
    plan.directories.push_back(plan.scratch + seen.substr(0, slash));
  plan.seen_in_scratch = plan.scratch + seen;
  plan.directories.push_back(plan.seen_in_scratch);
  return plan;
}

}  // namespace

BuildSpace::BuildSpace(fs::path root, std::string root_seen, const fs::path& scratch)
    : root_(std::move(root)), root_seen_(std::move(root_seen)) {
  if (root_.native() == root_seen_) return;
  Plan plan = make_plan(root_, root_seen_, scratch);
  enter_ = [plan = std::move(plan)] { return enter(plan); };
}

bool BuildSpace::works() const {
  if (!enter_) return true;
  // What the first component of the path hides must not be what we need ourselves.
  std::string first = root_seen_.substr(0, root_seen_.find('/', 1) + 1);
  std::error_code ignored;
  if (!fs::is_directory(root_seen_, ignored) && root_.native().starts_with(first)) return false;
  auto result = livecare::run({.arguments = {"true"}, .directory = root_seen_, .in_child = enter_});
  return result.ok() && result->exit_code == 0;
}

Result<CommandResult> BuildSpace::run(Command command, bool clear_environment) const {
  if (command.directory.empty()) command.directory = root_seen_;
  command.in_child = enter_;
  if (clear_environment) {
    std::vector<std::string> words = {"env", "-i"};
    for (const auto& [name, value] : command.environment)
      words.push_back(fmt::format("{}={}", name, value));
    words.insert(words.end(), command.arguments.begin(), command.arguments.end());
    command.arguments = std::move(words);
    command.environment.clear();
  }
  return livecare::run(command);
}

Result<CommandResult> BuildSpace::run_again(const Call& call,
                                            const std::vector<std::string>& arguments) const {
  Command command;
  command.arguments = arguments;
  command.directory = call.directory;
  command.environment = call.environment;
  // ccache and distcc in front of the compiler only hand the call on.
  command.environment["CCACHE_DISABLE"] = "1";
  return run(std::move(command), true);
}

}  // namespace livecare::builder
