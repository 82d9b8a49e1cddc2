#include "builder/apt.h"

#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <set>

#include "base/file_system.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"
#include "builder/suite.h"

namespace livecare::builder {

namespace fs = std::filesystem;

namespace {

constexpr auto lists_age_max = std::chrono::hours(24);

std::string trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
    text.remove_suffix(1);
  return std::string(text);
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (char c : text) {
    if (c != ' ' && c != '\n' && c != '\t' && c != ',')
      word += c;
    else if (!word.empty())
      words.push_back(std::exchange(word, {}));
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

std::string field(const Paragraph& paragraph, const std::string& name) {
  auto found = paragraph.find(name);
  return found == paragraph.end() ? std::string() : found->second;
}

Result<std::string> machine_architecture() {
  TRY(std::string text, run_checked({.arguments = {"dpkg", "--print-architecture"}}));
  return trimmed(split_lines(text).empty() ? "" : split_lines(text)[0]);
}

bool can_hold_targets(const BinaryPackage& package) {
  static const std::set<std::string> sections = {"debug", "doc", "localization"};
  std::string section = package.section.substr(package.section.find('/') + 1);
  return package.architecture != "all" && !sections.contains(section) &&
         !package.name.ends_with("-dbg") && !package.name.ends_with("-dbgsym") &&
         !package.name.ends_with("-udeb");
}

// File names that a .dsc lists (the Checksums and Files paragraphs name each several times).
std::set<std::string> files_of_dsc(std::string_view text) {
  std::set<std::string> files;
  bool in_files = false;
  for (std::string_view line : split_lines(text)) {
    if (!line.starts_with(" "))
      in_files = line.starts_with("Files:");
    else if (auto words = words_of(line); in_files && !words.empty())
      files.insert(words.back());
  }
  return files;
}

}  // namespace

std::vector<Paragraph> parse_paragraphs(std::string_view text) {
  std::vector<Paragraph> paragraphs;
  Paragraph paragraph;
  std::string last;
  auto end = [&] {
    if (!paragraph.empty()) paragraphs.push_back(std::exchange(paragraph, {}));
    last.clear();
  };
  for (std::string_view line : split_lines(text)) {
    if (trimmed(line).empty()) {
      end();
    } else if (line.front() == ' ' || line.front() == '\t') {
      if (!last.empty()) paragraph[last] += "\n" + trimmed(line);
    } else if (size_t colon = line.find(':'); line.front() != '#' && colon != std::string::npos) {
      last = line.substr(0, colon);
      paragraph[last] = trimmed(line.substr(colon + 1));
    }
  }
  end();
  return paragraphs;
}

BinaryPackage binary_package(const Paragraph& paragraph) {
  BinaryPackage package;
  package.name = field(paragraph, "Package");
  package.version = field(paragraph, "Version");
  package.section = field(paragraph, "Section");
  package.architecture = field(paragraph, "Architecture");
  package.source = {package.name, package.version};
  std::string source = field(paragraph, "Source");
  if (source.empty()) return package;
  size_t bracket = source.find('(');
  package.source.name = trimmed(source.substr(0, bracket));
  if (bracket != std::string::npos)
    package.source.version =
        trimmed(source.substr(bracket + 1, source.find(')', bracket) - bracket - 1));
  return package;
}

std::string with_sources(std::string_view text, bool is_deb822) {
  std::string out;
  for (std::string_view line : split_lines(text)) {
    std::string bare = trimmed(line);
    bool is_types =
        bare.size() > 5 && bare[5] == ':' && ::strncasecmp(bare.data(), "types", 5) == 0;
    if (is_deb822 && is_types) {
      out += "Types: deb deb-src\n";
      continue;
    }
    out += std::string(line) + "\n";
    if (!is_deb822 && (bare.starts_with("deb ") || bare.starts_with("deb\t")))
      out += "deb-src" + bare.substr(3) + "\n";
  }
  return out;
}

namespace {

Result<std::vector<fs::path>> source_files() {
  std::vector<fs::path> files;
  std::error_code ignored;
  if (fs::exists("/etc/apt/sources.list", ignored)) files.emplace_back("/etc/apt/sources.list");
  for (const auto& entry : fs::directory_iterator("/etc/apt/sources.list.d", ignored)) {
    std::string ending = entry.path().extension();
    if (ending == ".list" || ending == ".sources") files.push_back(entry.path());
  }
  if (files.empty())
    return make_error(ErrorCode::not_found, "/etc/apt",
                      "no sources file; add one with the distribution's archive");
  return files;
}

}  // namespace

Status Apt::make_directories() const {
  for (const char* part : {"lists/partial", "cache/archives/partial", "sources"}) {
    std::error_code failure;
    fs::create_directories(directory_ / part, failure);
    if (failure)
      return make_error(ErrorCode::io, (directory_ / part).native(), "cannot make it: {}",
                        failure.message());
  }
  return ok_status();
}

Status Apt::update_when_old(bool changed) const {
  std::error_code missing;
  auto time = fs::last_write_time(directory_ / "updated", missing);
  if (changed || missing || fs::file_time_type::clock::now() - time > lists_age_max)
    return update();
  return ok_status();
}

Result<Apt> Apt::open(const fs::path& directory) {
  Apt apt(fs::absolute(directory));
  TRY_STATUS(apt.make_directories());
  bool changed = false;
  TRY_STATUS(apt.write_sources(changed));
  TRY_STATUS(apt.update_when_old(changed));
  return apt;
}

Result<Apt> Apt::open_suite(const fs::path& directory, const std::string& suite) {
  Apt apt(fs::absolute(directory));
  apt.is_other_suite_ = true;
  TRY_STATUS(apt.make_directories());
  bool changed = false;
  TRY_STATUS(apt.write_suite(suite, changed));
  TRY_STATUS(apt.update_when_old(changed));
  return apt;
}

Status Apt::write_suite(const std::string& suite, bool& changed) const {
  TRY(std::vector<fs::path> files, source_files());
  std::string all;
  for (const fs::path& file : files) {
    TRY(std::string text, read_text(file));
    all += text + "\n";
  }
  std::string wanted = suite_sources(mirrors_of(all), suite);
  if (wanted.empty())
    return make_error(ErrorCode::not_found, suite,
                      "no Debian mirror in /etc/apt/sources.list.d that could serve it");
  auto before = read_text(sources_file());
  if (before.ok() && *before == wanted) return ok_status();
  changed = true;
  return write_file_atomic(sources_file(), ByteView(wanted));
}

Status Apt::write_sources(bool& changed) const {
  TRY(std::vector<fs::path> files, source_files());
  for (const fs::path& file : files) {
    TRY(std::string text, read_text(file));
    std::string wanted = with_sources(text, file.extension() == ".sources");
    fs::path copy = directory_ / "sources" / file.filename();
    auto before = read_text(copy);
    if (before.ok() && *before == wanted) continue;
    TRY_STATUS(write_file_atomic(copy, ByteView(wanted)));
    changed = true;
  }
  return ok_status();
}

std::vector<std::string> Apt::command(const std::vector<std::string>& arguments) const {
  std::string base = directory_.native();
  std::vector<std::string> full = {arguments[0]};
  for (const std::string& option :
       {std::string("Dir::Etc::sourcelist=/dev/null"), "Dir::Etc::sourceparts=" + base + "/sources",
        "Dir::State::Lists=" + base + "/lists", "Dir::Cache=" + base + "/cache",
        std::string("Dir::Cache::pkgcache=pkgcache.bin"),
        std::string("Dir::Cache::srcpkgcache=srcpkgcache.bin"),
        std::string("APT::Sandbox::User=root"), std::string("Acquire::Languages=none"),
        std::string("Acquire::Retries=2"),
        std::string("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"),
        std::string("Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false")}) {
    full.push_back("-o");
    full.push_back(option);
  }
  // What is installed here says nothing about another suite, and an old one's lists have expired.
  if (is_other_suite_)
    full.insert(full.end(),
                {"-o", "Dir::State::status=/dev/null", "-o", "Acquire::Check-Valid-Until=false"});
  full.insert(full.end(), arguments.begin() + 1, arguments.end());
  return full;
}

Status Apt::update() const {
  log(LogLevel::info, "apt: fetching package lists (kept in {})", directory_.native());
  auto updated = run_checked(
      {.arguments = command({"apt-get", "update"}), .environment = {{"LC_ALL", "C.UTF-8"}}});
  if (!updated.ok()) return updated.take_error();
  return write_file_atomic(directory_ / "updated", {});
}

Result<SourceVersion> Apt::resolve(const std::string& name, const std::string& version) const {
  std::set<std::string> versions;
  TRY(CommandResult sources,
      run({.arguments = command({"apt-cache", "showsrc", "--only-source", name})}));
  for (const Paragraph& paragraph : parse_paragraphs(sources.output)) {
    std::string found = field(paragraph, "Version");
    if (field(paragraph, "Package") != name) continue;
    if (found == version) return SourceVersion{name, version};
    versions.insert(found);
  }
  TRY(CommandResult shown, run({.arguments = command({"apt-cache", "show", "-a", name})}));
  for (const Paragraph& paragraph : parse_paragraphs(shown.output)) {
    BinaryPackage package = binary_package(paragraph);
    if (package.name != name) continue;
    if (package.version == version) return package.source;
    versions.insert(package.version);
  }
  if (versions.empty())
    return make_error(
        ErrorCode::not_found, name,
        "no such source or binary package in the archive (of /etc/apt/sources.list.d)");
  std::string list;
  for (const std::string& known : versions) list += (list.empty() ? "" : ", ") + known;
  return make_error(ErrorCode::not_found, name + "=" + version,
                    "no such version in the archive; it has {}", list);
}

Result<std::vector<BinaryPackage>> Apt::binaries(const SourceVersion& source) const {
  TRY(std::string text,
      run_checked({.arguments = command({"apt-cache", "showsrc", "--only-source", source.name})}));
  std::vector<std::string> names;
  for (const Paragraph& paragraph : parse_paragraphs(text))
    if (field(paragraph, "Version") == source.version) names = words_of(field(paragraph, "Binary"));
  std::vector<std::string> arguments = {"apt-cache", "show", "-a"};
  arguments.insert(arguments.end(), names.begin(), names.end());
  TRY(CommandResult shown, run({.arguments = command(arguments)}));
  TRY(std::string machine, machine_architecture());
  std::vector<BinaryPackage> packages;
  std::set<std::string> seen;
  for (const Paragraph& paragraph : parse_paragraphs(shown.output)) {
    BinaryPackage package = binary_package(paragraph);
    if (package.source.name != source.name || package.source.version != source.version) continue;
    if (package.architecture != machine || !can_hold_targets(package)) continue;
    if (seen.insert(package.name + "=" + package.version).second) packages.push_back(package);
  }
  if (packages.empty())
    return make_error(ErrorCode::not_found, source.text(),
                      "the archive has this source but no binary package of it for {}; choose a "
                      "version whose binaries are there",
                      machine);
  return packages;
}

Result<std::vector<BinaryPackage>> Apt::unpack_binaries(const std::vector<BinaryPackage>& packages,
                                                        const fs::path& into) const {
  std::error_code failure;
  fs::create_directories(into / "deb", failure);
  std::vector<BinaryPackage> unpacked;
  std::string last_error;
  for (const BinaryPackage& package : packages) {
    auto fetched = run_checked(
        {.arguments = command({"apt-get", "download", package.name + "=" + package.version}),
         .directory = into / "deb"});
    fs::path file;
    for (const auto& entry : fs::directory_iterator(into / "deb", failure))
      if (entry.path().filename().native().starts_with(package.name + "_")) file = entry.path();
    if (!fetched.ok() || file.empty()) {
      last_error = fetched.ok() ? package.name + ": not downloaded" : fetched.error().text();
      log(LogLevel::warning, "{} {}: cannot be downloaded, left out", package.name,
          package.version);
      continue;
    }
    auto done = run_checked(
        {.arguments = {"dpkg-deb", "-x", file.native(), (into / package.name).native()}});
    if (!done.ok()) return done.take_error();
    fs::remove(file, failure);
    unpacked.push_back(package);
  }
  if (unpacked.empty())
    return make_error(ErrorCode::not_found, packages.empty() ? "" : packages[0].source.text(),
                      "no binary package could be downloaded: {}", last_error);
  return unpacked;
}

Result<std::vector<BinaryPackage>> Apt::versions(const std::string& name) const {
  TRY(CommandResult shown, run({.arguments = command({"apt-cache", "show", "-a", name})}));
  std::vector<BinaryPackage> found;
  for (const Paragraph& paragraph : parse_paragraphs(shown.output)) {
    BinaryPackage package = binary_package(paragraph);
    if (package.name == name) found.push_back(std::move(package));
  }
  if (found.empty())
    return make_error(ErrorCode::not_found, name,
                      "no such package in the archive (of /etc/apt/sources.list.d)");
  return found;
}

Result<fs::path> Apt::download(const BinaryPackage& package, const fs::path& into) const {
  std::error_code failure;
  fs::create_directories(into, failure);
  TRY(std::string ignored,
      run_checked(
          {.arguments = command({"apt-get", "download", package.name + "=" + package.version}),
           .directory = into}));
  for (const auto& entry : fs::directory_iterator(into, failure))
    if (entry.path().filename().native().starts_with(package.name + "_")) return entry.path();
  return make_error(ErrorCode::not_found, package.name + "=" + package.version,
                    "was not downloaded to {}", into.native());
}

// Some versions of the archive lack a file (a signature, an upstream tarball that another version
// shares): take it from another version's source, or leave a mere signature out.
Status Apt::complete_source(const SourceVersion& source, const fs::path& work) const {
  fs::path dsc;
  for (const auto& entry : fs::directory_iterator(work))
    if (entry.path().extension() == ".dsc") dsc = entry.path();
  if (dsc.empty())
    return make_error(ErrorCode::not_found, source.text(), "the archive does not serve its .dsc");
  TRY(std::string text, read_text(dsc));
  std::set<std::string> missing;
  for (const std::string& file : files_of_dsc(text))
    if (!fs::exists(work / file)) missing.insert(file);
  std::string kept;
  for (std::string_view line : split_lines(text)) {
    auto words = words_of(line);
    bool dropped = line.starts_with(" ") && !words.empty() && missing.contains(words.back()) &&
                   words.back().ends_with(".asc");
    if (!dropped) kept += std::string(line) + "\n";
  }
  for (const std::string& file : missing) {
    if (file.ends_with(".asc")) {
      log(LogLevel::info, "{}: {} is not served; going on without that signature", source.text(),
          file);
      continue;
    }
    TRY(std::string shown, run_checked({.arguments = command({"apt-cache", "showsrc",
                                                              "--only-source", source.name})}));
    for (const Paragraph& other : parse_paragraphs(shown)) {
      std::string version = field(other, "Version");
      if (version == source.version || field(other, "Files").find(file) == std::string::npos)
        continue;
      fs::path aside = work / "other";
      fs::create_directories(aside);
      TRY(CommandResult ignored,
          run({.arguments = command({"apt-get", "source", "--download-only", "--only-source",
                                     source.name + "=" + version}),
               .directory = aside}));
      (void)ignored;
      std::error_code failure;
      fs::rename(aside / file, work / file, failure);
      fs::remove_all(aside, failure);
      if (fs::exists(work / file)) break;
    }
    if (!fs::exists(work / file))
      return make_error(ErrorCode::not_found, source.text(),
                        "{} is not served by the archive, in no version", file);
  }
  return write_file_atomic(work / "livecare.dsc", ByteView(kept));
}

Status Apt::unpack_source(const SourceVersion& source, const fs::path& work,
                          const fs::path& tree) const {
  std::error_code failure;
  fs::create_directories(work, failure);
  auto fetched = run({.arguments = command({"apt-get", "source", "--download-only", "--only-source",
                                            source.name + "=" + source.version}),
                      .directory = work,
                      .environment = {{"LC_ALL", "C.UTF-8"}}});
  if (!fetched.ok()) return fetched.take_error();
  TRY_STATUS(complete_source(source, work));
  auto done =
      run_checked({.arguments = {"dpkg-source", "--no-check", "-x", "livecare.dsc", tree.native()},
                   .directory = work});
  if (!done.ok()) return done.take_error();
  return ok_status();
}

Status Apt::install_build_dependencies(const fs::path& tree,
                                       const std::vector<std::string>& profiles,
                                       const fs::path& log_file) const {
  std::string list;
  for (const std::string& profile : profiles) list += (list.empty() ? "" : ",") + profile;
  // Root is needed for what is missing only.
  std::vector<std::string> check = {"dpkg-checkbuilddeps", "-P", list, "debian/control"};
  TRY(CommandResult checked, run({.arguments = check, .directory = tree}));
  if (checked.exit_code == 0) return ok_status();
  std::vector<std::string> arguments;
  if (::geteuid() != 0) arguments = {"sudo", "-n"};
  arguments.insert(arguments.end(), {"env", "DEBIAN_FRONTEND=noninteractive"});
  auto apt = command({"apt-get", "build-dep", "-y", "--no-install-recommends", "-P", list, "./"});
  arguments.insert(arguments.end(), apt.begin(), apt.end());
  auto installed =
      run_checked({.arguments = arguments, .directory = tree, .output_file = log_file});
  if (installed.ok()) return ok_status();
  if (::geteuid() != 0)
    return make_error(ErrorCode::permission, tree.filename().native(),
                      "build dependencies are missing and sudo did not install them ({}); install "
                      "them as root: apt-get build-dep {}",
                      installed.error().text(), tree.filename().native());
  return installed.take_error();
}

}  // namespace livecare::builder
