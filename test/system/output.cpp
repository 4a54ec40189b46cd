#define BOOST_TEST_MODULE output
#include "system/harness.hpp"

#include <iostream>
#include <set>

namespace {

proc_id own_id() { return here().myid(); }
int own_os_pid() { return ::getpid(); }

std::string line_of(proc_id p, int i) {
  auto text = std::to_string(p) + " " + std::to_string(i) + " ";
  text.resize(200, static_cast<char>('a' + i % 26));
  return text;
}

void write_lines(int n) {
  for (int i = 0; i < n; ++i)
    std::cout << line_of(here().myid(), i) << '\n';
  std::cout.flush();
}

void write_all(std::string_view text) {
  while (!text.empty()) {
    const auto n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n <= 0)
      throw std::runtime_error{"standard output takes nothing"};
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

const scenario prints{"prints", [](troupe::cluster& c) {
                        c.remotecall_fetch(2, [] { std::cout << "to stdout" << std::endl; });
                        c.remotecall_fetch(3, [] { std::cerr << "to stderr" << std::endl; });
                        c.remotecall_fetch(2, [] { std::puts(""); });
                        c.remotecall_fetch(2, [] {
                          std::cout << "without an end";
                          std::cout.flush();
                        });
                        return 0;
                      }};

} // namespace

// IO-01, IO-02
BOOST_AUTO_TEST_CASE(what_workers_print_is_shown_line_by_line_behind_their_id) {
  const auto result = run_scenario("prints", {"-p", "2"});
  BOOST_TEST(result.end.status == 0);
  std::istringstream in{result.out};
  std::multiset<std::string> lines;
  for (std::string line; std::getline(in, line);)
    lines.insert(line);
  const std::multiset<std::string> expected{
    "      From worker 2:\tto stdout",
    "      From worker 3:\tto stderr",
    "      From worker 2:\t",
    "      From worker 2:\twithout an end",
  };
  BOOST_TEST(lines == expected, boost::test_tools::per_element());
  BOOST_TEST(result.err == "");
}

BOOST_AUTO_TEST_CASE(standard_output_and_error_of_a_worker_both_arrive) {
  workers w{2};
  worker_output output;
  here().remotecall_fetch(w[0], [] { std::puts("by puts"); });
  here().remotecall_fetch(w[0], [] { std::cout << "by cout\n"; });
  here().remotecall_fetch(w[1], [] { std::cerr << "by cerr\n"; });
  here().remotecall_fetch(w[1], [] { write_all("by write\n"); });
  BOOST_TEST(output.wait_for_line(w[0], "by puts"));
  BOOST_TEST(output.wait_for_line(w[0], "by cout"));
  BOOST_TEST(output.wait_for_line(w[1], "by cerr"));
  BOOST_TEST(output.wait_for_line(w[1], "by write"));
  BOOST_TEST(output.lines().size() == 4u);
}

// IO-03
BOOST_AUTO_TEST_CASE(lines_of_many_workers_are_neither_cut_nor_mixed_nor_lost) {
  workers w{4};
  worker_output output;
  std::vector<troupe::future<void>> open;
  for (auto p : w.ids())
    open.push_back(here().remotecall<write_lines>(p, 1000));
  for (auto& f : open)
    f.fetch();
  BOOST_TEST(output.wait_for([](auto& lines) { return lines.size() >= 4000; }));
  BOOST_TEST(output.lines().size() == 4000u);
  for (auto p : w.ids()) {
    const auto lines = output.lines_of(p);
    BOOST_TEST_REQUIRE(lines.size() == 1000u);
    int right = 0;
    for (int i = 0; i < 1000; ++i)
      right += lines[static_cast<std::size_t>(i)] == line_of(p, i);
    BOOST_TEST(right == 1000);
  }
}

BOOST_AUTO_TEST_CASE(a_last_line_without_an_end_is_shown_too) {
  workers w{1};
  worker_output output;
  here().remotecall_fetch(w[0], [] { write_all("first\nlast"); });
  here().rmprocs(w[0]);
  BOOST_TEST(output.wait_for_line(w[0], "last"));
  BOOST_TEST(output.lines_of(w[0]) == (std::vector<std::string>{"first", "last"}));
}

// IO-04
BOOST_AUTO_TEST_CASE(a_handler_gets_the_lines_and_one_that_throws_falls_back_to_printing) {
  workers w{1};
  const auto say = [&](const std::string& text) { here().remotecall_fetch(w[0], [](const std::string& t) { write_all(t + "\n"); }, text); };
  captured_stream out{STDOUT_FILENO};
  captured_stream err{STDERR_FILENO};
  {
    worker_output output;
    say("handled");
    BOOST_TEST(output.wait_for_line(w[0], "handled"));
    BOOST_TEST(out.text() == "");
  }
  const auto prefix = "      From worker " + std::to_string(w[0]) + ":\t";
  say("printed");
  BOOST_TEST(eventually([&] { return out.text() == prefix + "printed\n"; }));
  here().on_output([](proc_id, std::string_view) { throw std::runtime_error{"no handler for this"}; });
  say("fallen back");
  BOOST_TEST(eventually([&] { return out.text() == prefix + "printed\n" + prefix + "fallen back\n"; }));
  BOOST_TEST(eventually([&] { return contains(err.text(), "no handler for this"); }));
  here().on_output([](proc_id, std::string_view) { throw 7; });
  say("once more");
  BOOST_TEST(eventually([&] { return contains(out.text(), prefix + "once more\n"); }));
  here().on_output(nullptr);
  say("the end");
  BOOST_TEST(eventually([&] { return out.text().ends_with(prefix + "the end\n"); }));
}

// IO-06
BOOST_AUTO_TEST_CASE(what_a_worker_wrote_before_it_exited_is_shown_completely) {
  captured_stream err{STDERR_FILENO};
  for (int status : {0, 3}) {
    workers w{1};
    worker_output output;
    auto f = here().remotecall(
      w[0],
      [](int s) {
        for (int i = 0; i < 100; ++i)
          write_all("line " + std::to_string(i) + "\n");
        ::_exit(s);
      },
      status);
    const auto e = error_of<troupe::process_exited>([&] { f.fetch(); });
    BOOST_TEST(e.pid() == w[0]);
    BOOST_TEST(e.cause().status == status);
    BOOST_TEST(output.wait_for_line(w[0], "line 99"));
    const auto lines = output.lines_of(w[0]);
    BOOST_TEST_REQUIRE(lines.size() == 100u);
    for (std::size_t i = 0; i < 100; ++i)
      BOOST_TEST(lines[i] == "line " + std::to_string(i));
  }
}

BOOST_AUTO_TEST_CASE(ten_megabytes_without_an_end_of_line_arrive_in_pieces_and_the_worker_goes_on) {
  constexpr std::size_t size = 10 << 20;
  workers w{1};
  worker_output output;
  const auto os_pid = here().remotecall_fetch<own_os_pid>(w[0]);
  here().remotecall_fetch(w[0], [] {
    std::string text(size, ' ');
    for (std::size_t i = 0; i < size; ++i)
      text[i] = static_cast<char>('a' + i % 26);
    write_all(text);
    write_all("\nnext\n");
  });
  BOOST_TEST(output.wait_for_line(w[0], "next"));
  auto lines = output.lines_of(w[0]);
  BOOST_TEST(lines.back() == "next");
  lines.pop_back();
  std::string whole;
  for (auto& l : lines)
    whole += l;
  BOOST_TEST_REQUIRE(whole.size() == size);
  std::size_t right = 0;
  for (std::size_t i = 0; i < size; ++i)
    right += whole[i] == static_cast<char>('a' + i % 26);
  BOOST_TEST(right == size);
  BOOST_TEST(here().remotecall_fetch<own_id>(w[0]) == w[0]);
  BOOST_TEST(here().remotecall_fetch<own_os_pid>(w[0]) == os_pid);
}

BOOST_AUTO_TEST_CASE(only_the_master_takes_output) {
  workers w{1};
  const auto e =
    error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[0], [] { here().on_output([](proc_id, std::string_view) {}); }); });
  BOOST_TEST(contains(e.message(), "only process 1"));
}
