#include <troupe/cli.hpp>

#include "system/fixtures.hpp"

#include <ext/stdio_filebuf.h>
#include <malloc.h>
#include <poll.h>

namespace system_test {

std::int64_t bytes_in_use(proc_id id) {
  return here().remotecall_fetch(id, [] {
    const auto m = ::mallinfo2();
    return static_cast<std::int64_t>(m.uordblks + m.hblkhd);
  });
}

program_result run_scenario(const std::string& name, std::vector<std::string> args) {
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

std::map<int, std::string> processes_of_run() {
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

namespace {

// What this process and those of its run are at: their state, and what each thread waits for in the kernel.
std::string describe_processes() {
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

// Ends the program when a case takes too long: its workers end with it.
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

// 0 if nothing that the tests have started is left; says what is, and ends it, otherwise.
int check_nothing_left() {
  if (eventually([] { return processes_of_run().empty(); }, 5s))
    return 0;
  for (auto& [pid, command] : processes_of_run()) {
    std::fprintf(stderr, "left behind by the tests: process %d, %s\n", pid, command.c_str());
    ::kill(pid, SIGKILL);
  }
  return 4;
}

int run_tests(const char* program, const std::vector<std::string>& args, boost::unit_test::init_unit_test_func init) {
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
  return boost::unit_test::unit_test_main(init, static_cast<int>(all.size()), argv.data());
}

} // namespace

int run_program(int argc, char** argv, boost::unit_test::init_unit_test_func init) {
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
        return run_tests(argv[0], app.cli().remaining(), init);
      return scenario::all().at(scenario_name)(c);
    });
  }
  if (is_root)
    if (const int left = check_nothing_left(); left != 0)
      return left;
  return status;
}

} // namespace system_test
