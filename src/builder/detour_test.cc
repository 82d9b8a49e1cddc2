#include "builder/detour.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>

#include "builder/link_test_engine.h"

namespace livecare::builder {
namespace {

// Runs a detour: the instruction's own field held `value`, and what is far away is `far`. The code
// before and behind the instruction is the test's.
class Runner {
 public:
  Runner()
      : memory_(static_cast<uint8_t*>(mmap(nullptr, size, PROT_READ | PROT_WRITE | PROT_EXEC,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {}
  ~Runner() { munmap(memory_, size); }

  uint64_t run(Bytes before, const Bytes& instruction, uint64_t field, const Bytes& behind,
               Far kind, int64_t far, int32_t value, uint64_t first, uint64_t second = 0) {
    auto made = detour(instruction, field, kind);
    EXPECT_TRUE(made.has_value());
    if (!made) return 0;
    Bytes code = std::move(before);
    const uint64_t start = code.size();
    code.insert(code.end(), made->code.begin(), made->code.end());
    const uint64_t end = code.size();
    code.insert(code.end(), behind.begin(), behind.end());
    code.push_back(0xc3);
    constexpr uint64_t word_at = 2048;
    if (kind == Far::address) {
      std::memcpy(memory_ + word_at, &far, sizeof far);
      store_le(code, start + made->word, static_cast<int32_t>(word_at - (start + made->word + 4)));
    } else {
      uint8_t* word = new_tls_block + sizeof new_tls_block - sizeof far;
      std::memcpy(word, &far, sizeof far);
      const auto thread = reinterpret_cast<int64_t>(__builtin_thread_pointer());
      store_le(code, start + made->word,
               static_cast<int32_t>(reinterpret_cast<int64_t>(word) - thread));
    }
    store_le(code, start + made->value, value);
    if (made->back)
      store_le(code, start + *made->back, static_cast<int32_t>(end - (start + *made->back + 4)));
    std::memcpy(memory_, code.data(), code.size());
    uint64_t result = 0;
    auto function = reinterpret_cast<uint64_t (*)(uint64_t, uint64_t)>(memory_);
    result = function(first, second);
    return result;
  }

 private:
  static constexpr size_t size = 4096;
  uint8_t* memory_;
};

uint64_t address_of(const void* object) {
  return reinterpret_cast<uint64_t>(object);
}

uint64_t numbers[4] = {11, 22, 33, 44};

TEST(Detour, AVariableThatIsFarAway) {
  Runner runner;
  const auto far = static_cast<int64_t>(address_of(numbers));
  // mov 8+far(%rip), %rax
  EXPECT_EQ(runner.run({}, {0x48, 0x8b, 0x05, 0, 0, 0, 0}, 3, {}, Far::address, far, 8, 0), 22u);
  // movq $77, far(%rip): the constant behind the field stays
  runner.run({}, {0x48, 0xc7, 0x05, 0, 0, 0, 0, 77, 0, 0, 0}, 3, {}, Far::address, far, 24, 0);
  EXPECT_EQ(numbers[3], 77u);
  // mov far(,%rsi,8), %rax
  EXPECT_EQ(runner.run({}, {0x48, 0x8b, 0x04, 0xf5, 0, 0, 0, 0}, 4, {}, Far::address, far, 0, 0, 2),
            33u);
  // mov $far+8, %eax and %r10d; mov %r10, %rax
  EXPECT_EQ(runner.run({}, {0xb8, 0, 0, 0, 0}, 1, {}, Far::address, far, 8, 0),
            address_of(numbers + 1));
  EXPECT_EQ(
      runner.run({}, {0x41, 0xba, 0, 0, 0, 0}, 2, {0x4c, 0x89, 0xd0}, Far::address, far, 8, 0),
      address_of(numbers + 1));
}

TEST(Detour, ADistanceIsAddedWhicheverRegisterHoldsTheBase) {
  Runner runner;
  uint64_t base = 0;
  const auto far = static_cast<int64_t>(address_of(numbers) - address_of(&base));
  // mov 8(%rdi), %rax; mov 8(%rdi,%rsi,8), %rax; mov 8(%rsi,%rdi), %rax
  EXPECT_EQ(runner.run({}, {0x48, 0x8b, 0x87, 0, 0, 0, 0}, 3, {}, Far::distance, far, 8,
                       address_of(&base)),
            22u);
  EXPECT_EQ(runner.run({}, {0x48, 0x8b, 0x84, 0xf7, 0, 0, 0, 0}, 4, {}, Far::distance, far, 8,
                       address_of(&base), 1),
            33u);
  EXPECT_EQ(runner.run({}, {0x48, 0x8b, 0x84, 0x3e, 0, 0, 0, 0}, 4, {}, Far::distance, far, 0,
                       address_of(&base), 16),
            33u);
  // mov %rdi, %r12 (saved in %rdx); mov 8(%r12), %rax: a base that needs a longer encoding
  EXPECT_EQ(runner.run({0x4c, 0x89, 0xe2, 0x49, 0x89, 0xfc}, {0x49, 0x8b, 0x84, 0x24, 0, 0, 0, 0},
                       4, {0x49, 0x89, 0xd4}, Far::distance, far, 8, address_of(&base)),
            22u);
  // lea 8(%rdi), %rax; add $8, %rdi; mov %rdi, %rax; mov $8, %rax; add %rdi, %rax
  EXPECT_EQ(runner.run({}, {0x48, 0x8d, 0x87, 0, 0, 0, 0}, 3, {}, Far::distance, far, 8,
                       address_of(&base)),
            address_of(numbers + 1));
  EXPECT_EQ(runner.run({}, {0x48, 0x81, 0xc7, 0, 0, 0, 0}, 3, {0x48, 0x89, 0xf8}, Far::distance,
                       far, 8, address_of(&base)),
            address_of(numbers + 1));
  EXPECT_EQ(runner.run({}, {0x48, 0xc7, 0xc0, 0, 0, 0, 0}, 3, {0x48, 0x01, 0xf8}, Far::distance,
                       far, 8, address_of(&base)),
            address_of(numbers + 1));
}

TEST(Detour, FlagsAndOtherPrefixes) {
  Runner runner;
  uint64_t base = 0;
  const auto far = static_cast<int64_t>(address_of(numbers) - address_of(&base));
  // xor %eax, %eax; cmp %rsi, %rsi; mov 0(%rdi), %rcx; sete %al
  EXPECT_EQ(runner.run({0x31, 0xc0, 0x48, 0x39, 0xf6}, {0x48, 0x8b, 0x8f, 0, 0, 0, 0}, 3,
                       {0x0f, 0x94, 0xc0}, Far::distance, far, 0, address_of(&base)),
            1u);
  // movq 8(%rdi), %xmm0; movq %xmm0, %rax
  EXPECT_EQ(runner.run({}, {0xf3, 0x0f, 0x7e, 0x87, 0, 0, 0, 0}, 4, {0x66, 0x48, 0x0f, 0x7e, 0xc0},
                       Far::distance, far, 8, address_of(&base)),
            22u);
  // lock addq $5, 0(%rdi): its own flags come out; setne %al behind xor of nothing
  runner.run({}, {0xf0, 0x48, 0x83, 0x87, 0, 0, 0, 0, 5}, 4, {}, Far::distance, far, 0,
             address_of(&base));
  EXPECT_EQ(numbers[0], 16u);
  numbers[0] = 11;
}

uint64_t thirty(uint64_t first) {
  return first + 30;
}

TEST(Detour, CallsThroughAPointerThatIsFarAway) {
  uint64_t (*pointer)(uint64_t) = thirty;
  const auto far = static_cast<int64_t>(address_of(&pointer));
  auto made = detour(Bytes{0xff, 0x15, 0, 0, 0, 0}, 2, Far::address);
  ASSERT_TRUE(made.has_value());
  EXPECT_TRUE(made->call);
  EXPECT_FALSE(made->back.has_value());
  Runner runner;
  // jmp *far(%rip)
  EXPECT_EQ(runner.run({}, {0xff, 0x25, 0, 0, 0, 0}, 2, {}, Far::address, far, 0, 12), 42u);
}

TEST(Detour, RefusesWhatWorksWithTheStack) {
  EXPECT_FALSE(detour(Bytes{0xff, 0x35, 0, 0, 0, 0}, 2, Far::address));               // push
  EXPECT_FALSE(detour(Bytes{0x48, 0x89, 0x25, 0, 0, 0, 0}, 3, Far::address));         // mov %rsp, x
  EXPECT_FALSE(detour(Bytes{0x64, 0x48, 0x8b, 0x87, 0, 0, 0, 0}, 4, Far::distance));  // %fs:
  EXPECT_FALSE(detour(Bytes{0x48, 0x8b, 0x47, 8}, 3, Far::distance));                 // one byte
  EXPECT_FALSE(detour(Bytes{0x48, 0x3d, 0, 0, 0, 0}, 2, Far::distance));  // cmp $x, %rax
}

}  // namespace
}  // namespace livecare::builder
