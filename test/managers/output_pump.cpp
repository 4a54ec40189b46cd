#define BOOST_TEST_MODULE output_pump
#include <boost/test/unit_test.hpp>

#include "troupe/managers/output_pump.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <stdexcept>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

using troupe::output_pump;
using troupe::unique_fd;
using namespace std::chrono_literals;

namespace {

constexpr auto ignore_end = [] {};

auto soon() { return std::chrono::steady_clock::now() + 30s; }

struct pipe_ends {
  unique_fd read, write;
  pipe_ends() {
    int fds[2];
    BOOST_REQUIRE(::pipe2(fds, O_CLOEXEC) == 0);
    read = unique_fd{fds[0]};
    write = unique_fd{fds[1]};
  }
};

void write_all(const unique_fd& fd, std::string_view text) {
  while (!text.empty()) {
    const auto n = ::write(fd.get(), text.data(), text.size());
    if (n < 0)
      throw std::system_error(errno, std::generic_category(), "write");
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

// What a source delivered. Read it after `drain` only.
struct record {
  std::vector<std::string> lines;
  int ends = 0;
  std::size_t lines_at_end = 0;

  output_pump::line_handler on_line() {
    return [this](std::string_view line) { lines.emplace_back(line); };
  }
  output_pump::end_handler on_end() {
    return [this] {
      ++ends;
      lines_at_end = lines.size();
    };
  }
};

template <class T>
void wait_for(std::future<T>& future) {
  BOOST_REQUIRE((future.wait_until(soon()) == std::future_status::ready));
}

std::vector<std::string> lines_of(std::string_view written, std::size_t piece) {
  record got;
  pipe_ends ends;
  output_pump pump;
  const auto source = pump.add(std::move(ends.read), got.on_line(), got.on_end());
  for (std::size_t at = 0; at < written.size(); at += piece)
    write_all(ends.write, written.substr(at, piece));
  ends.write.reset();
  BOOST_TEST(pump.drain(source, soon()));
  BOOST_TEST(got.ends == 1);
  BOOST_TEST(got.lines_at_end == got.lines.size());
  return got.lines;
}

using lines = std::vector<std::string>;

// Catches what is written to stderr while it lives.
class captured_stderr {
public:
  captured_stderr() : saved_{::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3)}, file_{std::tmpfile()} { ::dup2(::fileno(file_), STDERR_FILENO); }
  ~captured_stderr() {
    ::dup2(saved_.get(), STDERR_FILENO);
    std::fclose(file_);
  }
  std::string text() const {
    std::string result(10'000, '\0');
    result.resize(static_cast<std::size_t>(std::max<::ssize_t>(0, ::pread(::fileno(file_), result.data(), result.size(), 0))));
    return result;
  }

private:
  unique_fd saved_;
  std::FILE* file_;
};

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
    ++n;
  return n;
}

} // namespace

BOOST_AUTO_TEST_CASE(lines_arrive_whole_whatever_the_pieces_they_were_written_in) {
  for (std::size_t piece : {1u, 2u, 3u, 7u, 1000u})
    BOOST_TEST((lines_of("one\ntwo two\n\n\r\nthree\r\n", piece) == lines{"one", "two two", "", "\r", "three\r"}));
}

// IO-03, IO-06
BOOST_AUTO_TEST_CASE(a_last_line_without_newline_is_delivered_at_the_end) {
  BOOST_TEST((lines_of("one\ntwo", 1000) == lines{"one", "two"}));
  BOOST_TEST((lines_of("", 1000) == lines{}));
  BOOST_TEST((lines_of("\n", 1000) == lines{""}));
  const lines with_zeros{std::string("a\0b", 3), std::string(1, '\0')};
  BOOST_TEST((lines_of(std::string_view{"a\0b\n\0", 5}, 1000) == with_zeros));
}

BOOST_AUTO_TEST_CASE(a_line_of_exactly_the_longest_size_is_one_line) {
  const std::string longest(output_pump::max_line, 'x');
  for (std::size_t piece : {4096u, 1'000'000u}) {
    BOOST_TEST((lines_of(longest + "\nnext\n", piece) == lines{longest, "next"}));
    BOOST_TEST((lines_of(longest, piece) == lines{longest}));
    BOOST_TEST((lines_of("before\n" + longest + "y\nnext\n", piece) == lines{"before", longest, "y", "next"}));
  }
}

BOOST_AUTO_TEST_CASE(ten_megabytes_without_newline_come_in_bounded_pieces_and_complete) {
  std::string all(10'000'000, '\0');
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<char>('a' + i % 23);
  const auto pieces = lines_of(all, 100'003);
  std::string joined;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i + 1 < pieces.size())
      BOOST_TEST(pieces[i].size() == output_pump::max_line);
    joined += pieces[i];
  }
  BOOST_TEST(pieces.size() == 153u);
  BOOST_TEST((joined == all));
}

// IO-03
BOOST_AUTO_TEST_CASE(lines_of_several_sources_are_neither_cut_nor_mixed) {
  constexpr std::size_t sources = 4, count = 1000;
  record got[sources];
  output_pump pump;
  std::vector<std::thread> writers;
  std::vector<output_pump::id> ids;
  for (std::size_t s = 0; s < sources; ++s) {
    pipe_ends ends;
    ids.push_back(pump.add(std::move(ends.read), got[s].on_line(), got[s].on_end()));
    writers.emplace_back([s, out = std::move(ends.write)] {
      std::string text;
      for (std::size_t i = 0; i < count; ++i)
        text += std::to_string(i) + std::string(200, static_cast<char>('a' + s)) + '\n';
      for (std::size_t at = 0; at < text.size(); at += 331)
        write_all(out, std::string_view{text}.substr(at, 331));
    });
  }
  for (auto& writer : writers)
    writer.join();
  for (std::size_t s = 0; s < sources; ++s) {
    BOOST_TEST(pump.drain(ids[s], soon()));
    BOOST_REQUIRE(got[s].lines.size() == count);
    for (std::size_t i = 0; i < count; ++i)
      BOOST_TEST(got[s].lines[i] == std::to_string(i) + std::string(200, static_cast<char>('a' + s)));
  }
}

BOOST_AUTO_TEST_CASE(a_source_that_never_pauses_does_not_starve_another) {
  pipe_ends loop, quiet;
  std::promise<void> looping, heard;
  auto loops = looping.get_future(), future = heard.get_future();
  std::atomic<bool> enough = false;
  output_pump pump;
  // Each line that is read puts another in its place: there is always something to read.
  const auto endless = pump.add(
    std::move(loop.read),
    [&, rounds = 0](std::string_view) mutable {
      if (enough)
        return loop.write.reset();
      write_all(loop.write, "again\n");
      if (++rounds == 100)
        looping.set_value();
    },
    ignore_end);
  pump.add(std::move(quiet.read), [&](std::string_view) { heard.set_value(); }, ignore_end);
  write_all(loop.write, "start\n");
  wait_for(loops);
  write_all(quiet.write, "hello\n");
  const bool in_time = future.wait_for(10s) == std::future_status::ready;
  enough = true;
  BOOST_TEST(in_time);
  BOOST_TEST(pump.drain(endless, soon()));
}

BOOST_AUTO_TEST_CASE(a_handler_that_throws_is_reported_once_and_lines_go_on) {
  pipe_ends ends;
  int calls = 0;
  std::string reports;
  {
    const captured_stderr captured;
    output_pump pump;
    const auto source = pump.add(
      std::move(ends.read),
      [&](std::string_view) {
        if (++calls % 2 == 0)
          throw 42;
        throw std::runtime_error("handler trouble");
      },
      [] { throw std::runtime_error("end trouble"); });
    write_all(ends.write, "1\n2\n3\n4\n5");
    ends.write.reset();
    BOOST_TEST(pump.drain(source, soon()));
    reports = captured.text();
  }
  BOOST_TEST(calls == 5);
  BOOST_TEST(count(reports, "handler trouble") == 1u, reports);
  BOOST_TEST(count(reports, "end trouble") == 1u, reports);
  BOOST_TEST(count(reports, "\n") == 2u, reports);
}

BOOST_AUTO_TEST_CASE(a_source_can_be_removed_in_its_own_handler) {
  pipe_ends ends, other;
  record got_other;
  std::vector<std::string> seen;
  int ends_seen = 0;
  output_pump pump;
  std::promise<output_pump::id> own_id;
  auto future = own_id.get_future().share();
  const auto source = pump.add(
    std::move(ends.read),
    [&, future](std::string_view line) {
      seen.emplace_back(line);
      if (line == "stop")
        pump.remove(future.get());
    },
    [&] { ++ends_seen; });
  own_id.set_value(source);
  write_all(ends.write, "go\nstop\nnever\nnever");
  BOOST_TEST(pump.drain(source, soon()));
  ends.write.reset();

  const auto next = pump.add(std::move(other.read), got_other.on_line(), got_other.on_end());
  write_all(other.write, "still alive\n");
  other.write.reset();
  BOOST_TEST(pump.drain(next, soon()));
  BOOST_TEST((got_other.lines == lines{"still alive"}));
  BOOST_TEST((seen == lines{"go", "stop"}));
  BOOST_TEST(ends_seen == 0);
}

BOOST_AUTO_TEST_CASE(a_source_can_be_removed_in_its_own_end_handler) {
  pipe_ends ends;
  output_pump pump;
  output_pump::id source = 0;
  std::promise<void> added;
  auto ready = added.get_future();
  source = pump.add(std::move(ends.read), {}, [&] {
    ready.wait();
    pump.remove(source);
  });
  added.set_value();
  ends.write.reset();
  BOOST_TEST(pump.drain(source, soon()));
}

BOOST_AUTO_TEST_CASE(removing_closes_the_descriptor_and_waits_for_the_handler_that_runs) {
  pipe_ends ends;
  std::promise<void> entered, go_on;
  auto is_in = entered.get_future();
  auto may_leave = go_on.get_future();
  std::atomic<bool> left = false;
  std::atomic<int> later_calls = 0;
  output_pump pump;
  const auto source = pump.add(
    std::move(ends.read),
    [&](std::string_view) {
      entered.set_value();
      may_leave.wait();
      left = true;
    },
    [&] { ++later_calls; });
  write_all(ends.write, "one\ntwo\n");
  wait_for(is_in);
  // A pump that still knows the source keeps the handler that it is given.
  auto source_is_known = [&] {
    auto token = std::make_shared<int>();
    const std::weak_ptr<int> kept = token;
    pump.set_handler(source, [&, token = std::move(token)](std::string_view) { ++later_calls; });
    return !kept.expired();
  };
  std::thread releaser{[&] {
    while (source_is_known())
      std::this_thread::yield();
    go_on.set_value();
  }};
  pump.remove(source);
  BOOST_TEST(left.load());
  releaser.join();
  BOOST_TEST(pump.drain(source, soon()));
  BOOST_TEST(later_calls.load() == 0);
  std::signal(SIGPIPE, SIG_IGN);
  BOOST_TEST(::write(ends.write.get(), "x", 1) == -1);
  BOOST_TEST(errno == EPIPE);
}

BOOST_AUTO_TEST_CASE(a_handler_can_hand_its_source_over_and_add_others) {
  pipe_ends first, second;
  record got_rest, got_second;
  lines got_first;
  std::promise<output_pump::id> first_id, second_id;
  auto own = first_id.get_future().share();
  auto other = second_id.get_future();
  output_pump pump;
  const auto source = pump.add(
    std::move(first.read),
    [&, own](std::string_view line) {
      got_first.emplace_back(line);
      pump.set_handler(own.get(), got_rest.on_line());
      second_id.set_value(pump.add(std::move(second.read), got_second.on_line(), got_second.on_end()));
    },
    got_rest.on_end());
  first_id.set_value(source);
  write_all(first.write, "address\nout 1\nout 2");
  first.write.reset();
  write_all(second.write, "err 1\n");
  second.write.reset();
  BOOST_TEST(pump.drain(source, soon()));
  wait_for(other);
  BOOST_TEST(pump.drain(other.get(), soon()));
  BOOST_TEST((got_first == lines{"address"}));
  BOOST_TEST((got_rest.lines == lines{"out 1", "out 2"}));
  BOOST_TEST(got_rest.ends == 1);
  BOOST_TEST((got_second.lines == lines{"err 1"}));
}

BOOST_AUTO_TEST_CASE(draining_gives_up_at_its_deadline_and_goes_on_later) {
  pipe_ends ends;
  record got;
  output_pump pump;
  const auto source = pump.add(std::move(ends.read), got.on_line(), got.on_end());
  write_all(ends.write, "one\ntwo");
  BOOST_TEST(!pump.drain(source, std::chrono::steady_clock::now() + 20ms));
  ends.write.reset();
  BOOST_TEST(pump.drain(source, soon()));
  BOOST_TEST((got.lines == lines{"one", "two"}));
  BOOST_TEST(pump.drain(source, std::chrono::steady_clock::now()));
}

BOOST_AUTO_TEST_CASE(draining_waits_for_the_end_handler) {
  pipe_ends ends;
  std::promise<void> go_on;
  auto may_end = go_on.get_future();
  output_pump pump;
  const auto source = pump.add(std::move(ends.read), {}, [&] { may_end.wait(); });
  ends.write.reset();
  BOOST_TEST(!pump.drain(source, std::chrono::steady_clock::now() + 20ms));
  go_on.set_value();
  BOOST_TEST(pump.drain(source, soon()));
}

BOOST_AUTO_TEST_CASE(draining_waits_for_a_handler_that_has_removed_its_source) {
  pipe_ends ends;
  std::promise<output_pump::id> own_id;
  std::promise<void> removed, go_on;
  auto own = own_id.get_future().share();
  auto is_removed = removed.get_future();
  auto may_leave = go_on.get_future();
  output_pump pump;
  const auto source = pump.add(
    std::move(ends.read),
    [&, own](std::string_view) {
      pump.remove(own.get());
      removed.set_value();
      may_leave.wait();
    },
    ignore_end);
  own_id.set_value(source);
  write_all(ends.write, "x\n");
  wait_for(is_removed);
  BOOST_TEST(!pump.drain(source, std::chrono::steady_clock::now() + 20ms));
  go_on.set_value();
  BOOST_TEST(pump.drain(source, soon()));
}

BOOST_AUTO_TEST_CASE(draining_in_a_handler_is_an_error_and_no_deadlock) {
  pipe_ends ends;
  std::promise<bool> refused;
  auto future = refused.get_future();
  output_pump pump;
  const auto source = pump.add(
    std::move(ends.read),
    [&](std::string_view) {
      try {
        pump.drain(1, soon());
        refused.set_value(false);
      } catch (const std::logic_error&) {
        refused.set_value(true);
      }
    },
    ignore_end);
  write_all(ends.write, "x\n");
  ends.write.reset();
  wait_for(future);
  BOOST_TEST(future.get());
  BOOST_TEST(pump.drain(source, soon()));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_polled_is_refused) {
  output_pump pump;
  BOOST_CHECK_THROW(pump.add(unique_fd{::open("/bin/sh", O_RDONLY | O_CLOEXEC)}, {}, {}), std::system_error);
  BOOST_CHECK_THROW(pump.add(unique_fd{}, {}, {}), std::system_error);
}

BOOST_AUTO_TEST_CASE(destruction_ends_sources_that_are_still_open_and_leaves_no_descriptors) {
  auto open_descriptors = [] { return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"}, {}); };
  const auto before = open_descriptors();
  std::atomic<bool> ended = false;
  {
    pipe_ends quiet, busy;
    std::promise<void> entered;
    auto is_in = entered.get_future();
    output_pump pump;
    pump.add(std::move(quiet.read), {}, [&] { ended = true; });
    pump.add(
      std::move(busy.read),
      [&, first = true](std::string_view) mutable {
        if (std::exchange(first, false))
          entered.set_value();
      },
      [&] { ended = true; });
    write_all(busy.write, "1\n2\n3");
    wait_for(is_in);
  }
  BOOST_TEST(!ended.load());
  BOOST_TEST(open_descriptors() == before);
}

// IO-08
BOOST_AUTO_TEST_CASE(a_handler_that_blocks_slows_the_writer_down) {
  pipe_ends ends;
  std::promise<void> entered, go_on;
  auto is_in = entered.get_future();
  auto may_leave = go_on.get_future().share();
  std::size_t received = 0;
  output_pump pump;
  const auto source = pump.add(
    std::move(ends.read),
    [&, may_leave](std::string_view line) {
      if (received == 0)
        entered.set_value();
      may_leave.wait();
      received += line.size() + 1;
    },
    ignore_end);
  const std::string line = std::string(999, 'x') + '\n';
  write_all(ends.write, line);
  wait_for(is_in);
  ::fcntl(ends.write.get(), F_SETFL, O_NONBLOCK);
  std::size_t written = line.size();
  for (std::size_t i = 0; i < 10'000 && ::write(ends.write.get(), line.data(), line.size()) == 1000; ++i)
    written += line.size();
  BOOST_TEST(written < 1'000'000u);
  go_on.set_value();
  ends.write.reset();
  BOOST_TEST(pump.drain(source, soon()));
  BOOST_TEST(received == written);
}

// IO-08
BOOST_AUTO_TEST_CASE(sixty_four_megabytes_through_a_slow_handler_take_no_memory) {
  auto peak_kilobytes = [] {
    ::rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  constexpr std::size_t total = 64'000'000;
  pipe_ends ends;
  std::size_t received = 0;
  unsigned long sum = 0;
  const auto before = peak_kilobytes();
  output_pump pump;
  const auto source = pump.add(
    std::move(ends.read),
    [&](std::string_view line) {
      received += line.size() + 1;
      for (int i = 0; i < 3; ++i) // slower than the writer
        for (char c : line)
          sum = sum * 31 + static_cast<unsigned char>(c);
    },
    ignore_end);
  std::thread writer{[&, out = std::move(ends.write)] {
    std::string text;
    for (std::size_t i = 0; i < 100; ++i)
      text += std::string(9'999, 'x') + '\n';
    for (std::size_t sent = 0; sent < total; sent += text.size())
      write_all(out, text);
  }};
  writer.join();
  BOOST_TEST(pump.drain(source, soon()));
  BOOST_TEST(received == total);
  BOOST_TEST(sum != 0u);
  BOOST_TEST(peak_kilobytes() - before < 16'000);
}
