#define BOOST_TEST_MODULE stack_trace
#include <boost/test/unit_test.hpp>

#include "troupe/actors/stack_trace.hpp"

#include <array>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using troupe::stack_frame;
using troupe::to_text;
using troupe::detail::last_throw_trace;
using troupe::detail::throw_trace_scope;

namespace {

std::string own_file_name() { return std::filesystem::read_symlink("/proc/self/exe").filename(); }

// After a call, so that it isn't made by a jump.
void stay() { asm volatile(""); }

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

} // namespace

// Not in the anonymous namespace: exported by -rdynamic.
[[gnu::noinline]] void exported_fail(const std::string& text, int) {
  stay();
  throw std::runtime_error(text);
}

[[gnu::noinline]] void exported_caller(int x) {
  exported_fail("foobar", x);
  stay();
}

namespace {

[[gnu::noinline]] void static_fail(int x) {
  stay();
  throw x;
}

[[gnu::noinline]] void enclosing_function(int x) {
  const auto inner = [](int y) __attribute__((noinline)) {
    static_fail(y);
    stay();
  };
  inner(x);
  stay();
}

[[gnu::noinline]] int recursive(int n) {
  if (n == 0)
    throw std::out_of_range("bottom");
  const int below = recursive(n - 1);
  stay();
  return below + 1;
}

template <class Exception, class F>
void expect_thrown(F f) {
  try {
    f();
  } catch (const Exception&) {
    return;
  }
  BOOST_FAIL("nothing was thrown");
}

struct counted {
  explicit counted(int& n) : destroyed(n) {}
  ~counted() { ++destroyed; }
  int& destroyed;
};

// Opens a scope of its own, in which it catches one exception and lets another out.
[[gnu::noinline]] void with_inner_scope(bool let_out) {
  const throw_trace_scope scope;
  expect_thrown<int>([] { enclosing_function(1); });
  BOOST_TEST(contains(last_throw_trace().at(0).function, "static_fail"));
  if (let_out)
    exported_caller(2);
  stay();
}

} // namespace

// EX-04
BOOST_AUTO_TEST_CASE(the_first_frame_is_the_function_that_threw_and_its_caller_follows) {
  const throw_trace_scope scope;
  expect_thrown<std::runtime_error>([] { exported_caller(1); });
  const auto trace = last_throw_trace();
  BOOST_TEST_MESSAGE(to_text(trace));
  BOOST_REQUIRE(trace.size() > 1u);
  BOOST_TEST(trace[0].function == "exported_fail(std::string const&, int)");
  BOOST_TEST(trace[0].count == 1);
  BOOST_TEST(trace[0].module == own_file_name());
  BOOST_TEST(trace[0].offset != 0u);
  BOOST_TEST(trace[1].function == "exported_caller(int)");
  BOOST_TEST(trace[1].count == 1);
}

BOOST_AUTO_TEST_CASE(the_last_frame_is_the_scopes_owner) {
  const throw_trace_scope scope;
  expect_thrown<std::runtime_error>([] { exported_caller(1); });
  const auto trace = last_throw_trace();
  BOOST_TEST_MESSAGE(to_text(trace));
  BOOST_TEST(contains(trace.back().function, "the_last_frame_is_the_scopes_owner"));
}

BOOST_AUTO_TEST_CASE(static_functions_and_lambdas_have_names) {
  const throw_trace_scope scope;
  expect_thrown<int>([] { enclosing_function(1); });
  const auto trace = last_throw_trace();
  BOOST_TEST_MESSAGE(to_text(trace));
  BOOST_REQUIRE(trace.size() > 2u);
  BOOST_TEST(trace[0].function == "(anonymous namespace)::static_fail(int)");
  BOOST_TEST(contains(trace[1].function, "enclosing_function(int)::"));
  BOOST_TEST(contains(trace[1].function, "operator()"));
  BOOST_TEST(trace[2].function == "(anonymous namespace)::enclosing_function(int)");
}

BOOST_AUTO_TEST_CASE(recursion_is_folded) {
  const throw_trace_scope scope;
  expect_thrown<std::out_of_range>([] { recursive(200); });
  const auto trace = last_throw_trace();
  BOOST_TEST_MESSAGE(to_text(trace));
  BOOST_TEST(contains(trace.at(0).function, "recursive(int)"));
  BOOST_TEST(trace[0].count == 1);
  // The compiler may have put some of the calls into each other.
  int calls = 0;
  std::size_t folded = 0;
  for (const auto& f : trace)
    if (contains(f.function, "recursive(int)")) {
      calls += f.count;
      ++folded;
    }
  BOOST_TEST(folded < 40u);
  BOOST_TEST(calls > 1);
  BOOST_TEST(calls <= 201);
#ifndef __OPTIMIZE__
  BOOST_TEST(trace.at(1).count == 200);
  BOOST_TEST(calls == 201);
#endif
}

BOOST_AUTO_TEST_CASE(a_deep_recursion_has_a_bounded_trace) {
  const throw_trace_scope scope;
  expect_thrown<std::out_of_range>([] { recursive(20000); });
  const auto trace = last_throw_trace();
  BOOST_TEST(contains(trace.at(0).function, "recursive(int)"));
  BOOST_TEST(trace.size() <= 64u);
}

BOOST_AUTO_TEST_CASE(a_throw_of_the_standard_library_is_traced) {
  const throw_trace_scope scope;
  const std::vector<int> none;
  expect_thrown<std::out_of_range>([&] { BOOST_TEST(none.at(1) == 0); });
  const auto trace = last_throw_trace();
  BOOST_TEST_MESSAGE(to_text(trace));
  BOOST_REQUIRE(trace.size() > 1u);
  BOOST_TEST(contains(trace[0].module, "libstdc++")); // where it may have no name
  BOOST_TEST(trace[1].module == own_file_name());
}

BOOST_AUTO_TEST_CASE(outside_of_scopes_nothing_is_left) {
  expect_thrown<std::runtime_error>([] { exported_caller(1); });
  BOOST_TEST(last_throw_trace().empty());
  {
    const throw_trace_scope scope;
    BOOST_TEST(last_throw_trace().empty());
    expect_thrown<std::runtime_error>([] { exported_caller(1); });
    BOOST_TEST(!last_throw_trace().empty());
  }
  BOOST_TEST(last_throw_trace().empty());
  const throw_trace_scope next;
  BOOST_TEST(last_throw_trace().empty());
}

BOOST_AUTO_TEST_CASE(an_inner_scope_leaves_the_outer_ones_trace_alone) {
  const throw_trace_scope scope;
  expect_thrown<std::out_of_range>([] { recursive(0); });
  with_inner_scope(false);
  BOOST_TEST(contains(last_throw_trace().at(0).function, "recursive"));
}

BOOST_AUTO_TEST_CASE(an_exception_that_leaves_a_scope_brings_its_trace_to_the_outer_one) {
  const throw_trace_scope scope;
  expect_thrown<std::out_of_range>([] { recursive(0); });
  expect_thrown<std::runtime_error>([] { with_inner_scope(true); });
  const auto trace = last_throw_trace();
  BOOST_TEST_MESSAGE(to_text(trace));
  BOOST_TEST(contains(trace.at(0).function, "exported_fail"));
  BOOST_TEST(contains(trace.back().function, "with_inner_scope"));
}

BOOST_AUTO_TEST_CASE(exceptions_are_caught_by_type_and_destructors_run) {
  const throw_trace_scope scope;
  int destroyed = 0;
  std::string caught;
  try {
    try {
      const counted a(destroyed), b(destroyed);
      exported_caller(1);
    } catch (const std::logic_error&) {
      caught = "the wrong one";
    }
  } catch (const std::exception& e) {
    caught = e.what();
  }
  BOOST_TEST(caught == "foobar");
  BOOST_TEST(destroyed == 2);
}

BOOST_AUTO_TEST_CASE(throwing_again_keeps_the_trace) {
  const throw_trace_scope scope;
  std::exception_ptr kept;
  try {
    try {
      exported_caller(1);
    } catch (...) {
      kept = std::current_exception();
      throw;
    }
  } catch (const std::runtime_error&) {
  }
  BOOST_TEST(contains(last_throw_trace().at(0).function, "exported_fail"));
  expect_thrown<std::runtime_error>([&] { std::rethrow_exception(kept); });
  BOOST_TEST(contains(last_throw_trace().at(0).function, "exported_fail"));
}

BOOST_AUTO_TEST_CASE(threads_have_traces_of_their_own) {
  std::array<int, 4> right{};
  const throw_trace_scope scope;
  expect_thrown<std::out_of_range>([] { recursive(0); });
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < right.size(); ++t)
      threads.emplace_back([t, &right] {
        const throw_trace_scope own;
        for (int i = 0; i < 1000; ++i) {
          try {
            t % 2 ? exported_caller(i) : enclosing_function(i);
          } catch (const std::runtime_error&) {
          } catch (int) {
          }
          right[t] += contains(last_throw_trace().at(0).function, t % 2 ? "exported_fail" : "static_fail");
        }
      });
  }
  for (const int r : right)
    BOOST_TEST(r == 1000);
  BOOST_TEST(contains(last_throw_trace().at(0).function, "recursive"));
}

BOOST_AUTO_TEST_CASE(a_trace_reads_as_lines) {
  const std::vector<stack_frame> frames{{.function = "fail(std::string const&)", .module = "quickstart", .offset = 0x1234, .count = 1},
                                        {.function = "again(int)", .module = "libx.so.1", .offset = 0xab, .count = 7},
                                        {.function = "", .module = "", .offset = 0x10, .count = 1}};
  BOOST_TEST(to_text(frames)
             == "  #0 fail(std::string const&) in quickstart+0x1234\n"
                "  #1 again(int) in libx.so.1+0xab (7 times)\n"
                "  #2 ?? in ??+0x10\n");
  BOOST_TEST(to_text({}).empty());
}
