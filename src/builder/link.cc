// The problem. A fix changes a few functions of a library that is in use. Their new code comes out
// of the compiler as relocatable objects that refer to half of the library; what is needed is one
// small block of memory that works next to the shipped file.
//
// The idea. A static linker in reverse: the changed functions are the roots; what they reach is
// either new (it comes along), or in the shipped file (it is referred to at its proved address), or
// found by the dynamic linker (it is imported by name as the shipped file does). String literals,
// constants, jump tables and exception tables always come along: they have no identity. Variables
// never do when they exist already: they have state.
//
// In steps: roles from the diff (link.cc); decisions for symbols (link_decide.cc); references
// followed and lowered (link_collect.cc, link_tls.cc, link_unwind.cc); entries checked
// (link_functions.cc); offsets and bytes (link_layout.cc).
//
// The limits. x86-64, small code model. Rejected: a shared object loaded by dlopen, because it can
// refer neither to local symbols nor to thread-local variables of its target, and because it runs
// the loader, with its locks, in a process that we do not know.
#include "builder/link.h"

#include <elf.h>

#include <array>
#include <filesystem>

#include "base/log.h"
#include "builder/link_plan.h"

namespace livecare::builder {
namespace {

struct HookSection {
  std::string_view name;
  patchfmt::HookWhen when;
};
constexpr std::array hook_sections = {
    HookSection{".livecare.hook.pre_switch", patchfmt::HookWhen::before_switch},
    HookSection{".livecare.hook.post_switch", patchfmt::HookWhen::after_switch},
    HookSection{".livecare.hook.pre_undo", patchfmt::HookWhen::before_undo},
    HookSection{".livecare.hook.post_undo", patchfmt::HookWhen::after_undo},
};

size_t constructors(const elf::Image* object) {
  size_t count = 0;
  if (!object) return count;
  for (const auto& section : object->sections())
    if (section.type == SHT_INIT_ARRAY || section.type == SHT_PREINIT_ARRAY ||
        section.type == SHT_FINI_ARRAY || section.name.starts_with(".ctors"))
      count += object->relocations(section.index).size();
  return count;
}

}  // namespace

Linker::Linker(const LinkInput& input) : input_(input), versions_(*input.shipped) {}

void Linker::refuse(std::string_view function, std::string_view section, std::string reason) {
  for (const auto& known : output_.refused)
    if (known.function == function && known.reason == reason) return;
  output_.refused.push_back({std::string(function), std::string(section), std::move(reason)});
}

Status Linker::open_units() {
  for (const Unit& unit : input_.units) {
    if (!unit.patched) continue;
    UnitState state;
    state.unit = &unit;
    state.model = std::make_unique<match::ObjectModel>(*unit.patched);
    if (unit.original) {
      TRY(state.map, input_.matcher->match_object(*unit.original, unit.source_file));
    }
    index_unwind(state);
    for (const auto& refusal : unit.diff.refused) output_.refused.push_back(refusal);
    check_constructors(state);
    check_thread_local_constructors(state);
    units_.push_back(std::move(state));
  }
  return ok_status();
}

void Linker::check_constructors(const UnitState& state) {
  if (constructors(state.unit->patched) > constructors(state.unit->original))
    refuse("", ".init_array",
           fmt::format("{}: the fix adds a constructor or destructor of the library, which never "
                       "runs again in a process; use a LIVECARE_PRE_SWITCH hook",
                       state.unit->source_file));
}

void Linker::assign_roles(uint32_t index) {
  UnitState& state = units_[index];
  const auto& model = *state.model;
  auto assign = [&](uint32_t symbol, Role role) {
    if (!symbol || symbol >= state.unit->patched->symbols().size()) return;
    const uint32_t node = model.node_of_symbol(symbol);
    if (node == match::no_node) return;
    state.roles.emplace(node, role);
    if (role == Role::new_thing && model.nodes()[node].global && model.nodes()[node].section)
      new_globals_.emplace(model.nodes()[node].name, std::make_pair(index, node));
  };
  const objdiff::Diff& diff = state.unit->diff;
  for (const auto& function : diff.changed_functions) {
    assign(function.patched_symbol, Role::changed_function);
    for (uint32_t part : function.patched_parts) assign(part, Role::part);
  }
  for (const auto& function : diff.new_functions) {
    assign(function.patched_symbol, Role::new_thing);
    for (uint32_t part : function.patched_parts) assign(part, Role::part);
  }
  for (const auto& variable : diff.new_data) assign(variable.patched_symbol, Role::new_thing);
  for (const auto& variable : diff.changed_data)
    if (variable.kind == objdiff::DataKind::read_only)  // else: kept by the author's policy
      assign(variable.patched_symbol, Role::changed_data);
  // A file that the fix adds is new from end to end.
  if (!state.unit->original)
    for (uint32_t node = 0; node < model.nodes().size(); ++node)
      if (model.nodes()[node].section) assign(model.nodes()[node].symbols.front(), Role::new_thing);
}

void Linker::add_hooks(uint32_t index) {
  const elf::Image& object = *units_[index].unit->patched;
  for (const auto& section : object.sections()) {
    for (const HookSection& known : hook_sections) {
      if (section.name != known.name) continue;
      for (const auto& relocation : object.relocations(section.index)) {
        const auto target = units_[index].model->target(relocation, relocation.addend);
        if (relocation.type != R_X86_64_64 || target.what != match::Target::What::node ||
            target.offset != 0 || !units_[index].model->nodes()[target.node].section) {
          refuse("", section.name, "a hook must be a function of the same source file");
          continue;
        }
        const Decision decision = decide(index, target.node);
        const std::string& name = units_[index].model->nodes()[target.node].name;
        if (decision.atom)
          hooks_.push_back({{known.when, name, 0}, *decision.atom, decision.atom_offset});
        else if (!decision.refused)
          refuse(name, section.name, "a hook must be new: the target has a function of that name");
      }
    }
  }
}

Result<LinkOutput> Linker::run() {
  TRY_STATUS(open_units());
  auto& object = output_.object;
  object.build_id = input_.shipped->build_id();
  if (object.build_id.empty())
    return make_error(ErrorCode::unsupported, input_.shipped->name(),
                      "has no build-ID, by which a running process could be recognised");
  object.soname = input_.shipped->soname();
  if (object.soname.empty())
    object.soname = std::filesystem::path(input_.shipped->name()).filename().string();
  object.package = input_.package;

  for (uint32_t unit = 0; unit < units_.size(); ++unit) assign_roles(unit);
  for (uint32_t unit = 0; unit < units_.size(); ++unit) {
    for (const auto& function : units_[unit].unit->diff.changed_functions)
      patch_function(unit, function);
    add_hooks(unit);
  }
  collect();
  const size_t entries = fdes_.size();
  const uint32_t eh_frame = build_eh_frame();
  collect();
  LIVECARE_ASSERT(fdes_.size() == entries);  // exception tables reach data only
  adapt_exception_tables();
  keep_for_destructors();
  check_jumps_into_entries();
  lay_out();
  apply();
  describe();
  if (atoms_[eh_frame].size) {
    object.eh_frame_offset = atoms_[eh_frame].image_offset;
    object.eh_frame_size = atoms_[eh_frame].size;
  }
  log(LogLevel::debug, "{}: {} functions replaced, image of {} bytes, {} symbols, {} relocations",
      object.soname, object.functions.size(), object.image_size, object.symbols.size(),
      object.relocations.size());
  return std::move(output_);
}

Result<LinkOutput> link(const LinkInput& input) {
  if (!input.shipped || !input.matcher)
    return make_error(ErrorCode::internal, "link", "needs the shipped file and its matcher");
  return Linker(input).run();
}

}  // namespace livecare::builder
