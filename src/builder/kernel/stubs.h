// Programs that kbuild asks and that need not be there: they answer as those did that the release
// was configured with.
//
// pahole: without it olddefconfig drops BTF, and struct module is laid out anew. Nothing that is
// compiled here runs it.
//
// rustc, bindgen: without them olddefconfig drops Rust, and whatever depends on it. No object of C
// is compiled with them, and make is told that there is nothing of Rust to prepare.
//
// objtool: kernels with IBT are not run through objtool object by object but once, linked (vmlinux,
// or a module). Here it has to be by object, since objects are compared and taken apart. So it is
// called as if there were no IBT: what it writes is the same, but for the list of the endbr
// instructions that nothing needs. Without that list a patch's own stay usable.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"

namespace livecare::builder {

// config: the shipped configuration; tree: the source, with its objtool.
Status write_stubs(const std::filesystem::path& entry, const std::filesystem::path& tree,
                   const std::string& config);
// What make is given to use them.
std::vector<std::string> stub_variables(const std::filesystem::path& entry);

// "1.24" of "124", "22.1.8" of "220108"; empty for anything else.
std::string pahole_version(const std::string& number);
std::string llvm_version(const std::string& number);

}  // namespace livecare::builder
