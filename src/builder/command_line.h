// What a recorded compiler or linker call does: which sources, which object, which inputs.
// Understands the options of gcc and clang drivers, ld and ar as far as needed to find operands.
// Pure, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "builder/record.h"

namespace livecare::builder {

enum class Tool { compiler, linker, assembler, archiver, move, copy, other };
Tool tool_of(const Call& call);

enum class Language { c, cxx, assembler, other };
// By the file's ending, as gcc decides; `other` for what is no source file.
Language language_of(std::string_view path);

struct Operand {
  std::string path;         // as written
  bool is_library = false;  // -lNAME: path is NAME
  bool whole_archive = false;
  bool is_static = false;  // after -Bstatic
};

// A compiler or linker call, taken apart.
struct Invocation {
  bool compiles = false;         // has sources and is not only preprocessing
  bool links = false;            // makes a program, shared object or (relocatable) a joined object
  bool stops_at_object = false;  // -c
  bool only_preprocesses = false;  // -E, -M, -S and questions like -dumpversion
  bool shared = false;
  bool relocatable = false;  // -r
  std::string output;        // as written, empty without -o
  std::vector<Operand> sources;
  std::vector<Language> languages;  // of sources, -x respected
  std::vector<Operand> inputs;      // objects, archives, libraries
  std::vector<std::string> library_directories;
};
Invocation parse_invocation(const Call& call, Tool tool);

// The same compile again, of one of its sources only, to another object; without everything that
// writes side files, links, or turns warnings into errors. `extra` goes to the end.
std::vector<std::string> recompile_arguments(const Call& call, std::string_view source,
                                             std::string_view object,
                                             const std::vector<std::string>& extra);
// The same call only naming the files it reads, as a make rule written to `rule_file`.
std::vector<std::string> dependency_arguments(const Call& call, std::string_view source,
                                              std::string_view rule_file);

struct ArchiveCall {
  char operation = 0;  // 'r' (replace or add), 'q' (add), 'x' (extract), 0: something else
  std::string archive;
  std::vector<std::string> members;
};
ArchiveCall parse_archive_call(const Call& call);

struct MoveCall {
  std::vector<std::string> sources;
  std::string destination;
  bool into = false;  // the destination is a directory for certain
};
MoveCall parse_move_call(const Call& call);

}  // namespace livecare::builder
