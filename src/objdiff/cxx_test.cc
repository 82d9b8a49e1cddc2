// C++: exception tables, virtual tables, templates and lambdas.
#include "objdiff/compiled_pair.h"

namespace livecare::objdiff {
namespace {

class Cxx : public CompiledPair {};
INSTANTIATE_TEST_SUITE_P(Compilers, Cxx, testing::ValuesIn(all_toolchains()), toolchain_name);

constexpr const char* throwing = R"(
  #include <stdexcept>
  #include <string>
  int g(int); struct guard { guard(); ~guard(); };
  int f(int x) {
    try { g(x); }
  #ifdef TYPE
    catch (const std::logic_error&) { return g(1); }
  #else
    catch (const std::runtime_error&) { return g(1); }
  #endif
    return g(x + 1); }
  int h(int x) { guard one; try { return g(x); } catch (int value) { return value; } }
  #ifdef FIX
  int added(int x) { guard two; try { return g(x); } catch (const char*) { throw std::string("no"); } }
  #endif
  int k(int x) { guard three; return g(x) + 1; })";

TEST_P(Cxx, ExceptionTablesOfOthersDoNotDisturb) {
  Diff diff = diff_cxx(throwing);
  EXPECT_EQ(names(diff.changed_functions), Strings{}) << reasons(diff);
  EXPECT_THAT(names(diff.new_functions), testing::Contains("_Z5addedi"));
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Cxx, CaughtTypeIsPartOfTheFunction) {
  // The code is the same; only the exception table says what is caught.
  Diff diff = diff_texts(throwing, throwing, ".cc", {}, {}, {"-DTYPE"});
  expect_changed(diff, {"_Z1fi"});
}

TEST_P(Cxx, LandingPadChanged) {
  const char* source = R"(
    int g(int); void log(int);
    #ifdef FIX
    #define CODE 8
    #else
    #define CODE 7
    #endif
    int f(int x) { try { return g(x); } catch (...) { log(CODE); return -1; } }
    int h(int x) { try { return g(x) + 1; } catch (...) { log(3); return -1; } })";
  expect_changed(diff_cxx(source), {"_Z1fi"});
}

TEST_P(Cxx, TryBlockWithTheSameCode) {
  const char* source = R"(
    int g(int);
    #ifdef FIX
    int f(int x) noexcept { return g(x) + 1; }
    #else
    int f(int x) { return g(x) + 1; }
    #endif
    int h(int x) noexcept { return g(x) + 2; })";
  Diff diff = diff_cxx(source);
  EXPECT_EQ(names(diff.changed_functions), Strings{"_Z1fi"}) << reasons(diff);
}

constexpr const char* classes = R"(
  int g(int);
  struct base { virtual ~base() = default; virtual int run(int x) { return g(x); } };
  struct derived : base { int run(int x) override { return g(x) + STEP; }
  #ifdef MORE
    virtual int more(int x) { return g(x) * 2; }
  #endif
  };
  base* make(bool d) { return d ? new derived : new base; }
  int use(base* b) { return b->run(4); }
  #ifdef FIX
  struct fresh : base { int run(int x) override { return g(x) - 4; } };
  base* make_fresh() { return new fresh; }
  #endif
)";

TEST_P(Cxx, VirtualFunctionChanged) {
  expect_changed(diff_texts(classes, classes, ".cc", {"-DSTEP=1"}, {}, {"-USTEP", "-DSTEP=2"}),
                 {"_ZN7derived3runEi"});
}

TEST_P(Cxx, NewClass) {
  Diff diff = diff_cxx(classes, {"-DSTEP=1"});
  EXPECT_EQ(names(diff.changed_functions), Strings{}) << reasons(diff);
  EXPECT_THAT(names(diff.new_functions), testing::Contains("_Z10make_freshv"));
  EXPECT_THAT(names(diff.new_data), testing::IsSupersetOf({"_ZTV5fresh", "_ZTI5fresh"}));
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Cxx, ChangedVirtualTableIsRefused) {
  expect_refused(diff_texts(classes, classes, ".cc", {"-DSTEP=1"}, {}, {"-DMORE"}), "_ZTV7derived",
                 "virtual table");
}

TEST_P(Cxx, TemplatesInGroups) {
  const char* source = R"(
    int g(int);
    template <class T> __attribute__((noinline)) T scale(T x) { return x * g(3) + FACTOR; }
    template <class T> __attribute__((noinline)) T plain(T x) { return x + g(2); }
    int f(int x) { return scale(x) + plain(x); } long h(long x) { return scale(x); })";
  expect_changed(diff_texts(source, source, ".cc", {"-DFACTOR=1"}, {}, {"-UFACTOR", "-DFACTOR=2"}),
                 {"_Z5scaleIiET_S0_", "_Z5scaleIlET_S0_"});
}

TEST_P(Cxx, AnonymousNamespace) {
  expect_changed(diff_cxx(R"(
    int g(int);
    namespace {
    int state; const int steps[] = {1, 2, 3};
    __attribute__((noinline)) int inner(int x) { state += x; return g(steps[x % 3]); }
    #ifdef FIX
    __attribute__((noinline)) int other(int x) { return g(state - x) + 1; }
    #else
    __attribute__((noinline)) int other(int x) { return g(state - x); }
    #endif
    }
    int f(int x) { return inner(x) + other(x); })"),
                 {"_ZN12_GLOBAL__N_15otherEi"});
}

TEST_P(Cxx, AnInsertedLambdaDoesNotTakeAnothersPlace) {
  Diff diff = diff_cxx(R"(
    void each(int (*)(int)); int g(int);
    void f() {
    #ifdef FIX
      each([](int x) { return g(x) * 100; });
    #endif
      each([](int x) { return g(x) + 1; });
      each([](int x) { return g(x) - 1; });
    })");
  // f is changed; the two old lambdas are what they were, under whatever number.
  EXPECT_EQ(names(diff.changed_functions), Strings{"_Z1fv"}) << reasons(diff);
  EXPECT_FALSE(diff.new_functions.empty());
  EXPECT_EQ(refusals(diff), "");
}

TEST_P(Cxx, TypeinfoOfTwoLambdasOfOneScope) {
  // The typeinfo of each refers to its name, which is paired later.
  std::string source = R"(
    #include <functional>
    int use(const std::function<int(int)>&); int g(int);
    inline int f(int x) { return use([x](int y) { return g(x + y); }) +
                                 use([x](int y) { return g(x - y); }); }
    int h(int x) { return f(x) + 1; })";
  expect_nothing(diff_texts(source, source, ".cc", {}, {}, {}));
}

TEST_P(Cxx, ChangedStaticInitialiserIsRefused) {
  const char* source = R"(
    int g(int); struct counter { counter(int); int value; };
    counter one(g(1)); counter two(g(VALUE));
    int f() { return one.value + two.value; })";
  Diff diff = diff_texts(source, source, ".cc", {"-DVALUE=2"}, {}, {"-UVALUE", "-DVALUE=3"});
  EXPECT_THAT(refusals(diff), testing::HasSubstr("initialiser"));
  expect_nothing(diff_texts(source, source, ".cc", {"-DVALUE=2"}, {}, {}));
}

TEST_P(Cxx, NewStaticInitialiserIsRefused) {
  Diff diff = diff_cxx(R"(
    int g(int); struct counter { counter(int); int value; };
    #ifdef FIX
    counter one(g(1));
    int f() { return one.value; }
    #else
    int f() { return g(2); }
    #endif
    )");
  EXPECT_NE(refusals(diff), "");
  EXPECT_THAT(refusals(diff), testing::HasSubstr(".init_array"));
}

TEST_P(Cxx, ChangedInitialiserOfThreadLocalVariablesIsRefused) {
  // Threads that run would never construct `second`.
  Diff diff = diff_cxx(R"(
    int g(int); thread_local int first = g(3);
    #ifdef FIX
    thread_local int second = g(4);
    int f() { return second++; }
    #else
    int f() { return first++; }
    #endif
    )");
  EXPECT_THAT(refusals(diff), testing::HasSubstr("initialises thread-local variables"));
}

TEST_P(Cxx, InlineFunctionsAndStrings) {
  expect_changed(diff_cxx(R"(
    #include <map>
    #include <string>
    #include <vector>
    std::map<std::string, std::vector<int>> table;
    int find(const std::string& key, int x) {
      auto it = table.find(key);
      if (it == table.end()) return -1;
    #ifdef FIX
      if (x < 0 || static_cast<size_t>(x) >= it->second.size()) return -2;
    #endif
      return it->second[x];
    }
    void put(const std::string& key, int value) { table[key].push_back(value); })"),
                 {"_Z4findRKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEEi"});
}

}  // namespace
}  // namespace livecare::objdiff
