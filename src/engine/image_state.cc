#include "engine/image_state.h"

#include "base/bytes.h"

namespace livecare::engine {

namespace {

remote::RemoteAddress state_at(remote::RemoteAddress region) {
  return region + static_cast<int64_t>(control_state_offset);
}

}  // namespace

Result<State> read_state(const remote::Memory& memory, remote::RemoteAddress region) {
  TRY(uint32_t state, memory.read_value(remote::RemotePtr<uint32_t>(state_at(region).address())));
  return static_cast<State>(state);
}

Status write_state(remote::Session& session, remote::RemoteAddress region, State state) {
  Bytes bytes;
  append_le(bytes, static_cast<uint32_t>(state));
  return session.write(state_at(region), bytes);
}

}  // namespace livecare::engine
