#include "engine/plan.h"

#include <algorithm>
#include <array>

#include "engine/unwinder.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;

constexpr std::array<uint8_t, 4> endbr64 = {0xf3, 0x0f, 0x1e, 0xfa};
constexpr uint8_t int3 = 0xcc;

// Offset of the jump in a function: behind the endbr64, which indirect calls under CET must find.
uint64_t jump_offset(ByteView entry) {
  auto head = entry.slice(0, endbr64.size());
  return head && std::equal(head->begin(), head->end(), endbr64.begin()) ? endbr64.size() : 0;
}

Result<ControlFunction> plan_function(const patchfmt::FunctionPatch& patch, uint64_t bias,
                                      std::string_view object) {
  uint64_t at = jump_offset(patch.entry_bytes);
  auto original = ByteView(patch.entry_bytes).slice(at, jump_instruction_bytes);
  if (!original || at + jump_instruction_bytes > patch.size)
    return make_error(ErrorCode::refused, object,
                      "function {} is {} bytes long, too short for a jump of {}", patch.name,
                      patch.size, at + jump_instruction_bytes);
  ControlFunction function;
  function.name = patch.name;
  function.jump_address = bias + patch.address + at;
  function.original = original->copy();
  function.new_address = patch.new_offset;
  function.new_size = patch.new_size;
  for (const patchfmt::Range& range : patch.ranges)
    function.ranges.push_back({bias + range.address, range.size});
  return function;
}

// What the process must have at the entry now: the shipped bytes, under the jump of our own level.
Bytes expected_entry(const patchfmt::FunctionPatch& patch, const ControlFunction& function,
                     const std::optional<Control>& current) {
  Bytes expected = patch.entry_bytes;
  if (!current) return expected;
  for (const ControlFunction& live : current->functions) {
    if (live.jump_address != function.jump_address) continue;
    Bytes jump = jump_bytes(live);
    std::copy(jump.begin(), jump.end(),
              expected.begin() + static_cast<int64_t>(jump_offset(patch.entry_bytes)));
  }
  return expected;
}

Status compare_entry(const remote::Memory& memory, const patchfmt::FunctionPatch& patch,
                     const Bytes& expected, uint64_t address, std::string_view object) {
  TRY(Bytes live, memory.read(RemoteAddress(address), expected.size()));
  auto [want, have] = std::mismatch(expected.begin(), expected.end(), live.begin());
  if (have == live.end()) return ok_status();
  auto at = address + static_cast<uint64_t>(have - live.begin());
  if (*have == int3)
    return make_error(ErrorCode::conflict, object,
                      "a breakpoint or uprobe lies on function {} at {:#x}; remove it first",
                      patch.name, at);
  return make_error(ErrorCode::conflict, object,
                    "function {} at {:#x} does not begin with its shipped bytes ({:02x} instead of "
                    "{:02x} at {:#x}): another patcher or hook has it",
                    patch.name, address, *have, *want, at);
}

bool same_identity(const Control& image, const patchfmt::Object& patch,
                   const patchfmt::Patchset& patchset) {
  return image.build_id == patch.build_id && image.patchset == patchset.name &&
         image.level == patchset.level && image.text.size == patch.text.size &&
         image.rodata.size == patch.rodata.size && image.data.size == patch.data.size;
}

// A level replaces all of a lower one. Of two with the same number neither holds the other.
Status check_level(const Control& current, const patchfmt::Object& patch,
                   const patchfmt::Patchset& patchset) {
  const std::string& object = patch.soname;
  if (current.level > patchset.level)
    return make_error(ErrorCode::conflict, object,
                      "level {} ({}) is in memory, which is higher than level {}; unpatch first to "
                      "go back",
                      current.level, current.patchset, patchset.level);
  if (current.level < patchset.level || same_identity(current, patch, patchset)) return ok_status();
  bool renamed = current.patchset != patchset.name;
  return make_error(ErrorCode::conflict, object,
                    "level {} in memory is {}, not {}{}; unpatch it first, or build one patchset "
                    "of a higher level that holds both",
                    current.level, current.patchset, patchset.name,
                    renamed ? "" : " as this file has it");
}

class Planner {
 public:
  Planner(const Target& target, const patchfmt::Patchset& patchset)
      : target_(target), patchset_(patchset) {}

  Result<Plan> run() {
    for (const Error& damaged : target_.images().damaged) return damaged;
    Plan plan;
    bool found = false;
    for (const patchfmt::Object& patch : patchset_.objects) {
      for (const remote::LoadedObject& object : target_.loaded().objects()) {
        if (object.build_id != patch.build_id) continue;
        found = true;
        TRY(auto planned, plan_object(patch, object));
        if (planned) plan.objects.push_back(std::move(*planned));
      }
    }
    for (const PlannedObject& planned : plan.objects)
      if (planned.patch->eh_frame_size != 0) TRY_STATUS(check_unwinders(target_));
    if (plan.objects.empty())
      plan.nothing_to_do =
          found ? fmt::format("level {} ({}) is in memory already", patchset_.level, patchset_.name)
                : "the process has loaded no object of this patchset";
    return plan;
  }

 private:
  // Empty: this level is live there already.
  Result<std::optional<PlannedObject>> plan_object(const patchfmt::Object& patch,
                                                   const remote::LoadedObject& object) {
    if (patch.cpu != patchfmt::Cpu::x86_64)
      return make_error(ErrorCode::unsupported, patch.soname,
                        "the patch is for another CPU than this machine's");
    PlannedObject planned;
    planned.patch = &patch;
    planned.object = object;
    for (const Control& image : target_.images().images) {
      if (image.target_bias != object.bias || image.build_id != object.build_id) continue;
      if (image.state == State::live) planned.current = image;
      if (image.state == State::kept && same_identity(image, patch, patchset_))
        planned.kept.push_back(image);
    }
    if (planned.current) {
      TRY_STATUS(check_level(*planned.current, patch, patchset_));
      if (planned.current->level == patchset_.level) return std::optional<PlannedObject>();
    }
    for (const patchfmt::FunctionPatch& function : patch.functions) {
      TRY(ControlFunction made, plan_function(function, object.bias, patch.soname));
      Bytes expected = expected_entry(function, made, planned.current);
      TRY_STATUS(compare_entry(target_.memory(), function, expected, object.bias + function.address,
                               patch.soname));
      planned.functions.push_back(std::move(made));
    }
    TRY(planned.resolution, resolve(target_, object, patch));
    return std::optional(std::move(planned));
  }

  const Target& target_;
  const patchfmt::Patchset& patchset_;
};

}  // namespace

Result<Plan> make_plan(const Target& target, const patchfmt::Patchset& patchset) {
  return Planner(target, patchset).run();
}

}  // namespace livecare::engine
