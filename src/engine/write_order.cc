// Which jump first?
//
// Everything is stopped while jumps are written, so the order matters to nobody, unless we are
// killed: then the process runs on with a part of them. An exported function is called by the ABI's
// convention, whoever calls it. But the compiler gives a function that only its own file calls
// whatever convention suits (.isra, .constprop, a parameter that the fix adds): a caller of the old
// version that meets the callee of the new one passes it garbage.
//
// All callers of such a function are changed too, so they are in the patchset. New code calls new
// code without a jump. What must not be met is shipped code that runs into a jump whose callee is
// new. So, with "f branches to the entry of g" read from the code itself:
//
//   code that f has before the switch branches to g:  f's jump is written before g's
//   code that f has after it branches to g:           g's before f's (an undo, where that is the
//                                                     shipped code; a level that goes back to it)
//
// When f's jump is written its old code can no longer be entered, and the stop has proved that
// nobody is in it. What was written at the time of the kill is thus never called by old code.
//
// Branches with a 32-bit distance are found by looking at every byte for call, jmp or jcc that ends
// exactly at an entry: bytes that only look like one add an order that nobody needs. Those with 8
// bits, to a neighbour, are decoded. A direct branch is the only way to a function of changed
// convention; compilers do not change that of a function whose address is taken.
//
// Cycles. Functions that call each other (or would have to be written before each other for the two
// reasons) have no order. They form a group, and those of a group that lie in one page are written
// by one write: the kernel copies a page as a whole, it looks for a pending kill between pages
// (__get_user_pages). What is left: a kill in the some hundred nanoseconds between two writes of a
// group whose members lie in different pages, and have changed conventions.
//
// Rejected: one write for everything (it would have to span the text from the first function to the
// last and is not atomic over more than a page either; process_vm_writev does not write to r-x
// pages); jumps through a cell for each function, all switched by one store (the displaced
// instructions of every function would have to be moved, and every call pays for it).
#include "engine/write_order.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "insn/decode.h"

namespace livecare::engine {
namespace {

using remote::RemoteAddress;
using remote::RemoteRange;

constexpr uint64_t endbr64_bytes = 4;
constexpr uint64_t code_bytes_max = uint64_t{64} << 20;  // of one range
constexpr uint8_t call_relative = 0xe8, jmp_relative = 0xe9, two_bytes = 0x0f;
constexpr uint8_t jcc_first = 0x80, jcc_last = 0x8f;

using Entries = std::unordered_map<uint64_t, size_t>;  // address to index

Entries entries_of(const std::vector<ByteChange>& bytes) {
  Entries entries;
  for (size_t i = 0; i < bytes.size(); ++i) {
    uint64_t at = bytes[i].at.address();
    entries[at] = i;
    entries.try_emplace(at - endbr64_bytes, i);
  }
  return entries;
}

void add_far_branches(ByteView code, uint64_t address, const Entries& entries,
                      std::vector<size_t>& found) {
  constexpr size_t displacement_bytes = 4;
  for (size_t at = 1; at + displacement_bytes <= code.size(); ++at) {
    uint8_t opcode = code.data()[at - 1];
    bool conditional =
        opcode >= jcc_first && opcode <= jcc_last && at >= 2 && code.data()[at - 2] == two_bytes;
    if (opcode != call_relative && opcode != jmp_relative && !conditional) continue;
    int64_t displacement = *code.read<int32_t>(at);
    auto entry =
        entries.find(address + at + displacement_bytes + static_cast<uint64_t>(displacement));
    if (entry != entries.end()) found.push_back(entry->second);
  }
}

void add_near_branches(ByteView code, uint64_t address, const Entries& entries,
                       std::vector<size_t>& found) {
  for (size_t at = 0; at < code.size();) {
    auto instruction = insn::decode(insn::Cpu::x86_64, *code.slice(at, code.size() - at));
    at += instruction ? instruction->length : 1;
    if (!instruction || instruction->pc_relative_width != 1) continue;
    auto entry = entries.find(address + at + static_cast<uint64_t>(instruction->displacement));
    if (entry != entries.end()) found.push_back(entry->second);
  }
}

std::vector<size_t> branches_in(ByteView code, uint64_t address, const Entries& entries) {
  std::vector<size_t> found;
  add_far_branches(code, address, entries, found);
  add_near_branches(code, address, entries, found);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

// Reads each range once: all functions of an image share its text.
class Branches {
 public:
  Branches(const remote::Memory& memory, const std::vector<ByteChange>& bytes)
      : memory_(memory), entries_(entries_of(bytes)) {}

  // `entry`: the bytes at the jump's place while this code runs.
  Result<const std::vector<size_t>*> in(const RemoteRange& range, RemoteAddress at,
                                        const Bytes& entry) {
    auto [known, is_new] = known_.try_emplace({range.start.address(), range.size});
    if (is_new && range.size <= code_bytes_max) {
      TRY(Bytes code, memory_.read(range.start, range.size));
      uint64_t offset = at.address() - range.start.address();
      if (offset < code.size() && entry.size() <= code.size() - offset)
        std::copy(entry.begin(), entry.end(), code.begin() + static_cast<int64_t>(offset));
      known->second = branches_in(code, range.start.address(), entries_);
    }
    return &known->second;
  }

 private:
  const remote::Memory& memory_;
  Entries entries_;
  std::map<std::pair<uint64_t, uint64_t>, std::vector<size_t>> known_;
};

// Tarjan's strongly connected components, without recursion. A component is complete when all that
// must come before it is.
class Components {
 public:
  explicit Components(const std::vector<std::vector<size_t>>& before)
      : before_(before), number_(before.size(), 0), low_(before.size(), 0) {
    out_.group.resize(before.size());
    for (size_t i = 0; i < before.size(); ++i)
      if (number_[i] == 0) visit(i);
  }
  WriteOrder take() { return std::move(out_); }

 private:
  struct Step {
    size_t node, next;
  };

  void open(size_t node) {
    number_[node] = low_[node] = ++count_;
    open_.push_back(node);
    path_.push_back({node, 0});
  }

  void visit(size_t first) {
    open(first);
    while (!path_.empty()) {
      auto [node, next] = path_.back();
      if (next < before_[node].size()) {
        ++path_.back().next;
        size_t other = before_[node][next];
        if (number_[other] == 0)
          open(other);
        else
          low_[node] = std::min(low_[node], number_[other]);  // closed ones are SIZE_MAX
        continue;
      }
      path_.pop_back();
      if (!path_.empty()) low_[path_.back().node] = std::min(low_[path_.back().node], low_[node]);
      if (low_[node] == number_[node]) close(node);
    }
  }

  void close(size_t node) {
    auto first = std::prev(std::find(open_.rbegin(), open_.rend(), node).base());
    std::sort(first, open_.end());
    for (auto member = first; member != open_.end(); ++member) {
      out_.order.push_back(*member);
      out_.group[*member] = groups_;
      number_[*member] = SIZE_MAX;
    }
    open_.erase(first, open_.end());
    ++groups_;
  }

  const std::vector<std::vector<size_t>>& before_;
  std::vector<size_t> number_, low_;
  std::vector<size_t> open_;
  std::vector<Step> path_;
  size_t count_ = 0;
  uint32_t groups_ = 0;
  WriteOrder out_;
};

}  // namespace

WriteOrder sort_by_constraints(const std::vector<std::vector<size_t>>& before) {
  return Components(before).take();
}

Status order_writes(const remote::Memory& memory, Transition& transition) {
  std::vector<ByteChange>& bytes = transition.bytes;
  std::sort(bytes.begin(), bytes.end(), [](const ByteChange& a, const ByteChange& b) {
    return a.at.address() < b.at.address();
  });
  Branches branches(memory, bytes);
  std::vector<std::vector<size_t>> before(bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (const RemoteRange& range : bytes[i].old_code) {
      TRY(const auto* called, branches.in(range, bytes[i].at, bytes[i].before.front()));
      for (size_t callee : *called)
        if (callee != i) before[callee].push_back(i);
    }
    for (const RemoteRange& range : bytes[i].new_code) {
      TRY(const auto* called, branches.in(range, bytes[i].at, bytes[i].after));
      for (size_t callee : *called)
        if (callee != i) before[i].push_back(callee);
    }
  }
  WriteOrder sorted = sort_by_constraints(before);
  std::vector<ByteChange> ordered;
  ordered.reserve(bytes.size());
  for (size_t index : sorted.order) {
    ordered.push_back(std::move(bytes[index]));
    ordered.back().group = sorted.group[index];
  }
  bytes = std::move(ordered);
  return ok_status();
}

}  // namespace livecare::engine
