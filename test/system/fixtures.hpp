#pragma once

/// What tests on real processes use; harness.hpp has the rest.
#define BOOST_TEST_NO_MAIN
#include <boost/test/unit_test.hpp>

#include <troupe/troupe.hpp>

#include "system/read_file.hpp"
#include "troupe/managers/child_process.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace system_test {

using namespace std::chrono_literals;
using troupe::here;
using troupe::proc_id;

/// How long a case may take before the program is ended. A test whose cases take longer sets it in a `setup`.
inline std::chrono::seconds case_limit = 60s;

/// Says on stderr what hangs, before the program is ended.
inline std::function<std::string()> describe_hang;

/// For what has to happen, but not at once.
inline constexpr auto patience = 20s;

/// Each process of a run has this variable, with the same value.
inline constexpr const char* run_variable = "SYSTEM_TEST_RUN";

/// The bytes that a process has in use; not what it has from the system: how much is queued at once varies, and so does what malloc keeps of that.
std::int64_t bytes_in_use(proc_id id = here().myid());

/// Asks again and again until the answer is yes, for what tells nobody when it happens. False after the
/// limit.
template <class Condition>
bool eventually(Condition condition, std::chrono::milliseconds limit = patience) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until)
      return false;
    std::this_thread::sleep_for(2ms);
  }
  return true;
}

inline std::chrono::steady_clock::duration time_of(const std::function<void()>& f) {
  const auto begin = std::chrono::steady_clock::now();
  f();
  return std::chrono::steady_clock::now() - begin;
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

/// What f throws as an E; fails the case if it throws something else, or nothing.
template <class E, class F>
E error_of(F f) {
  try {
    f();
  } catch (const E& e) {
    return e;
  } catch (const std::exception& e) {
    BOOST_FAIL("another exception was thrown: " << boost::core::demangle(typeid(e).name()) << ": " << e.what());
  }
  BOOST_FAIL("nothing was thrown");
  std::abort();
}

// -- workers ------------------------------------------------------------------------------------------------

/// Workers that live no longer than the object: new ones of this host, or those that have been added.
class workers {
public:
  explicit workers(int n, troupe::local_options options = {}) : ids_(here().addprocs(n, std::move(options))) {}
  explicit workers(std::vector<proc_id> ids) : ids_(std::move(ids)) {}

  ~workers() {
    const auto there = here().procs();
    std::erase_if(ids_, [&](proc_id id) { return std::find(there.begin(), there.end(), id) == there.end(); });
    try {
      here().rmprocs(ids_);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "workers that a test has left can't be removed: %s\n", e.what());
    }
  }

  workers(const workers&) = delete;
  workers& operator=(const workers&) = delete;

  const std::vector<proc_id>& ids() const { return ids_; }
  proc_id operator[](std::size_t i) const { return ids_.at(i); }
  std::size_t size() const { return ids_.size(); }

private:
  std::vector<proc_id> ids_;
};

inline bool process_exists(std::int64_t os_pid) { return ::kill(static_cast<::pid_t>(os_pid), 0) == 0; }

// -- output -------------------------------------------------------------------------------------------------

/// What workers write, while the object lives, in place of its being printed.
class worker_output {
public:
  using line = std::pair<proc_id, std::string>;

  worker_output() {
    here().on_output([this](proc_id id, std::string_view text) {
      std::lock_guard guard{mutex_};
      lines_.emplace_back(id, text);
      changed_.notify_all();
    });
  }

  ~worker_output() { here().on_output(nullptr); }
  worker_output(const worker_output&) = delete;
  worker_output& operator=(const worker_output&) = delete;

  std::vector<line> lines() const {
    std::lock_guard guard{mutex_};
    return lines_;
  }

  std::vector<std::string> lines_of(proc_id id) const {
    std::lock_guard guard{mutex_};
    std::vector<std::string> out;
    for (auto& [from, text] : lines_)
      if (from == id)
        out.push_back(text);
    return out;
  }

  /// Waits until all that a worker has written fulfils the condition. False after the limit.
  bool wait_for(const std::function<bool(const std::vector<line>&)>& condition, std::chrono::milliseconds limit = patience) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, limit, [&] { return condition(lines_); });
  }

  bool wait_for_line(proc_id id, std::string_view part) {
    return wait_for([&](auto& lines) {
      return std::any_of(lines.begin(), lines.end(), [&](auto& l) { return l.first == id && contains(l.second, part); });
    });
  }

private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<line> lines_;
};

/// What this process writes to one of its standard streams while the object lives.
class captured_stream {
public:
  explicit captured_stream(int fd) : fd_(fd), saved_(::fcntl(fd, F_DUPFD_CLOEXEC, 3)), file_(::memfd_create("captured", MFD_CLOEXEC)) {
    std::fflush(nullptr);
    ::dup2(file_, fd_);
  }

  ~captured_stream() {
    restore();
    ::close(file_);
  }

  captured_stream(const captured_stream&) = delete;
  captured_stream& operator=(const captured_stream&) = delete;

  std::string text() {
    std::fflush(nullptr);
    std::string out(static_cast<std::size_t>(::lseek(file_, 0, SEEK_END)), '\0');
    const auto n = ::pread(file_, out.data(), out.size(), 0);
    out.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    return out;
  }

private:
  void restore() {
    std::fflush(nullptr);
    ::dup2(saved_, fd_);
    ::close(saved_);
  }

  int fd_;
  int saved_;
  int file_;
};

// -- programs of their own ----------------------------------------------------------------------------------

/// A body that this program runs in place of the tests when it is started with --scenario=NAME, as a master
/// of its own.
struct scenario {
  using body = std::function<int(troupe::cluster&)>;
  scenario(const std::string& name, body b) { all()[name] = std::move(b); }

  static std::map<std::string, body>& all() {
    static std::map<std::string, body> scenarios;
    return scenarios;
  }
};

struct program_result {
  troupe::exit_state end;
  std::string out;
  std::string err;
};

/// Runs a scenario to its end.
program_result run_scenario(const std::string& name, std::vector<std::string> args = {});

// -- main ---------------------------------------------------------------------------------------------------

/// Other processes that descend from this run, by pid.
std::map<int, std::string> processes_of_run();

/// What a test does before the cluster is there, on every process.
struct setup {
  explicit setup(std::function<void(troupe::app&)> f) { all().push_back(std::move(f)); }

  static std::vector<std::function<void(troupe::app&)>>& all() {
    static std::vector<std::function<void(troupe::app&)>> setups;
    return setups;
  }
};

/// The main program of a test: its tests, or a scenario.
int run_program(int argc, char** argv, boost::unit_test::init_unit_test_func init);

} // namespace system_test
