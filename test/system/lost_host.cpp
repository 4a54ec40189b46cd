#define BOOST_TEST_MODULE lost_host
// A host that vanishes: a worker runs in a network namespace, whose link is taken down. Needs root and iproute2.
#include "system/harness.hpp"

#include "system/load.hpp"
#include "system/test_manager.hpp"

namespace {

const setup messages{[](troupe::app& app) { load::register_messages(app); }};

/// Runs `ip`; its exit status.
int ip(std::vector<std::string> args) {
  troupe::child_process child{{.program = "ip", .args = std::move(args), .dir = {}, .env = {}, .env_removed_prefixes = {}}};
  const auto end = child.wait_until(std::chrono::steady_clock::now() + patience);
  return end ? end->status : -1;
}

/// A network namespace with one link to this one. Both go, with what runs there, by the hand of a process that waits for the end of the
/// object, or of this program, however it ends.
class far_host {
public:
  far_host()
    : undertaker_({.program = "sh",
                   .args = {"-c", "read end; kill -9 $(ip netns pids " + name_ + "); ip netns del " + name_ + "; ip link del " + near_},
                   .dir = {},
                   .env = {},
                   .env_removed_prefixes = {}}),
      life_(undertaker_.take_stdin()) {
    is_there_ = ip({"netns", "add", name_}) == 0 && ip({"link", "add", near_, "type", "veth", "peer", "name", far_, "netns", name_}) == 0
                && ip({"addr", "add", near_address() + "/30", "dev", near_}) == 0 && ip({"link", "set", near_, "up"}) == 0
                && ip({"-n", name_, "addr", "add", far_address() + "/30", "dev", far_}) == 0
                && ip({"-n", name_, "link", "set", "lo", "up"}) == 0 && ip({"-n", name_, "link", "set", far_, "up"}) == 0;
  }

  ~far_host() {
    life_.reset();
    undertaker_.wait_until(std::chrono::steady_clock::now() + patience);
  }

  far_host(const far_host&) = delete;
  far_host& operator=(const far_host&) = delete;

  /// False if this program may not make one.
  bool is_there() const { return is_there_; }
  const std::string& name() const { return name_; }
  std::string near_address() const { return net_ + ".1"; }
  std::string far_address() const { return net_ + ".2"; }
  void unplug() const { BOOST_REQUIRE_EQUAL(ip({"-n", name_, "link", "set", far_, "down"}), 0); }

private:
  std::string name_ = "troupe" + std::to_string(::getpid());
  std::string near_ = "tr" + std::to_string(::getpid()) + "n";
  std::string far_ = "tr" + std::to_string(::getpid()) + "f";
  std::string net_ = "10.231." + std::to_string(::getpid() % 256);
  troupe::child_process undertaker_;
  troupe::unique_fd life_;
  bool is_there_ = false;
};

/// Null if it can't be made here.
std::unique_ptr<far_host> make_far_host() {
  try {
    auto host = std::make_unique<far_host>();
    if (host->is_there())
      return host;
  } catch (const std::system_error&) { // there is no `ip`
  }
  return nullptr;
}

} // namespace

// FA-10
BOOST_AUTO_TEST_CASE(a_worker_whose_host_vanishes_is_lost_and_ends_itself) {
  const auto far = make_far_host();
  if (!far) {
    std::puts("skipped: a network namespace can't be made here; it takes root and the package iproute2");
    return;
  }
  troupe::local_options beside;
  beside.bind_addr = far->near_address();
  const workers near{2, beside};
  const auto manager = std::make_shared<test_manager>(
    test_manager::settings{.prefix = {"ip", "netns", "exec", far->name()}, .bind_addr = far->far_address(), .kills = false});
  const auto lost = add_workers(manager, 1).front();
  const auto process = manager->process(lost);
  captured_stream log{STDERR_FILENO};
  load::generator calls{here(), 1};
  describe_hang = [&] { return "open calls:\n" + calls.open_calls(); };
  calls.join(here().workers());
  BOOST_REQUIRE_EQUAL(calls.catch_up(patience), "");

  calls.condemn(lost);
  far->unplug();
  const auto time = time_of([&] {
    BOOST_REQUIRE(eventually([&] { return here().nworkers() == 2; }));
    BOOST_REQUIRE_EQUAL(calls.catch_up(patience), "");
  });
  BOOST_TEST(time > 1s);
  BOOST_TEST(time < 8s); // 5 s, and what this machine needs
  BOOST_TEST(calls.bury(patience) == "");
  BOOST_TEST(calls.catch_up(patience, 100) == ""); // the rest goes on
  for (auto& text : calls.complaints())
    BOOST_ERROR(text);
  const auto e = error_of<troupe::process_exited>([&] { here().remotecall_wait(lost, [] {}); });
  BOOST_TEST(contains(e.what(), "silent"), e.what());
  BOOST_TEST(contains(log.text(), "silent"), log.text());

  // nobody can tell it, and nobody kills it
  BOOST_REQUIRE(eventually([&] { return manager->running() == 0; }));
  const auto cause = *process->cause;
  BOOST_TEST(cause.status == 1);
  BOOST_TEST(contains(cause.stderr_tail, "master"), cause.stderr_tail);
  BOOST_TEST(contains(cause.stderr_tail, "silent"), cause.stderr_tail);
  describe_hang = nullptr;
}
