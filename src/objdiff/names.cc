#include "objdiff/names.h"

#include <array>

namespace livecare::objdiff {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool all_digits(std::string_view text) {
  if (text.empty()) return false;
  for (char c : text)
    if (!is_digit(c)) return false;
  return true;
}

constexpr std::array clone_suffixes = {
    std::string_view(".constprop"), std::string_view(".isra"),       std::string_view(".part"),
    std::string_view(".cold"),      std::string_view(".lto_priv"),   std::string_view(".clone"),
    std::string_view(".llvm"),      std::string_view(".localalias"), std::string_view(".ipa"),
};

// "f.constprop.0" -> "f.constprop" with true; leaves other names alone.
bool strip_number(std::string_view& name) {
  size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || !all_digits(name.substr(dot + 1))) return false;
  name = name.substr(0, dot);
  return true;
}

bool strip_clone_suffix(std::string_view& name, std::string_view& suffix) {
  std::string_view rest = name;
  strip_number(rest);
  for (std::string_view candidate : clone_suffixes) {
    if (rest.size() <= candidate.size() || !rest.ends_with(candidate)) continue;
    suffix = candidate;
    name = rest.substr(0, rest.size() - candidate.size());
    return true;
  }
  return false;
}

// clang: lambda number 10 of a scope is "4$_10", a name of four characters.
std::string without_clang_lambda_numbers(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); i++) {
    if (name.substr(i, 2) != "$_") {
      out += name[i];
      continue;
    }
    size_t length = 0, scale = 1;
    while (!out.empty() && is_digit(out.back()) && scale <= 10) {
      length += static_cast<size_t>(out.back() - '0') * scale;
      scale *= 10;
      out.pop_back();
    }
    out += "$_";
    i += length < 2 ? 1 : length - 1;
  }
  return out;
}

// Itanium mangling: the discriminator of a local entity ("_0", "__10_" at the end) and the number
// of a lambda ("UlvE0_") or unnamed type ("Ut1_").
std::string without_mangled_numbers(std::string_view name) {
  bool local = name.starts_with("_ZZ") || name.starts_with("_ZGVZ");
  if (local) {
    size_t end = name.size();
    if (end > 0 && name[end - 1] == '_') end--;
    size_t digits = end;
    while (digits > 0 && is_digit(name[digits - 1])) digits--;
    if (digits < end && digits > 0 && name[digits - 1] == '_') {
      name = name.substr(0, digits - 1);
      if (name.ends_with('_')) name.remove_suffix(1);
    }
  }
  std::string unnumbered;
  if (name.find("$_") != std::string_view::npos) {
    unnumbered = without_clang_lambda_numbers(name);
    name = unnumbered;
  }
  if (name.find("Ul") == std::string_view::npos && name.find("Ut") == std::string_view::npos)
    return std::string(name);
  std::string out;
  for (size_t i = 0; i < name.size(); i++) {
    out += name[i];
    bool number_may_follow = name[i] == 'E' || (name[i] == 't' && i > 0 && name[i - 1] == 'U');
    if (!number_may_follow) continue;
    size_t j = i + 1;
    while (j < name.size() && is_digit(name[j])) j++;
    if (j > i + 1 && j < name.size() && name[j] == '_') i = j - 1;
  }
  return out;
}

}  // namespace

std::string name_key(std::string_view name) {
  std::string_view stem = name, suffix;
  std::string suffixes;
  while (strip_clone_suffix(stem, suffix)) suffixes.insert(0, suffix);
  if (name.starts_with("_Z")) return without_mangled_numbers(stem) + suffixes;
  // gcc: static local "x.4" -> "x."; clang: "f.x", "f.x.4" -> "f.x".
  bool numbered = strip_number(stem);
  // Linux: __UNIQUE_ID(x) appends __COUNTER__.
  if (stem.find("__UNIQUE_ID_") != std::string_view::npos)
    while (!stem.empty() && is_digit(stem.back())) stem.remove_suffix(1);
  bool qualified = stem.find('.') != std::string_view::npos;
  return std::string(stem) + (numbered && !qualified ? "." : "") + suffixes;
}

bool is_numbered(std::string_view name) {
  return name_key(name) != name;
}

bool is_lambda(std::string_view name) {
  if (!name.starts_with("_Z")) return false;
  return name.find("Ul") != std::string_view::npos || name.find("Ut") != std::string_view::npos ||
         name.find("$_") != std::string_view::npos;
}

std::string_view part_parent(std::string_view name) {
  std::string_view stem = name, suffix;
  if (!strip_clone_suffix(stem, suffix) || suffix != ".cold") return {};
  return stem;
}

std::string_view source_name(std::string_view name) {
  std::string_view suffix;
  while (strip_clone_suffix(name, suffix)) {
  }
  return name;
}

bool is_assembler_local(std::string_view name) {
  return name.starts_with(".L") || name.starts_with("$") || name.empty();
}

bool is_compiler_constant(std::string_view name) {
  for (std::string_view start :
       {"__func__.", "__FUNCTION__.", "__PRETTY_FUNCTION__.", "CSWTCH.", "switch.table.",
        "reltable.", "__const.", "C.", ".str", "str.", "__compound_literal.", "__unnamed_"})
    if (name.starts_with(start)) return true;
  if (!name.starts_with("_ZZ")) return false;
  return name.find("__PRETTY_FUNCTION__") != std::string_view::npos ||
         name.find("8__func__") != std::string_view::npos ||
         name.find("12__FUNCTION__") != std::string_view::npos;
}

bool is_virtual_table(std::string_view name) {
  return name.starts_with("_ZTV") || name.starts_with("_ZTT") || name.starts_with("_ZTC");
}

bool is_typeinfo(std::string_view name) {
  return name.starts_with("_ZTI");
}

bool is_static_initialiser(std::string_view name) {
  return name.starts_with("_GLOBAL__sub_") || name.starts_with("_GLOBAL__I_") ||
         name.starts_with("_GLOBAL__D_");
}

bool is_thread_initialiser(std::string_view name) {
  return name == "__tls_init" || name.starts_with("_ZTH");
}

}  // namespace livecare::objdiff
