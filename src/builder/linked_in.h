// Whether a linked file holds an object that its link could have taken from an archive.
//
// The linker takes a member whole or not at all, and keeps two traces of it in .symtab: the
// member's global symbols, and its source file's name (STT_FILE). A name alone says little: another
// source may define a function of the same name (a program's own stub of a library function), and
// two sources may have the same file name. Sizes tell them apart as far as they go: functions can
// lose a few bytes when they are compiled with function sections. What the traces do not settle
// counts as held, with a doubt to be told: a fix that silently leaves out a file that needs it is
// worse than a refusal.
#pragma once

#include <string>

#include "elf/image.h"

namespace livecare::builder {

struct LinkedIn {
  bool is = true;
  std::string doubt;  // not empty: why it cannot be told for sure
};

// object: compiled like the member; linked: with its symbol table.
LinkedIn linked_in(const elf::Image& object, const elf::Image& linked);

}  // namespace livecare::builder
