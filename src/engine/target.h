// What the engine knows about a process before it does something: a snapshot, taken while the
// process runs and compared with the live bytes when it counts.
#pragma once

#include <memory>
#include <optional>

#include "engine/images.h"
#include "remote/loaded.h"
#include "remote/maps.h"
#include "remote/memory.h"
#include "remote/unwind.h"

namespace livecare::engine {

// What frames in patch images are called: "livecare:libcurl.so.4".
inline constexpr std::string_view image_name_prefix = "livecare:";

class Target {
 public:
  static Result<Target> open(pid_t pid);
  // Reads maps, objects and images anew (after something was mended, or a library was loaded).
  Status refresh();

  pid_t pid() const { return memory_->pid(); }
  const remote::Memory& memory() const { return *memory_; }
  const remote::Maps& maps() const { return maps_; }
  const remote::Loaded& loaded() const { return *loaded_; }
  const FoundImages& images() const { return images_; }

  // The object of that load bias and build-ID; nullptr when it is not loaded any more.
  const remote::LoadedObject* object_of(const Control& control) const;
  // Knows the code of every image of the snapshot. Made on first use, which takes milliseconds.
  Result<remote::Unwinder*> unwinder();

 private:
  explicit Target(remote::Memory memory)
      : memory_(std::make_unique<remote::Memory>(std::move(memory))) {}

  std::unique_ptr<remote::Memory> memory_;  // never moves: loaded_ refers to it
  remote::Maps maps_;
  std::optional<remote::Loaded> loaded_;
  FoundImages images_;
  std::optional<remote::Unwinder> unwinder_;
};

}  // namespace livecare::engine
