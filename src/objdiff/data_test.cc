#include "objdiff/compiled_pair.h"

namespace livecare::objdiff {
namespace {

class Data : public CompiledPair {};
INSTANTIATE_TEST_SUITE_P(Compilers, Data, testing::ValuesIn(all_toolchains()), toolchain_name);

TEST_P(Data, NewVariables) {
  Diff diff = diff_c(R"(
    int g(int);
    #ifdef FIX
    static int zeroed; static int set = 4; int shared; static const int table[] = {4, 5, 6};
    static __thread int mine; static __thread int ours = 3;
    int f(int x) { zeroed += x; set -= x; shared ^= x; mine += x; ours -= x; return g(table[x]); }
    int use(void) { return zeroed + set * shared + mine + ours; }
    int* addresses[] = {&zeroed, &set, &shared};
    #else
    int f(int x) { return g(x); }
    #endif
    )");
  EXPECT_EQ(names(diff.changed_functions), Strings{"f"});
  EXPECT_EQ(names(diff.new_data),
            (Strings{"addresses", "mine", "ours", "set", "shared", "table", "zeroed"}));
  EXPECT_EQ(refusals(diff), "");
  auto kind = [&](std::string_view name) {
    for (const Variable& variable : diff.new_data)
      if (variable.name == name) return variable.kind;
    return DataKind::writable;
  };
  EXPECT_EQ(kind("zeroed"), DataKind::zero_initialised);
  EXPECT_EQ(kind("set"), DataKind::writable);
  EXPECT_EQ(kind("table"), DataKind::read_only);
  EXPECT_EQ(kind("mine"), DataKind::thread_local_zero);
  EXPECT_EQ(kind("ours"), DataKind::thread_local_data);
}

constexpr const char* initialised = R"(
  #ifdef FIX
  int limit = 20;
  #else
  int limit = 10;
  #endif
  int f(int x) { return x < limit; } void set(int x) { limit = x; })";

TEST_P(Data, ChangedInitialValueIsRefused) {
  Diff diff = diff_c(initialised);
  expect_refused(diff, "limit", "LIVECARE_DATA_KEEP");
  EXPECT_EQ(names(diff.changed_functions), Strings{}) << reasons(diff);
}

TEST_P(Data, ChangedInitialValueWithAPolicy) {
  Options options;
  options.data_policies["limit"] = DataPolicy::keep_live_value;
  Diff diff = diff_c(initialised, {}, options);
  EXPECT_EQ(refusals(diff), "");
  ASSERT_EQ(names(diff.changed_data), Strings{"limit"});
  EXPECT_TRUE(diff.changed_data[0].kept);
}

TEST_P(Data, ChangedInitialValueWithThePolicyInTheSource) {
  Diff diff = diff_c(std::string(initialised) + R"(
    #ifdef FIX
    static const char keep[] __attribute__((section(".livecare.data_keep"), used)) = "limit";
    #endif
    )");
  EXPECT_EQ(refusals(diff), "");
  EXPECT_THAT(names(diff.changed_data), testing::Contains("limit"));
  EXPECT_EQ(names(diff.new_data), Strings{});
}

TEST_P(Data, ZeroToSomethingIsRefused) {
  expect_refused(diff_c(R"(
    #ifdef FIX
    static int limit = 1;
    #else
    static int limit;
    #endif
    int f(int x) { return x < limit; } void set(int x) { limit = x; })"),
                 "limit", "initial value");
}

TEST_P(Data, ChangedSizeIsRefused) {
  expect_refused(diff_c(R"(
    #ifdef FIX
    #define N 12
    #else
    #define N 10
    #endif
    static int slots[N]; int f(int x) { return slots[x]++; } int h(int x) { return slots[9 - x]; })"),
                 "slots", "size changed from 40 to 48");
}

TEST_P(Data, ChangedCommonSizeIsRefused) {
  expect_refused(diff_c(R"(
    #ifdef FIX
    #define N 12
    #else
    #define N 10
    #endif
    int slots[N]; int f(int x) { return slots[x]++; })",
                        {"-fcommon"}),
                 "slots", "size changed from 40 to 48");
}

TEST_P(Data, NewCommon) {
  Diff diff = diff_c(R"(
    int old;
    #ifdef FIX
    int fresh; int f(void) { return fresh++ + old++; }
    #else
    int f(void) { return old++; }
    #endif
    )",
                     {"-fcommon"});
  EXPECT_EQ(names(diff.changed_functions), Strings{"f"});
  EXPECT_EQ(names(diff.new_data), Strings{"fresh"});
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Data, ChangedAlignmentIsRefused) {
  if (!GetParam().sections) return;  // one section for all variables hides their alignment
  expect_refused(diff_c(R"(
    int g(void*);
    #ifdef FIX
    static char buffer[64] __attribute__((aligned(64)));
    int f(int x) { buffer[x]++; return g(buffer) + 1; }
    #else
    static char buffer[64] __attribute__((aligned(16)));
    int f(int x) { buffer[x]++; return g(buffer); }
    #endif
    )"),
                 "buffer", "alignment changed from");
}

TEST_P(Data, ReadOnlyTableChangesItsUsers) {
  Diff diff = diff_c(R"(
    #ifdef FIX
    static const int sizes[] = {1, 2, 4, 9};
    #else
    static const int sizes[] = {1, 2, 4, 8};
    #endif
    static const int others[] = {7, 6, 5, 4};
    int f(int x) { return sizes[x]; } int g(int x) { return sizes[x & 1] + others[x]; }
    int h(int x) { return others[x]; })");
  EXPECT_EQ(names(diff.changed_data), Strings{"sizes"});
  expect_changed(diff, {"f", "g"});
}

TEST_P(Data, ReadOnlyTableThroughPointers) {
  Diff diff = diff_c(R"(
    struct item { const char* name; int (*run)(int); const struct item* next; };
    static int one(int x) { return x + 1; } static int two(int x) { return x * 2; }
    #ifdef FIX
    static const struct item last = {"lasd", two, 0};
    #else
    static const struct item last = {"last", two, 0};
    #endif
    static const struct item first = {"first", one, &last};
    static const struct item* const list[] = {&first, &last};
    static const struct item alone = {"alone", one, 0};
    const struct item* get(int i) { return list[i]; }
    const struct item* lone(void) { return &alone; }
    int run(int x) { return first.run(x); })");
  // clang makes a table of its own of `list`.
  EXPECT_THAT(names(diff.changed_data), testing::IsSupersetOf({"first", "last"}));
  EXPECT_THAT(names(diff.changed_data), testing::Not(testing::Contains("alone")));
  EXPECT_THAT(names(diff.changed_functions), testing::Contains("get"));
  EXPECT_THAT(names(diff.changed_functions), testing::Not(testing::Contains("lone")));
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Data, CyclesOfReadOnlyTables) {
  std::string source = R"(
    struct node { const struct node* next; int value; };
    static const struct node b; static const struct node c;
    static const struct node a = {&b, 1};
    static const struct node b = {&c, 2};
    #ifdef FIX
    static const struct node c = {&a, 4};
    #else
    static const struct node c = {&a, 3};
    #endif
    static const struct node d; static const struct node e = {&d, 5};
    static const struct node d = {&e, 6};
    const struct node* f(void) { return &a; } const struct node* h(void) { return &d; })";
  Diff diff = diff_c(source);
  EXPECT_EQ(names(diff.changed_data), (Strings{"a", "b", "c"}));
  expect_changed(diff, {"f"});
}

TEST_P(Data, WritablePointerToAChangedTableIsRefused) {
  expect_refused(diff_c(R"(
    #ifdef FIX
    static const int sizes[] = {1, 2, 4, 9};
    #else
    static const int sizes[] = {1, 2, 4, 8};
    #endif
    const int* current = sizes; int f(int x) { return current[x]; })"),
                 "current", "initial value");
}

TEST_P(Data, WritablePointerToAnotherFunctionIsRefused) {
  expect_refused(diff_c(R"(
    int g(int); int one(int x) { return g(x) + 1; } int two(int x) { return g(x) + 2; }
    #ifdef FIX
    int (*hook)(int) = two;
    #else
    int (*hook)(int) = one;
    #endif
    )"),
                 "hook", "initial value");
}

TEST_P(Data, ThreadLocalInitialValueIsRefused) {
  expect_refused(diff_c(R"(
    #ifdef FIX
    __thread int level = 2;
    #else
    __thread int level = 1;
    #endif
    int f(void) { return level++; })"),
                 "level", "threads that run");
}

TEST_P(Data, ThreadLocalUnchanged) {
  expect_changed(diff_c(R"(
    static __thread int a = 1, b; __thread int c; extern __thread int d;
    #ifdef FIX
    int f(void) { return a++ + c + d; }
    #else
    int f(void) { return a++ + c - d; }
    #endif
    int h(void) { return b++ + c--; })"),
                 {"f"});
}

TEST_P(Data, ConstAdded) {
  Diff diff = diff_c(R"(
    int g(int);
    #ifdef FIX
    static const int sizes[] = {3, 2, 4, 8}; void set(int i) { g(i); }
    #else
    static int sizes[] = {3, 2, 4, 8}; void set(int i) { g(i); sizes[i] = 1; }
    #endif
    int f(int x) { return g(sizes[x]); })");
  EXPECT_EQ(refusals(diff), "");
  EXPECT_EQ(names(diff.changed_functions), (Strings{"f", "set"}));
  EXPECT_EQ(names(diff.new_data), Strings{"sizes"});
}

TEST_P(Data, MovedFromAnotherFileIsRefused) {
  expect_refused(diff_c(R"(
    #ifdef FIX
    int counter;
    #else
    extern int counter;
    #endif
    int f(void) { return counter++; })"),
                 "counter", "another file");
}

TEST_P(Data, RemovedDataIsFine) {
  Diff diff = diff_c(R"(
    int g(int);
    #ifdef FIX
    int f(int x) { return g(x); }
    #else
    static int count; static const int t[] = {5, 6, 2}; int f(int x) { return count += g(t[x]); }
    int h(void) { return count; }
    #endif
    #ifdef FIX
    int h(void) { return 0; }
    #endif
    )");
  EXPECT_EQ(names(diff.changed_functions), (Strings{"f", "h"}));
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Data, SectionSymbolsAgainstNamedSymbols) {
  // The same variable through its section in one object and through its name in the other.
  std::string source = R"(
    .text
    .globl f
    .type f,@function
    f: movl $7, here+4(%rip)
     cmpb $1, here+8(%rip)
     lea end(%rip),%rax
     ret
    .size f,.-f
    .data
    .type other,@object
    other: .quad 1
    .size other,8
    VISIBILITY
    .type here,@object
    here: .quad 1,2
    .size here,16
    .globl end
    .type end,@object
    end: .quad 3
    .size end,8
  )";
  std::string global = source;
  source.replace(source.find("VISIBILITY"), 10, "");
  global.replace(global.find("VISIBILITY"), 10, ".globl here");
  expect_nothing(diff_texts(source, global, ".s", {}, {}, {}));
  expect_nothing(diff_texts(global, source, ".s", {}, {}, {}));
  std::string changed = global;
  changed.replace(changed.find("here+4"), 6, "here+0");
  expect_changed(diff_texts(source, changed, ".s", {}, {}, {}), {"f"});
  changed = global;
  changed.replace(changed.find("here+8"), 6, "here+9");
  expect_changed(diff_texts(source, changed, ".s", {}, {}, {}), {"f"});
}

constexpr const char* labels = R"(
  int g(int);
  #ifdef FIX
  #define K 41
  #else
  #define K 40
  #endif
  int f(const char* p) {
    static QUALIFIER void* CONST table[] = {&&one, &&two, &&three};
    int sum = 0;
  next:
    sum += K; goto *table[*p++ & 3];
  one: sum = g(sum); goto next;
  two: sum += g(7); goto next;
  three: return sum; })";

TEST_P(Data, TableOfLabelsInAChangedFunction) {
  Diff diff = diff_c(labels, {"-DQUALIFIER=const", "-DCONST=const"});
  expect_changed(diff, {"f"});
  if (GetParam().is_gcc()) {
    EXPECT_THAT(names(diff.changed_data), testing::ElementsAre("table.0"));
  }
}

TEST_P(Data, WritableTableOfLabelsInAChangedFunctionIsRefused) {
  // A table that is never written is made constant by clang.
  std::string source = std::string(labels) + "\nvoid** leak;";
  source.replace(source.find("int sum = 0;"), 12, "extern void** leak; leak = table; int sum = 0;");
  Diff diff = diff_c(source, {"-DQUALIFIER=", "-DCONST="});
  EXPECT_THAT(refusals(diff), testing::HasSubstr("holds addresses inside f"));
}

TEST_P(Data, VariableMovedIntoAFunctionIsRefused) {
  Diff diff = diff_c(R"(
    int g(int);
    #ifdef FIX
    int f(int x) { static int state; state += g(x); return state; }
    #else
    static int state; int f(int x) { state += g(x); return state; }
    #endif
    )");
  EXPECT_THAT(refusals(diff), testing::HasSubstr("may be the original's state"));
}

TEST_P(Data, LocalAggregates) {
  expect_changed(diff_c(R"(
    void use(const int*); void use2(const char*);
    void f(void) { int t[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}; use(t); }
    #ifdef FIX
    #define LAST 14
    #else
    #define LAST 13
    #endif
    void g(void) { int t[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 3, 3, 3, 3, 3, 3, 9, 8, 7, 6, 5, 4, 3, LAST}; use(t); }
    void h(void) { char t[100] = "a text that is copied to the stack because it may be written"; use2(t); })"),
                 {"g"});
}

TEST_P(Data, OnePastTheEnd) {
  Diff diff = diff_c(R"(
    int between(const char*, const char*);
    #ifdef FIX
    #define END (sizeof text - 1)
    #else
    #define END (sizeof text)
    #endif
    int f(void) { static const char text[] = "abc"; return between(text, text + END); }
    int h(void) { return between("xyz", "abc"); })");
  EXPECT_EQ(names(diff.changed_functions), Strings{"f"});
}

TEST_P(Data, FunctionNamesAndPrettyFunctions) {
  Diff diff = diff_c(R"(
    void out(const char*);
    #ifdef FIX
    void added(void) { out(__func__); out(__PRETTY_FUNCTION__); }
    #endif
    void a(void) { out(__func__); } void b(void) { out(__func__); out(__FUNCTION__); })");
  EXPECT_EQ(names(diff.changed_functions), Strings{}) << reasons(diff);
  EXPECT_EQ(names(diff.new_functions), Strings{"added"});
  EXPECT_EQ(names(diff.new_data), Strings{});
  EXPECT_EQ(refusals(diff), "");
}

}  // namespace
}  // namespace livecare::objdiff
