#include "engine/target.h"

namespace livecare::engine {
namespace {

remote::RemoteRange range_of(const ControlPart& part) {
  return {remote::RemoteAddress(part.address), part.size};
}

std::optional<remote::UnwindInfo> unwind_info(const remote::Memory& memory,
                                              const Control& control) {
  remote::UnwindInfo info;
  info.name = std::string(image_name_prefix) + control.soname;
  info.code = range_of(control.text);
  if (control.eh_frame_size == 0) return std::nullopt;
  info.eh_frame_at = remote::RemoteAddress(control.eh_frame);
  auto bytes = memory.read(info.eh_frame_at, control.eh_frame_size);
  if (!bytes.ok()) return std::nullopt;
  info.eh_frame = std::move(*bytes);
  for (const patchfmt::ImageSymbol& symbol : control.code)
    info.symbols.push_back(
        {symbol.name, remote::RemoteAddress(control.image + symbol.offset), symbol.size});
  return info;
}

}  // namespace

Result<Target> Target::open(pid_t pid) {
  TRY(remote::Memory memory, remote::Memory::open(pid));
  Target target(std::move(memory));
  TRY_STATUS(target.refresh());
  return target;
}

Status Target::refresh() {
  unwinder_.reset();
  TRY(maps_, remote::Maps::read(pid()));
  TRY(remote::Loaded loaded, remote::Loaded::read(*memory_, maps_));
  loaded_.emplace(std::move(loaded));
  TRY(images_, find_images(*memory_, maps_));
  return ok_status();
}

const remote::LoadedObject* Target::object_of(const Control& control) const {
  for (const remote::LoadedObject& object : loaded_->objects())
    if (object.bias == control.target_bias && object.build_id == control.build_id) return &object;
  return nullptr;
}

Result<remote::Unwinder*> Target::unwinder() {
  if (!unwinder_) {
    std::vector<remote::UnwindInfo> extra;
    for (const Control& control : images_.images)
      if (auto info = unwind_info(*memory_, control)) extra.push_back(std::move(*info));
    TRY(remote::Unwinder made, remote::Unwinder::make(*memory_, *loaded_, extra));
    unwinder_.emplace(std::move(made));
  }
  return &*unwinder_;
}

}  // namespace livecare::engine
