#include "engine/changes.h"

#include "engine/images.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;
using remote::RemoteRange;

const ControlFunction* function_at(const Control* image, uint64_t jump_address) {
  if (image == nullptr) return nullptr;
  for (const ControlFunction& function : image->functions)
    if (function.jump_address == jump_address) return &function;
  return nullptr;
}

std::vector<RemoteRange> shipped_code(const ControlFunction& function) {
  std::vector<RemoteRange> ranges;
  for (const patchfmt::Range& range : function.ranges)
    ranges.push_back({RemoteAddress(range.address), range.size});
  return ranges;
}

// All of it: which part of it a function calls cannot be seen from its header.
std::vector<RemoteRange> image_code(const Control& image) {
  return {{RemoteAddress(image.text.address), image.text.size}};
}

std::vector<RemoteRange> code_without(const ControlFunction& function, const Control* replaced) {
  bool older = function_at(replaced, function.jump_address) != nullptr;
  return older ? image_code(*replaced) : shipped_code(function);
}

ByteChange change_of(const Control& image, const ControlFunction& function) {
  ByteChange change;
  change.at = RemoteAddress(function.jump_address);
  change.function = function.name;
  change.object = image.soname;
  return change;
}

// The bytes at a function before `image` was switched to.
Bytes bytes_without(const ControlFunction& function, const Control* replaced) {
  const ControlFunction* older = function_at(replaced, function.jump_address);
  return older != nullptr ? jump_bytes(*older) : function.original;
}

void occupy_shipped(Transition& transition, const Control& image) {
  for (const ControlFunction& function : image.functions) {
    for (const patchfmt::Range& range : function.ranges) {
      OccupiedRange occupied;
      occupied.range = RemoteRange{RemoteAddress(range.address), range.size};
      occupied.function = function.name;
      // Does the jump lie in it? Then it is the part that begins with the entry.
      occupied.has_entry = function.jump_address - range.address < range.size;
      transition.occupied.push_back(std::move(occupied));
    }
  }
}

void occupy_image(Transition& transition, const Control& image) {
  transition.occupied.push_back({RemoteRange{RemoteAddress(image.text.address), image.text.size},
                                 "level " + std::to_string(image.level) + " of " + image.soname});
}

}  // namespace

void add_switch(Transition& transition, const Control& image, const Control* replaced) {
  RemoteAddress region(image.region.address);
  transition.begin.push_back({region, State::switching});
  // All that go live come before all that retire: see mend.cc.
  transition.end.insert(transition.end.begin(), {region, State::live});
  for (const ControlFunction& function : image.functions) {
    ByteChange change = change_of(image, function);
    change.before = {bytes_without(function, replaced)};
    change.after = jump_bytes(function);
    change.old_code = code_without(function, replaced);
    change.new_code = image_code(image);
    transition.bytes.push_back(std::move(change));
  }
  occupy_shipped(transition, image);
  if (replaced == nullptr) return;
  transition.end.push_back({RemoteAddress(replaced->region.address), State::kept});
  occupy_image(transition, *replaced);
  for (const ControlFunction& older : replaced->functions) {
    if (function_at(&image, older.jump_address) != nullptr) continue;
    ByteChange change = change_of(*replaced, older);
    change.before = {jump_bytes(older)};
    change.after = older.original;
    change.old_code = image_code(*replaced);
    change.new_code = shipped_code(older);
    transition.bytes.push_back(std::move(change));
  }
  for (const patchfmt::KeptData& kept : image.kept_data)
    for (const patchfmt::KeptData& older : replaced->kept_data)
      if (kept.name == older.name && kept.size == older.size)
        transition.copies.push_back({RemoteAddress(replaced->image + older.offset),
                                     RemoteAddress(image.image + kept.offset), kept.size});
}

void add_undo(Transition& transition, const Control& image) {
  RemoteAddress region(image.region.address);
  transition.begin.push_back({region, State::undoing});
  transition.end.push_back({region, State::kept});
  for (const ControlFunction& function : image.functions) {
    ByteChange change = change_of(image, function);
    change.before = {jump_bytes(function)};
    change.after = function.original;
    change.old_code = image_code(image);
    change.new_code = shipped_code(function);
    transition.bytes.push_back(std::move(change));
  }
  occupy_image(transition, image);
}

void add_rollback(Transition& transition, const Control& image, const Control* replaced) {
  transition.end.push_back({RemoteAddress(image.region.address), State::kept});
  for (const ControlFunction& function : image.functions) {
    ByteChange change = change_of(image, function);
    change.after = bytes_without(function, replaced);
    change.before = {jump_bytes(function), change.after};
    change.old_code = image_code(image);
    change.new_code = code_without(function, replaced);
    transition.bytes.push_back(std::move(change));
  }
  occupy_image(transition, image);
  if (replaced == nullptr) return;
  for (const ControlFunction& older : replaced->functions) {
    if (function_at(&image, older.jump_address) != nullptr) continue;
    ByteChange change = change_of(*replaced, older);
    change.after = jump_bytes(older);
    change.before = {older.original, change.after};
    change.old_code = shipped_code(older);
    change.new_code = image_code(*replaced);
    transition.bytes.push_back(std::move(change));
  }
}

void add_finished_undo(Transition& transition, const Control& image) {
  add_undo(transition, image);
  for (size_t i = transition.bytes.size() - image.functions.size(); i < transition.bytes.size();
       ++i)
    transition.bytes[i].before.push_back(transition.bytes[i].after);
}

}  // namespace livecare::engine
