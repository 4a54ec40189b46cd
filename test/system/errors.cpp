#define BOOST_TEST_MODULE errors
#include "system/harness.hpp"

#include "troupe/transport/error.hpp"

#include <any>
#include <atomic>
#include <exception>
#include <filesystem>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <typeinfo>
#include <variant>

namespace {

using ids = std::vector<proc_id>;

proc_id own_id() { return here().myid(); }
int own_os_pid() { return ::getpid(); }

[[gnu::noinline]] void fail(const std::string& text) { throw std::runtime_error{text}; }

struct own_error : std::exception {
  const char* what() const noexcept override { return "of a type of one's own"; }
};

struct no_exception {
  int x;
};

template <class E>
E make() {
  if constexpr (std::is_constructible_v<E, const char*>)
    return E{"its text"};
  else
    return E{};
}

template <class E>
void fail_with() {
  throw make<E>();
}

template <class E>
void check_standard_type(proc_id where, const std::string& name) {
  const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch<fail_with<E>>(where); });
  BOOST_TEST(e.pid() == where);
  BOOST_TEST(e.type_name() == name);
  BOOST_TEST(e.message() == make<E>().what());
  try {
    e.rethrow_nested();
  } catch (const std::exception& original) {
    BOOST_TEST(boost::core::demangle(typeid(original).name()) == name);
    BOOST_TEST(std::string{original.what()} == make<E>().what());
  }
}

// Can't be encoded, or can't be decoded, where it is told so.
struct fragile {
  std::vector<char> ballast;
  bool breaks_writing = false;
  bool breaks_reading = false;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, fragile& x) {
    auto result = f(x.ballast, x.breaks_writing, x.breaks_reading);
    if (Inspector::reads_state ? x.breaks_writing : x.breaks_reading)
      throw std::runtime_error{"it is fragile"};
    return result;
  }
};

struct holder {
  int before = 0;
  const void* address = nullptr;
};

int a_global = 0;

template <class F>
void check_refused_address(proc_id where, const F& f, const std::string& offset) {
  const auto e = error_of<troupe::not_serializable>([&] { here().remotecall(where, f); });
  BOOST_TEST(contains(e.what(), "byte " + offset + " of the captures"));
  BOOST_TEST(contains(e.what(), "troupe::with"));
  BOOST_TEST(e.pid() == 1);
}

std::uint64_t bytes_between(proc_id a, proc_id b) {
  for (auto& l : here().links())
    if (l.a == std::min(a, b) && l.b == std::max(a, b))
      return l.bytes;
  return 0;
}

} // namespace

// -- exceptions of functions --------------------------------------------------------------------------------

// EX-01, EX-02
BOOST_AUTO_TEST_CASE(an_exception_surfaces_in_every_form_of_call) {
  workers w{1};
  for (auto p : {proc_id{1}, w[0]}) {
    const auto check = [&](const std::function<void()>& f) {
      const auto e = error_of<troupe::remote_error>(f);
      BOOST_TEST(e.pid() == p);
      BOOST_TEST(e.type_name() == "std::runtime_error");
      BOOST_TEST(e.message() == "foobar");
      BOOST_TEST(contains(e.what(), "foobar"));
      BOOST_TEST(!e.stack().empty());
      BOOST_TEST(contains(e.info().task, "fail"));
      BOOST_TEST(e.info().host == here().info(p).host);
    };
    check([&] { here().remotecall_fetch<fail>(p, "foobar"); });
    check([&] { here().remotecall_wait<fail>(p, "foobar"); });
    const auto f = here().remotecall<fail>(p, "foobar");
    check([&] { f.wait(); });
    check([&] { f.fetch(); });
    check([&] { f.fetch(); });
    check([&] { troupe::future<void>{f}.get(); });
    BOOST_TEST(f.isready());
    BOOST_TEST(f.wait_for(0s));
    check([&] { here().remotecall_fetch(p, troupe::direct(troupe::fn<fail>), "foobar"); });
    BOOST_TEST(here().remotecall_fetch<own_id>(p) == p);
  }
}

// EX-03
BOOST_AUTO_TEST_CASE(the_text_begins_with_the_worker_unless_that_is_the_reader) {
  workers w{1};
  const std::string remote = error_of<troupe::remote_error>([&] { here().remotecall_fetch<fail>(w[0], "foobar"); }).what();
  BOOST_TEST(remote.starts_with("On worker " + std::to_string(w[0]) + ":\nfoobar"));
  BOOST_TEST(contains(remote, "\n  #0 "));
  const std::string own = error_of<troupe::remote_error>([&] { here().remotecall_fetch<fail>(1, "foobar"); }).what();
  BOOST_TEST(own.starts_with("foobar"));
  const auto elsewhere = here().remotecall_fetch(w[0], [] {
    try {
      here().remotecall_fetch<fail>(1, "foobar");
    } catch (const troupe::error& e) {
      return std::string{e.what()};
    }
    return std::string{};
  });
  BOOST_TEST(elsewhere.starts_with("On the master:\nfoobar"));
}

// EX-04
BOOST_AUTO_TEST_CASE(the_stack_begins_with_the_function_that_threw) {
  workers w{1};
  const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch<fail>(w[0], "foobar"); });
  BOOST_TEST_REQUIRE(e.stack().size() > 1u);
  BOOST_TEST(contains(e.stack()[0].function, "fail"));
  BOOST_TEST(e.stack()[0].count == 1);
  BOOST_TEST(contains(e.stack()[0].module, "test_system_errors"));
}

// EX-05
BOOST_AUTO_TEST_CASE(an_error_over_several_hops_names_each_of_them) {
  workers w{2};
  const auto e = error_of<troupe::remote_error>(
    [&] { here().remotecall_fetch(w[0], [](proc_id next) { here().remotecall_fetch<fail>(next, "the text"); }, w[1]); });
  const std::string text = e.what();
  BOOST_TEST(text.starts_with("On worker " + std::to_string(w[0]) + ":\nOn worker " + std::to_string(w[1]) + ":\nthe text"));
  BOOST_TEST(e.pid() == w[0]);
  BOOST_TEST(e.message() == "the text");
  BOOST_TEST(e.type_name() == "std::runtime_error");
  BOOST_TEST(contains(e.stack().at(0).function, "fail"));
  const auto inner = error_of<troupe::remote_error>([&] { e.rethrow_nested(); });
  BOOST_TEST(inner.pid() == w[1]);
  BOOST_CHECK_THROW(inner.rethrow_nested(), std::runtime_error);
}

// EX-06
BOOST_AUTO_TEST_CASE(an_exception_of_an_unknown_type_tells_type_and_text) {
  workers w{1};
  const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [] { throw own_error{}; }); });
  BOOST_TEST(contains(e.type_name(), "own_error"));
  BOOST_TEST(e.message() == "of a type of one's own");
  BOOST_TEST(!e.nested());
  BOOST_CHECK_THROW(e.rethrow_nested(), troupe::remote_error);
}

BOOST_AUTO_TEST_CASE(what_is_thrown_need_not_be_an_exception) {
  workers w{1};
  const auto thrown = [&](auto f) { return error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], f); }); };
  BOOST_TEST(thrown([] { throw 7; }).type_name() == "int");
  BOOST_TEST(thrown([] { throw std::string{"a text"}; }).message() == "a text");
  BOOST_TEST(thrown([] { throw "literally"; }).message() == "literally");
  BOOST_TEST(contains(thrown([] { throw no_exception{1}; }).type_name(), "no_exception"));
  BOOST_TEST(!thrown([] { throw 7; }).message().empty());
  BOOST_TEST(thrown([] { throw std::runtime_error{""}; }).message() == "");
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
}

// EX-10
BOOST_AUTO_TEST_CASE(standard_exceptions_can_be_thrown_again_as_what_they_were) {
  workers w{1};
  const auto p = w[0];
  check_standard_type<std::exception>(p, "std::exception");
  check_standard_type<std::runtime_error>(p, "std::runtime_error");
  check_standard_type<std::logic_error>(p, "std::logic_error");
  check_standard_type<std::domain_error>(p, "std::domain_error");
  check_standard_type<std::invalid_argument>(p, "std::invalid_argument");
  check_standard_type<std::length_error>(p, "std::length_error");
  check_standard_type<std::out_of_range>(p, "std::out_of_range");
  check_standard_type<std::range_error>(p, "std::range_error");
  check_standard_type<std::overflow_error>(p, "std::overflow_error");
  check_standard_type<std::underflow_error>(p, "std::underflow_error");
  check_standard_type<std::bad_alloc>(p, "std::bad_alloc");
  check_standard_type<std::bad_array_new_length>(p, "std::bad_array_new_length");
  check_standard_type<std::bad_cast>(p, "std::bad_cast");
  check_standard_type<std::bad_any_cast>(p, "std::bad_any_cast");
  check_standard_type<std::bad_typeid>(p, "std::bad_typeid");
  check_standard_type<std::bad_exception>(p, "std::bad_exception");
  check_standard_type<std::bad_weak_ptr>(p, "std::bad_weak_ptr");
  check_standard_type<std::bad_function_call>(p, "std::bad_function_call");
  check_standard_type<std::bad_optional_access>(p, "std::bad_optional_access");
  check_standard_type<std::bad_variant_access>(p, "std::bad_variant_access");
  const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch(p, [] { return std::stoi("x"); }); });
  BOOST_TEST(e.message() == "stoi");
  const auto file =
    error_of<troupe::remote_error>([&] { here().remotecall_fetch(p, [] { return std::filesystem::file_size("/there/is/none"); }); });
  BOOST_TEST(contains(file.message(), "/there/is/none"));
  BOOST_TEST(contains(file.type_name(), "filesystem_error"));
}

BOOST_AUTO_TEST_CASE(errors_of_our_own_can_be_thrown_again_as_what_they_were) {
  workers w{1};
  const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [] { throw troupe::usage_error{"not like this"}; }); });
  BOOST_TEST(e.pid() == w[0]);
  BOOST_TEST(e.message() == "not like this");
  BOOST_TEST(std::string{e.what()}.starts_with("On worker " + std::to_string(w[0]) + ":\nnot like this"));
  BOOST_CHECK_THROW(e.rethrow_nested(), troupe::usage_error);
  const auto composite = error_of<troupe::remote_error>(
    [&] { here().remotecall_fetch(w[0], [] { here().everywhere([] { fail("from " + std::to_string(here().myid())); }); }); });
  const auto inner = error_of<troupe::composite_error>([&] { composite.rethrow_nested(); });
  BOOST_TEST_REQUIRE(inner.errors().size() == 2u);
  BOOST_TEST(inner.errors()[1].message() == "from " + std::to_string(w[0]));
  BOOST_TEST(contains(composite.what(), "from 1"));
}

// EX-09
BOOST_AUTO_TEST_CASE(an_exception_that_wraps_others_tells_of_all) {
  workers w{2};
  const auto e = error_of<troupe::remote_error>([&] {
    here().remotecall_fetch(w[0], [] {
      try {
        try {
          throw std::out_of_range{"innermost"};
        } catch (...) {
          std::throw_with_nested(std::logic_error{"in between"});
        }
      } catch (...) {
        std::throw_with_nested(std::runtime_error{"outermost"});
      }
    });
  });
  BOOST_TEST(e.message() == "outermost");
  BOOST_TEST(e.type_name() == "std::runtime_error");
  BOOST_CHECK_THROW(e.rethrow_nested(), std::runtime_error);
  const std::string text = e.what();
  BOOST_TEST(contains(text, "\n  in between (std::logic_error)"));
  BOOST_TEST(contains(text, "\n    innermost (std::out_of_range)"));

  const auto hop = error_of<troupe::remote_error>([&] {
    here().remotecall_fetch(
      w[0],
      [](proc_id next) {
        try {
          here().remotecall_fetch<fail>(next, "deep down");
        } catch (...) {
          std::throw_with_nested(std::runtime_error{"a call has failed"});
        }
      },
      w[1]);
  });
  BOOST_TEST(hop.message() == "a call has failed");
  BOOST_TEST(contains(hop.what(), "\n  On worker " + std::to_string(w[1]) + ":\n  deep down"));
}

// EX-11
BOOST_AUTO_TEST_CASE(an_error_that_is_returned_is_a_value) {
  workers w{1};
  const auto info = here().remotecall_fetch(w[0], [] {
    try {
      fail("kept");
    } catch (...) {
      return troupe::describe_current_exception();
    }
    return troupe::error_info{};
  });
  BOOST_TEST(info.message == "kept");
  BOOST_TEST(info.type_name == "std::runtime_error");
}

// EX-12
BOOST_AUTO_TEST_CASE(an_error_in_a_channel_a_future_or_a_message_is_a_value) {
  workers w{2};
  const auto e = error_of<troupe::remote_error>([&] { here().remotecall_fetch<fail>(w[0], "kept"); });
  const auto ch = troupe::remote_channel<troupe::remote_error>::on(here(), w[1], 4);
  ch.put(e);
  here().remotecall_fetch(
    w[0],
    [](auto to) {
      try {
        fail("kept there");
      } catch (...) {
        to.put(troupe::remote_error{troupe::describe_current_exception()});
      }
    },
    ch);
  BOOST_TEST(ch.fetch().message() == "kept");
  const auto back = ch.take();
  BOOST_TEST(back.what() == e.what());
  BOOST_TEST(back.pid() == w[0]);
  BOOST_TEST(back.type_name() == "std::runtime_error");
  BOOST_CHECK_THROW(back.rethrow_nested(), std::runtime_error);
  BOOST_TEST(ch.take().message() == "kept there");
  const auto f = troupe::future<troupe::error>::on(here(), w[1]);
  f.put(e);
  BOOST_TEST(f.fetch().what() == e.what());
  BOOST_TEST((f.fetch().kind() == troupe::error_kind::remote));
  using result = std::variant<int, troupe::error>;
  const auto results = here().remotecall_fetch(
    w[0], [](std::vector<result> xs) { return std::vector<result>(xs.rbegin(), xs.rend()); }, std::vector<result>{7, e});
  BOOST_TEST(std::get<troupe::error>(results.at(0)).message() == "kept");
  BOOST_TEST(std::get<int>(results.at(1)) == 7);
}

// EX-13
BOOST_AUTO_TEST_CASE(an_error_can_be_kept_copied_and_thrown_again_on_another_thread) {
  workers w{1};
  std::exception_ptr kept;
  std::optional<troupe::remote_error> copy;
  try {
    here().remotecall_fetch<fail>(w[0], "foobar");
  } catch (const troupe::remote_error& e) {
    kept = std::current_exception();
    copy = e;
  }
  here().rmprocs(w[0]);
  const auto same = std::async(std::launch::async, [&] {
                      const auto again = error_of<troupe::remote_error>([&] { std::rethrow_exception(kept); });
                      const auto thrown = error_of<troupe::remote_error>([&] { throw *copy; });
                      return again.message() == "foobar" && thrown.message() == "foobar" && again.pid() == w[0]
                             && std::string{again.what()} == thrown.what() && !thrown.stack().empty();
                    }).get();
  BOOST_TEST(same);
}

// EX-14
BOOST_AUTO_TEST_CASE(every_error_is_of_one_family_and_tells_its_kind_and_process) {
  workers w{2};
  const auto check = [](troupe::error_kind kind, proc_id pid, auto f) {
    const auto e = error_of<troupe::error>(f);
    BOOST_TEST((e.kind() == kind));
    BOOST_TEST(e.pid() == pid);
    BOOST_TEST(!std::string{e.what()}.empty());
  };
  using troupe::error_kind;
  check(error_kind::remote, w[0], [&] { here().remotecall_fetch<fail>(w[0], "x"); });
  check(error_kind::unknown_process, 99'999, [&] { here().remotecall_fetch<own_id>(99'999); });
  check(error_kind::not_serializable, w[0], [&] { here().remotecall_fetch(w[0], [] { return fragile{{}, true, false}; }); });
  check(error_kind::not_serializable, 1, [&] { here().remotecall(w[0], [](fragile) {}, fragile{{}, true, false}); });
  check(error_kind::not_decodable, w[0], [&] { here().remotecall_fetch(w[0], [](fragile) {}, fragile{{}, false, true}); });
  check(error_kind::not_decodable, 1, [&] { here().remotecall_fetch(w[0], [] { return fragile{{}, false, true}; }); });
  check(error_kind::usage, 0, [&] { troupe::future<int>{}.fetch(); });
  auto nap = here().remotecall(w[1], [] { troupe::this_task::sleep_for(30s); });
  here().rmprocs(w[1]);
  check(error_kind::process_exited, w[1], [&] { nap.fetch(); });
  check(error_kind::process_exited, w[1], [&] { here().remotecall<own_id>(w[1]); });
}

// -- calls that nobody waits for ----------------------------------------------------------------------------

// EX-07
BOOST_AUTO_TEST_CASE(the_exception_of_a_call_that_nobody_waits_for_is_printed_there) {
  workers w{1};
  worker_output output;
  here().remote_do<fail>(w[0], "nobody hears");
  BOOST_TEST(output.wait_for_line(w[0], "nobody hears"));
  BOOST_TEST(output.wait_for_line(w[0], "#0 "));
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
  const auto lines = output.lines_of(w[0]);
  BOOST_TEST(contains(lines.at(0), "a call that nobody waits for failed"));
  BOOST_TEST(std::count_if(lines.begin(), lines.end(), [](auto& l) { return contains(l, "nobody hears"); }) == 1);
}

BOOST_AUTO_TEST_CASE(what_two_such_calls_print_at_the_same_time_is_not_mixed) {
  troupe::local_options options;
  options.threads = 2;
  workers w{1, options};
  worker_output output;
  constexpr int n = 50;
  for (int i = 0; i < n; ++i)
    here().remote_do<fail>(w[0], "text " + std::to_string(i));
  const auto begins = [](auto& l) { return contains(l.second, "nobody waits for"); };
  BOOST_TEST(output.wait_for([&](auto& lines) { return std::count_if(lines.begin(), lines.end(), begins) == n; }));
  here().rmprocs(w[0]);
  const auto lines = output.lines_of(w[0]);
  const auto size = lines.size() / n;
  BOOST_TEST_REQUIRE(lines.size() == size * n);
  for (std::size_t i = 0; i < lines.size(); ++i)
    BOOST_TEST((contains(lines[i], "nobody waits for") == (i % size == 0)));
}

// EX-15
BOOST_AUTO_TEST_CASE(such_a_call_to_oneself_or_with_arguments_that_cannot_be_read_is_printed_too) {
  captured_stream err{STDERR_FILENO};
  here().remote_do<fail>(1, "my own fault");
  BOOST_TEST(eventually([&] { return contains(err.text(), "my own fault"); }));
  workers w{1};
  worker_output output;
  here().remote_do(w[0], [](fragile) {}, fragile{{}, false, true});
  BOOST_TEST(output.wait_for_line(w[0], "it is fragile"));
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
}

// -- values that can't travel -------------------------------------------------------------------------------

// RC-21, FA-13
BOOST_AUTO_TEST_CASE(a_result_that_cannot_be_encoded_costs_nothing_but_the_call) {
  workers w{1};
  const auto os_pid = here().remotecall_fetch<own_os_pid>(w[0]);
  for (int i = 0; i < 3; ++i) {
    const auto e = error_of<troupe::not_serializable>(
      [&] { here().remotecall_fetch(w[0], [] { return fragile{std::vector<char>(100'000), true, false}; }); });
    BOOST_TEST(e.pid() == w[0]);
    BOOST_TEST(contains(e.what(), "it is fragile"));
    BOOST_TEST(here().remotecall_fetch<own_os_pid>(w[0]) == os_pid);
  }
  const auto address = error_of<troupe::not_serializable>([&] { here().remotecall_fetch(w[0], [] { return holder{1, &a_global}; }); });
  BOOST_TEST(address.pid() == w[0]);
  BOOST_TEST(here().remotecall_fetch<own_os_pid>(w[0]) == os_pid);
}

// RC-22
BOOST_AUTO_TEST_CASE(an_argument_that_cannot_be_encoded_throws_at_the_call_and_nothing_is_sent) {
  workers w{1};
  const auto before = bytes_between(1, w[0]);
  const auto e = error_of<troupe::not_serializable>(
    [&] { here().remotecall(w[0], [](fragile, int) {}, fragile{std::vector<char>(1 << 20), true, false}, 1); });
  BOOST_TEST(e.pid() == 1);
  BOOST_TEST(contains(e.what(), "it is fragile"));
  BOOST_TEST(bytes_between(1, w[0]) < before + 100'000);
  BOOST_CHECK_THROW(here().remote_do(w[0], [](fragile) {}, fragile{{}, true, false}), troupe::not_serializable);
  BOOST_CHECK_THROW(here().remotecall(w[0], [](const holder&) {}, holder{1, &a_global}), troupe::not_serializable);
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_decoded_is_an_error_of_the_process_that_tried) {
  workers w{1};
  const auto there =
    error_of<troupe::not_decodable>([&] { here().remotecall_fetch(w[0], [](int, fragile) {}, 1, fragile{{}, false, true}); });
  BOOST_TEST(there.pid() == w[0]);
  BOOST_TEST(contains(there.what(), "it is fragile"));
  const auto f = here().remotecall(w[0], [] { return fragile{{}, false, true}; });
  for (int i = 0; i < 2; ++i) {
    const auto mine = error_of<troupe::not_decodable>([&] { f.fetch(); });
    BOOST_TEST(mine.pid() == 1);
    BOOST_TEST(contains(mine.what(), "it is fragile"));
  }
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
}

// RC-20, MS-04
BOOST_AUTO_TEST_CASE(bad_calls_between_good_ones_leave_the_connection_in_step) {
  workers w{1};
  const auto mixed = [&] {
    int right = 0;
    for (int i = 0; i < 50; ++i) {
      right += here().remotecall_fetch<own_id>(w[0]) == w[0];
      try {
        here().remotecall_fetch(w[0], [](fragile x) { return x; }, fragile{{'x'}, i % 3 == 1, i % 3 != 1});
      } catch (const troupe::error& e) {
        right += e.kind() == (i % 3 == 1 ? troupe::error_kind::not_serializable : troupe::error_kind::not_decodable);
      }
    }
    return right;
  };
  auto other = std::async(std::launch::async, mixed);
  BOOST_TEST(mixed() == 100);
  BOOST_TEST(other.get() == 100);
}

BOOST_AUTO_TEST_CASE(a_capture_that_is_an_address_is_refused_with_its_place) {
  workers w{1};
  int on_stack = 0;
  const auto on_heap = std::make_unique<int>(0);
  std::int64_t number = 5;
  check_refused_address(w[0], [&on_stack] { return on_stack; }, "0");
  check_refused_address(w[0], [p = on_heap.get()] { return *p; }, "0");
  check_refused_address(w[0], [number, p = &a_global] { return number + *p; }, "8");
  check_refused_address(w[0], [h = holder{1, &on_stack}] { return h.before; }, "8");
  check_refused_address(w[0], [text = std::string_view{"constant"}] { return text.size(); }, "8");
  check_refused_address(1, [&on_stack] { return on_stack; }, "0");
  BOOST_TEST(here().remotecall_fetch(w[0], [number, h = holder{1, nullptr}] { return number + h.before; }) == 6);
  BOOST_TEST(here().remotecall_fetch(w[0], troupe::bytes([p = on_heap.get()] { return p != nullptr; })));
}
