// Compilers number what they make: clones, static locals, constants. A number says nothing across
// two compilations, so names are compared by their keys: the name without its numbers.
#pragma once

#include <string>
#include <string_view>

namespace livecare::objdiff {

// "f.constprop.0.isra.3" -> "f.constprop.isra"; "x.1234" -> "x."; C++ discriminators of local
// entities and lambda numbers likewise. Equal keys mean "may be the same", never "is".
std::string name_key(std::string_view name);

// True when the name carries a number that the compiler chose (the key is not the name).
bool is_numbered(std::string_view name);

// A lambda or unnamed type, or a function of one: its number counts from the first in its scope.
bool is_lambda(std::string_view name);

// "f" of "f.cold" and "f.cold.1"; empty for anything else.
std::string_view part_parent(std::string_view name);

// "f" of "f.constprop.0.cold": without any clone or part suffix.
std::string_view source_name(std::string_view name);

// ".LC3", ".L__const.f.t": assembler-local, names nothing.
bool is_assembler_local(std::string_view name);

// Constants that the compiler makes up: __func__.0, CSWTCH.3, switch.table.f ...: equal content is
// the same thing, whatever the name.
bool is_compiler_constant(std::string_view name);

// _ZTV, _ZTT, _ZTC (virtual tables), _ZTI (typeinfo).
bool is_virtual_table(std::string_view name);
bool is_typeinfo(std::string_view name);
// Functions that the compiler makes to run at load: _GLOBAL__sub_I_x, _GLOBAL__I_a.
bool is_static_initialiser(std::string_view name);
// Runs once in each thread: __tls_init and its other names, _ZTH and a variable's name.
bool is_thread_initialiser(std::string_view name);

}  // namespace livecare::objdiff
