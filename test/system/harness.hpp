#pragma once

/// Tests on real processes. The test program is an application of its own: Boost's tests run in its body, on the
/// master, where troupe::here() is the cluster, and each case starts the workers that it needs. Workers run the
/// same program and never get as far. Include this file in place of <boost/test/unit_test.hpp>, after the name of
/// the test module.
///
/// Boost's assertions belong to the main thread: other threads and tasks hand over what they have seen.
#define BOOST_TEST_NO_MAIN
#include <boost/test/unit_test.hpp>

#include <troupe/cli.hpp>
#include <troupe/troupe.hpp>

#include "troupe/managers/child_process.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <ext/stdio_filebuf.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
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
inline std::int64_t bytes_in_use(proc_id id = here().myid()) {
  return here().remotecall_fetch(id, [] {
    const auto m = ::mallinfo2();
    return static_cast<std::int64_t>(m.uordblks + m.hblkhd);
  });
}

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

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream in{path, std::ios::binary};
  std::ostringstream out; // takes what there is, also of a process that goes meanwhile
  out << in.rdbuf();
  return out.str();
}

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

/// Local workers that live no longer than the object.
class workers {
public:
  explicit workers(int n, troupe::local_options options = {}) : ids_(here().addprocs(n, std::move(options))) {}

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
inline program_result run_scenario(const std::string& name, std::vector<std::string> args = {}) {
  args.insert(args.begin(), "--scenario=" + name);
  troupe::child_process child{{.program = std::filesystem::read_symlink("/proc/self/exe"),
                               .args = std::move(args),
                               .dir = {},
                               .env = {},
                               .env_removed_prefixes = {}}};
  child.take_stdin().reset();
  troupe::unique_fd streams[] = {child.take_stdout(), child.take_stderr()};
  program_result result;
  std::string* texts[] = {&result.out, &result.err};
  const auto until = std::chrono::steady_clock::now() + case_limit;
  while (streams[0] || streams[1]) {
    ::pollfd entries[] = {{streams[0].get(), POLLIN, 0}, {streams[1].get(), POLLIN, 0}};
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left <= 0ms || ::poll(entries, 2, static_cast<int>(left.count())) <= 0)
      break;
    for (std::size_t i = 0; i < 2; ++i) {
      char buffer[4096];
      if (entries[i].revents == 0)
        continue;
      if (const auto n = ::read(streams[i].get(), buffer, sizeof buffer); n > 0)
        texts[i]->append(buffer, static_cast<std::size_t>(n));
      else
        streams[i].reset();
    }
  }
  result.end = child.wait_until(until).value_or(troupe::exit_state{});
  return result;
}

// -- main ---------------------------------------------------------------------------------------------------

/// What a test does before the cluster is there, on every process.
struct setup {
  explicit setup(std::function<void(troupe::app&)> f) { all().push_back(std::move(f)); }

  static std::vector<std::function<void(troupe::app&)>>& all() {
    static std::vector<std::function<void(troupe::app&)>> setups;
    return setups;
  }
};

/// Other processes that descend from this run, by pid.
inline std::map<int, std::string> processes_of_run();

/// What this process and those of its run are at: their state, and what each thread waits for in the kernel.
inline std::string describe_processes() {
  std::string out;
  auto all = processes_of_run();
  all[::getpid()] = "this program";
  for (auto& [pid, command] : all) {
    out += "process " + std::to_string(pid) + ", " + command + ":";
    std::error_code ignored;
    for (auto& task : std::filesystem::directory_iterator{"/proc/" + std::to_string(pid) + "/task", ignored}) {
      const auto stat = read_file(task.path() / "stat");
      const auto state = stat.rfind(')') + 2;
      out += ' ' + (state < stat.size() ? stat.substr(state, 1) : "?") + '/' + read_file(task.path() / "wchan");
    }
    out += '\n';
  }
  return out;
}

/// Ends the program when a case takes too long: its workers end with it.
class watchdog final : public boost::unit_test::test_observer {
public:
  watchdog() : thread_([this] { watch(); }) { boost::unit_test::framework::register_observer(*this); }

  ~watchdog() override {
    boost::unit_test::framework::deregister_observer(*this);
    {
      std::lock_guard guard{mutex_};
      stopped_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

private:
  void test_unit_start(const boost::unit_test::test_unit& unit) override {
    if (unit.p_type == boost::unit_test::TUT_CASE)
      set(unit.full_name());
  }

  void test_unit_finish(const boost::unit_test::test_unit&, unsigned long) override { set({}); }

  void set(std::string name) {
    std::lock_guard guard{mutex_};
    case_ = std::move(name);
    until_ = std::chrono::steady_clock::now() + case_limit;
    changed_.notify_all();
  }

  void watch() {
    std::unique_lock lock{mutex_};
    while (!stopped_) {
      if (case_.empty()) {
        changed_.wait(lock);
      } else if (changed_.wait_until(lock, until_) == std::cv_status::timeout && std::chrono::steady_clock::now() >= until_
                 && !case_.empty() && !stopped_) {
        ::dprintf(stderr_, "%s: still running after %lld s, ending the program\n%s%s", case_.c_str(),
                  static_cast<long long>(case_limit.count()), describe_hang ? describe_hang().c_str() : "", describe_processes().c_str());
        std::fflush(nullptr);
        ::_exit(3);
      }
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string case_;
  std::chrono::steady_clock::time_point until_;
  bool stopped_ = false;
  int stderr_ = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3); // a case may have put something else in its place
  std::thread thread_;
};

inline std::map<int, std::string> processes_of_run() {
  const auto mark = std::string{run_variable} + "=" + std::getenv(run_variable);
  std::map<int, std::string> out;
  std::error_code ignored;
  for (auto& entry : std::filesystem::directory_iterator{"/proc", ignored}) {
    const auto pid = std::atoi(entry.path().filename().c_str());
    if (pid <= 0 || pid == ::getpid())
      continue;
    const auto environment = read_file(entry.path() / "environ");
    if (!contains('\0' + environment, '\0' + mark + '\0'))
      continue;
    auto command = read_file(entry.path() / "cmdline");
    std::replace(command.begin(), command.end(), '\0', ' ');
    out[pid] = command;
  }
  return out;
}

/// 0 if nothing that the tests have started is left; says what is, and ends it, otherwise.
inline int check_nothing_left() {
  if (eventually([] { return processes_of_run().empty(); }, 5s))
    return 0;
  for (auto& [pid, command] : processes_of_run()) {
    std::fprintf(stderr, "left behind by the tests: process %d, %s\n", pid, command.c_str());
    ::kill(pid, SIGKILL);
  }
  return 4;
}

inline int run_tests(const char* program, const std::vector<std::string>& args) {
  std::vector<std::string> all{program, "--catch_system_errors=no"};
  all.insert(all.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (auto& arg : all)
    argv.push_back(arg.data());
  argv.push_back(nullptr);
  // not through a stream that a case may capture
  const int log_fd = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  __gnu_cxx::stdio_filebuf<char> log_buffer{log_fd, std::ios::out};
  std::ostream log{&log_buffer};
  log << std::unitbuf;
  boost::unit_test::unit_test_log.set_stream(log);
  watchdog guard;
  return boost::unit_test::unit_test_main(&init_unit_test, static_cast<int>(all.size()), argv.data());
}

} // namespace system_test

using namespace system_test;

int main(int argc, char** argv) {
  const bool is_root = std::getenv(run_variable) == nullptr;
  if (is_root)
    ::setenv(run_variable, std::to_string(::getpid()).c_str(), 1);
  int status = 0;
  {
    troupe::app app{"system test"};
    std::string scenario_name;
    app.option("--scenario", scenario_name, "what to run in place of the tests");
    app.cli().allow_extras();
    for (auto& f : setup::all())
      f(app);
    status = app.run(argc, argv, [&](troupe::cluster& c) {
      if (scenario_name.empty())
        return run_tests(argv[0], app.cli().remaining());
      return scenario::all().at(scenario_name)(c);
    });
  }
  if (is_root)
    if (const int left = check_nothing_left(); left != 0)
      return left;
  return status;
}
