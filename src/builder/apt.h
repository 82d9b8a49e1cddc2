// Debian's archive through apt, without touching the system's own apt: the sources files are copied
// to a directory of ours with deb-src switched on, lists and caches are kept there too.
//
// Needs apt-get, apt-cache, dpkg-deb, dpkg-source. Only install_build_dependencies() needs root (or
// sudo) and changes the system: it installs packages.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"

namespace livecare::builder {

struct SourceVersion {
  std::string name;     // source package
  std::string version;  // as in the archive: "1:7.2+dfsg-7+deb12u18"
  std::string text() const { return name + " " + version; }
};

struct BinaryPackage {
  std::string name;
  std::string version;
  std::string section;
  std::string architecture;
  SourceVersion source;
};

// One paragraph of a Debian control file: fields with their continuation lines.
using Paragraph = std::map<std::string, std::string>;
std::vector<Paragraph> parse_paragraphs(std::string_view text);
// Of a Packages paragraph; Source: may be missing (the package's own name) and may name a version.
BinaryPackage binary_package(const Paragraph& paragraph);
// The text of a sources file (deb822 or one-line) with source packages switched on.
std::string with_sources(std::string_view text, bool is_deb822);

class Apt {
 public:
  // directory: where lists and caches are kept; made when missing.
  static Result<Apt> open(const std::filesystem::path& directory);
  // As open(), but another suite of the mirror that this machine's sources name, with a directory
  // of its own. Its sources file, for who makes a tree of the suite, is sources_file().
  static Result<Apt> open_suite(const std::filesystem::path& directory, const std::string& suite);
  std::filesystem::path sources_file() const { return directory_ / "sources" / "suite.list"; }

  // "NAME=VERSION" where NAME is a source or binary package. An error lists the versions there are.
  Result<SourceVersion> resolve(const std::string& name, const std::string& version) const;
  // The binary packages of that source version for this machine that can hold programs or
  // libraries.
  Result<std::vector<BinaryPackage>> binaries(const SourceVersion& source) const;
  // Downloads and unpacks below `into`/NAME; a package that is gone from the archive is left out
  // with a log line unless it is the only one.
  Result<std::vector<BinaryPackage>> unpack_binaries(const std::vector<BinaryPackage>& packages,
                                                     const std::filesystem::path& into) const;
  // Downloads the source package below `work` and unpacks it to `tree`, patches applied.
  Status unpack_source(const SourceVersion& source, const std::filesystem::path& work,
                       const std::filesystem::path& tree) const;
  // Installs what debian/control of an unpacked source asks for; output goes to log_file.
  Status install_build_dependencies(const std::filesystem::path& tree,
                                    const std::vector<std::string>& profiles,
                                    const std::filesystem::path& log_file) const;
  // The versions of one binary package, newest first.
  Result<std::vector<BinaryPackage>> versions(const std::string& name) const;
  // Downloads one .deb into a directory; gives the file.
  Result<std::filesystem::path> download(const BinaryPackage& package,
                                         const std::filesystem::path& into) const;
  // Fetches the package lists again.
  Status update() const;

 private:
  explicit Apt(std::filesystem::path directory) : directory_(std::move(directory)) {}
  std::vector<std::string> command(const std::vector<std::string>& arguments) const;
  Status make_directories() const;
  Status write_sources(bool& changed) const;
  Status write_suite(const std::string& suite, bool& changed) const;
  Status update_when_old(bool changed) const;
  Status complete_source(const SourceVersion& source, const std::filesystem::path& work) const;

  std::filesystem::path directory_;
  bool is_other_suite_ = false;
};

}  // namespace livecare::builder
