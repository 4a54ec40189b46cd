#define BOOST_TEST_MODULE started_workers
// What managers do with processes, on a loop of the test's own. The workers are scripts, which say where they listen and don't.
#include "system/fake_ssh.hpp"

#include "troupe/managers/keeper_session.hpp"
#include "troupe/managers/local_manager.hpp"

#include <optional>

namespace {

using troupe::launch_failure;
using troupe::manage_op;
using troupe::worker_config;

const std::string own_program = std::filesystem::read_symlink("/proc/self/exe").string();

// What a manager needs of a master, and what it tells.
class fake_master final : public troupe::launch_sink {
public:
  fake_master() : pump_(std::make_unique<troupe::output_pump>()), thread_([this] { events_.run(); }) {}
  ~fake_master() override {
    pump_.reset();
    events_.stop();
    thread_.join();
  }

  troupe::manager_context context() {
    troupe::manager_context c{};
    c.events = &events_;
    c.pump = pump_.get();
    c.cookie = "cookie";
    c.host = "here";
    c.output = [this](proc_id, std::string_view line) { note(std::string{line}); };
    c.warn = [this](const std::string& line) { note("warning: " + line); };
    return c;
  }

  void launched(worker_config config) override {
    std::lock_guard guard{mutex_};
    workers_.push_back(std::move(config));
    changed_.notify_all();
  }
  void failed(launch_failure why) override {
    std::lock_guard guard{mutex_};
    failures_.push_back(std::move(why));
    changed_.notify_all();
  }
  void note(const std::string& line) {
    std::lock_guard guard{mutex_};
    lines_.push_back(line);
    changed_.notify_all();
  }
  void note(const troupe::exit_cause& cause) { note("ended: " + cause.to_text()); }

  // The first line from there on that has this.
  bool wait_for_line(const std::string& part) {
    std::unique_lock lock{mutex_};
    return changed_.wait_for(lock, patience,
                             [&] { return std::any_of(lines_.begin(), lines_.end(), [&](auto& line) { return contains(line, part); }); });
  }
  int lines_with(const std::string& part) {
    std::lock_guard guard{mutex_};
    return static_cast<int>(std::count_if(lines_.begin(), lines_.end(), [&](auto& line) { return contains(line, part); }));
  }
  worker_config worker(std::size_t i = 0) {
    std::unique_lock lock{mutex_};
    BOOST_REQUIRE(changed_.wait_for(lock, patience, [&] { return workers_.size() > i; }));
    return workers_[i];
  }

  std::vector<launch_failure> failures() {
    std::lock_guard guard{mutex_};
    return failures_;
  }

private:
  troupe::loop events_;
  std::unique_ptr<troupe::output_pump> pump_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<worker_config> workers_;
  std::vector<launch_failure> failures_;
  std::vector<std::string> lines_;
  std::thread thread_; // last: it uses the others
};

std::vector<std::string> script(const std::string& text) { return {"-c", "echo troupe_worker:9#127.0.0.1; " + text, "sh"}; }

// Says what it gets, and ends by SIGKILL only.
const std::string stubborn =
  "trap 'echo got INT' INT; trap 'echo got USR1' USR1; trap 'echo got QUIT' QUIT; echo ready; while :; do sleep 0.05; done";

std::shared_ptr<troupe::local_manager> local(fake_master& m, const std::string& text,
                                             std::array<std::chrono::milliseconds, 3> kill_after = {1s, 500ms, 1s}) {
  troupe::local_options o;
  o.exename = "/bin/sh";
  o.exeflags = script(text);
  o.kill_after = kill_after;
  const auto manager = std::make_shared<troupe::local_manager>(1, o, m.context());
  manager->launch(o, m);
  return manager;
}

// A keeper that is a child of this process, and one worker of it.
struct kept {
  explicit kept(fake_master& m, int workers, const std::string& text) : master(m), g(std::make_shared<troupe::gathering>(m)) {
    troupe::keeper_session::settings s;
    s.client.program = own_program;
    s.client.args = {"--worker", "--keeper", "--launch-timeout=20"};
    s.host = "there";
    s.kill_after = {1s, 500ms, 1s};
    s.on_hello = [&m](const troupe::keeper_hello& there) { m.note("hello from " + std::to_string(there.cpus)); };
    s.on_end = [&m](const troupe::keeper_session::end& e) { m.note("keeper " + e.state.to_text()); };
    session = std::make_shared<troupe::keeper_session>(m.context(), s);
    session->start();
    BOOST_REQUIRE(m.wait_for_line("hello from " + std::to_string(std::thread::hardware_concurrency())));
    session->send_cookie("secret");
    for (int i = 0; i < workers; ++i)
      this->workers.push_back(session->start_worker({i, "/bin/sh", script(text), {{"INDEX", std::to_string(i)}}}, g, i));
    g->all_started();
  }
  // These workers aren't tied to anything.
  ~kept() {
    session->close_input();
    master.wait_for_line("keeper ");
  }

  fake_master& master;
  std::shared_ptr<troupe::gathering> g;
  std::shared_ptr<troupe::keeper_session> session;
  std::vector<std::shared_ptr<troupe::started_worker>> workers;
};

} // namespace

// LM-05, LM-07
BOOST_AUTO_TEST_CASE(a_worker_that_stays_gets_stronger_and_stronger_signals) {
  fake_master m;
  const auto manager = local(m, stubborn);
  const auto config = m.worker();
  manager->manage(7, config, manage_op::registered);
  BOOST_REQUIRE(manager->watch(7, config, [&](const troupe::exit_cause& cause) { m.note(cause); }));
  BOOST_REQUIRE(m.wait_for_line("ready"));
  const auto took = time_of([&] {
    manager->kill(7, config);
    BOOST_TEST(m.wait_for_line("ended: was killed by signal 9"));
  });
  BOOST_TEST((took >= 2500ms && took <= 4s));
  for (const char* name : {"SIGUSR1", "SIGQUIT", "SIGKILL"})
    BOOST_TEST(m.lines_with(std::string{"warning: worker 7 (OS pid "} + std::to_string(config.os_pid)
                            + ") was asked to leave and is still there: sending " + name)
               == 1);
  BOOST_TEST(m.lines_with("got USR1") == 1);
  BOOST_TEST(m.lines_with("got QUIT") == 1);
}

// LM-08
BOOST_AUTO_TEST_CASE(a_local_worker_is_interrupted_by_a_signal) {
  fake_master m;
  const auto manager = local(m, stubborn);
  BOOST_REQUIRE(m.wait_for_line("ready"));
  manager->manage(7, m.worker(), manage_op::interrupt);
  BOOST_TEST(m.wait_for_line("got INT"));
}

// LM-09
BOOST_AUTO_TEST_CASE(a_local_manager_shows_no_secrets) {
  fake_master m;
  BOOST_TEST(local(m, "sleep 100")->to_text() == "local_manager(1 worker on this host)");
}

// SM-22
BOOST_AUTO_TEST_CASE(a_remote_worker_is_interrupted_by_a_signal) {
  fake_master m;
  const kept k{m, 1, stubborn};
  BOOST_REQUIRE(m.wait_for_line("ready"));
  k.workers[0]->manage(7, manage_op::interrupt);
  BOOST_TEST(m.wait_for_line("got INT"));
  BOOST_TEST(m.worker().os_pid != 0);
}

// LM-05
BOOST_AUTO_TEST_CASE(a_remote_worker_that_stays_gets_the_same_signals) {
  fake_master m;
  const kept k{m, 1, stubborn};
  k.workers[0]->watch([&](const troupe::exit_cause& cause) { m.note(cause); });
  k.workers[0]->manage(7, manage_op::registered);
  BOOST_REQUIRE(m.wait_for_line("ready"));
  k.workers[0]->kill();
  BOOST_TEST(m.wait_for_line("ended: was killed by signal 9"));
  BOOST_TEST(m.lines_with("got QUIT") == 1);
}

// SM-12
BOOST_AUTO_TEST_CASE(a_keeper_tells_how_each_worker_ends_and_goes_with_the_last) {
  fake_master m;
  const kept k{m, 3, "read c; echo $INDEX has $c; echo last words >&2; test $INDEX = 2 && kill -SEGV $$; exit $INDEX"};
  for (auto& w : k.workers)
    w->watch([&](const troupe::exit_cause& cause) { m.note("ended: " + cause.to_text() + " " + cause.stderr_tail); });
  k.session->complete();
  BOOST_TEST(m.wait_for_line("keeper exited with status 0"));
  BOOST_TEST(m.lines_with("ended: exited with status 0 last words") == 1);
  BOOST_TEST(m.lines_with("ended: exited with status 1 last words") == 1);
  BOOST_TEST(m.lines_with("ended: was killed by signal 11 (Segmentation fault) last words") == 1);
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(m.lines_with(std::to_string(i) + " has secret") == 1);
}

BOOST_AUTO_TEST_CASE(a_program_that_is_not_there_is_said_to_be_so) {
  fake_master m;
  const kept k{m, 0, ""};
  const auto g = std::make_shared<troupe::gathering>(m);
  k.session->start_worker({5, "/no/such/program", {}, {}}, g, 0);
  k.session->complete();
  BOOST_TEST(m.wait_for_line("keeper exited with status 0"));
  BOOST_REQUIRE(m.failures().size() == 1u);
  BOOST_TEST(contains(m.failures()[0].text, "'/no/such/program'"));
  BOOST_TEST(m.failures()[0].host == "there");
}

// what workers have started goes with them
BOOST_AUTO_TEST_CASE(a_keeper_whose_input_ends_kills_all) {
  fake_master m;
  {
    const kept k{m, 2, "sleep 1000 & trap '' TERM; echo ready $!; wait; wait"};
    BOOST_REQUIRE(eventually([&] { return m.lines_with("ready") == 2; }));
    k.session->close_input();
    BOOST_TEST(m.wait_for_line("keeper exited with status 0"));
  }
  BOOST_TEST(eventually([] { return processes_of_run().empty(); }));
}

BOOST_AUTO_TEST_CASE(a_keeper_that_is_told_nonsense_says_so_and_goes) {
  troupe::child_process keeper{
    {.program = own_program, .args = {"--worker", "--keeper"}, .dir = {}, .env = {}, .env_removed_prefixes = {}}};
  const auto in = keeper.take_stdin();
  const auto err = keeper.take_stderr();
  BOOST_REQUIRE(::write(in.get(), "hello?\n", 7) == 7);
  BOOST_TEST(keeper.wait_until(std::chrono::steady_clock::now() + patience).value().status == 2);
  char text[200] = {};
  BOOST_REQUIRE(::read(err.get(), text, sizeof text - 1) > 0);
  BOOST_TEST(contains(text, "'hello?'"));
}

BOOST_AUTO_TEST_CASE(a_keeper_that_is_told_nothing_goes_in_time) {
  troupe::child_process keeper{
    {.program = own_program, .args = {"--worker", "--keeper", "--launch-timeout=0.3"}, .dir = {}, .env = {}, .env_removed_prefixes = {}}};
  const auto in = keeper.take_stdin();
  BOOST_TEST(keeper.wait_until(std::chrono::steady_clock::now() + patience).value().status == 1);
}

// a master that doesn't read slows the workers down, and the keeper still obeys
BOOST_AUTO_TEST_CASE(a_keeper_that_nobody_reads_obeys_all_the_same) {
  troupe::child_process keeper{
    {.program = own_program, .args = {"--worker", "--keeper"}, .dir = {}, .env = {}, .env_removed_prefixes = {}}};
  const auto in = keeper.take_stdin();
  const auto start = to_line(troupe::keeper_start{0, "/bin/sh", {"-c", "yes"}, {}}) + "\n";
  BOOST_REQUIRE(::write(in.get(), start.data(), start.size()) == static_cast<::ssize_t>(start.size()));
  const auto memory = [&] {
    std::istringstream status{read_file("/proc/" + std::to_string(keeper.pid()) + "/statm")};
    long total = 0, resident = 0;
    status >> total >> resident;
    return resident * 4096;
  };
  const auto workers = [&] { return processes_of_run().size(); };
  BOOST_REQUIRE(eventually([&] { return workers() >= 3; })); // keeper, sh, yes
  BOOST_TEST(memory() < 64 << 20);
  const auto kill = to_line(troupe::keeper_signal{0, SIGKILL, true}) + "\n" + to_line(troupe::keeper_complete{}) + "\n";
  BOOST_REQUIRE(::write(in.get(), kill.data(), kill.size()) == static_cast<::ssize_t>(kill.size()));
  BOOST_TEST(eventually([&] { return workers() <= 1; }));
  // its last words find nobody, and it goes
  BOOST_TEST(keeper.wait_until(std::chrono::steady_clock::now() + patience).value().status == 0);
}
