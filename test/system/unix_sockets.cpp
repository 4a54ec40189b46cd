#define BOOST_TEST_MODULE unix_sockets
// A manager and a transport of a user's own, made of what is installed: workers that talk over Unix-domain sockets.
#include "system/harness.hpp"

#include "troupe/managers/child_process.hpp"
#include "troupe/transport/tcp.hpp"
#include "troupe/transport/transports.hpp"

#include <cstring>
#include <numeric>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace {

using troupe::endpoint;

// -- the transport: "unix:///path" ----------------------------------------------------------------------------------------------

sockaddr_un to_socket_address(const endpoint& where) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  const auto path = where.address.substr(std::string{"unix://"}.size());
  if (path.empty() || path.size() >= sizeof out.sun_path)
    throw troupe::usage_error{"'" + where.address + "' is no path for a socket"};
  std::memcpy(out.sun_path, path.data(), path.size());
  return out;
}

troupe::unique_fd make_socket() { return troupe::unique_fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)}; }

class unix_transport final : public troupe::transport {
public:
  ~unix_transport() override {
    if (listening_)
      loop_->unwatch(listening_.get());
  }

  endpoint listen(troupe::loop& l, const endpoint& at, acceptor on_accept) override {
    const auto address = to_socket_address(at);
    auto s = make_socket();
    if (::bind(s.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || ::listen(s.get(), SOMAXCONN) != 0)
      throw std::system_error{errno, std::generic_category(), "cannot listen at " + at.address};
    loop_ = &l;
    listening_ = std::move(s);
    l.watch(listening_.get(), EPOLLIN, [this, at, on_accept](std::uint32_t) {
      if (troupe::unique_fd s{::accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)})
        on_accept(troupe::make_socket_stream(*loop_, std::move(s), at, "unix"));
    });
    return at;
  }

  void dial(troupe::loop& l, const endpoint& to, std::chrono::milliseconds, troupe::dial_handler done) override {
    const auto address = to_socket_address(to);
    auto s = make_socket();
    const bool there = ::connect(s.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    const std::string why = there ? "" : to.address + ": " + std::strerror(errno);
    l.post([&l, to, done = std::move(done), s = std::make_shared<troupe::unique_fd>(std::move(s)), why] {
      done({why.empty() ? troupe::make_socket_stream(l, std::move(*s), to, "unix") : nullptr, why, false});
    });
  }

private:
  troupe::loop* loop_ = nullptr;
  troupe::unique_fd listening_;
};

// -- the manager ------------------------------------------------------------------------------------------------------------------

class unix_manager final : public troupe::cluster_manager {
public:
  explicit unix_manager(int count, std::string cookie = here().cookie()) : count_(count), cookie_(std::move(cookie)) {
    char name[] = "/tmp/troupe_unix.XXXXXX";
    folder_ = ::mkdtemp(name);
  }
  ~unix_manager() override { std::filesystem::remove_all(folder_); }

  void launch(const troupe::launch_options& options, troupe::launch_sink& sink) override {
    for (int i = 0; i < count_; ++i) {
      troupe::worker_config config;
      config.host = "unix://" + (folder_ / std::to_string(i)).string();
      auto child = std::make_shared<troupe::child_process>(troupe::child_options{.program = std::filesystem::read_symlink("/proc/self/exe"),
                                                                                 .args = {"--worker", "--bind-addr=" + config.host},
                                                                                 .dir = {},
                                                                                 .env = {},
                                                                                 .env_removed_prefixes = {}});
      const auto line = cookie_ + "\n";
      const auto in = child->take_stdin();
      if (::write(in.get(), line.data(), line.size()) < 0)
        throw std::system_error{errno, std::generic_category(), "a worker doesn't take its cookie"};
      std::string told; // the line by which it says that it listens
      const auto out = child->take_stdout();
      ::pollfd p{out.get(), POLLIN, 0};
      for (char c = 0; c != '\n' && ::poll(&p, 1, static_cast<int>(options.launch_timeout.count())) == 1 && ::read(out.get(), &c, 1) == 1;)
        told += c;
      if (told != "troupe_worker:0#" + config.host + "\n") {
        sink.failed({"here", troupe::launch_reason::no_address, -1, "told '" + told + "'"});
        continue;
      }
      config.os_pid = child->pid();
      config.userdata = child;
      sink.launched(std::move(config));
    }
  }

  void manage(troupe::proc_id, const troupe::worker_config&, troupe::manage_op op) override { ++calls[op]; }

  std::map<troupe::manage_op, int> calls;

private:
  int count_;
  std::string cookie_;
  std::filesystem::path folder_;
};

// -- what becomes of them -----------------------------------------------------------------------------------------------------------

// Moves a byte at a time, now and then three.
class crumbling_stream final : public troupe::byte_stream {
public:
  explicit crumbling_stream(std::unique_ptr<byte_stream> whole) : whole_(std::move(whole)) {}
  void start(troupe::loop& l, std::function<void()> readable, std::function<void()> writable) override {
    whole_->start(l, std::move(readable), std::move(writable));
  }
  troupe::stream_result read(std::span<std::byte> into) override {
    return whole_->read(into.first(std::min<std::size_t>(into.size(), ++reads_ % 5 == 0 ? 3 : 1)));
  }
  troupe::stream_result write(std::span<const iovec> pieces) override {
    for (auto piece : pieces) {
      if (piece.iov_len == 0)
        continue;
      piece.iov_len = std::min<std::size_t>(piece.iov_len, ++writes_ % 5 == 0 ? 3 : 1);
      return whole_->write({&piece, 1});
    }
    return {};
  }
  void want_write(bool on) override { whole_->want_write(on); }
  void close() override { whole_->close(); }
  std::string kind() const override { return "crumbs"; }
  std::string peer() const override { return whole_->peer(); }

private:
  const std::unique_ptr<byte_stream> whole_;
  int reads_ = 0;
  std::atomic<int> writes_{0};
};

class crumbling_transport final : public troupe::transport {
public:
  endpoint listen(troupe::loop& l, const endpoint& at, acceptor on_accept) override {
    const auto where = tcp_.listen(l, {"127.0.0.1", 0}, [on_accept](std::unique_ptr<troupe::byte_stream> s) {
      on_accept(std::make_unique<crumbling_stream>(std::move(s)));
    });
    return {at.scheme() + "://" + where.address, where.port};
  }
  void dial(troupe::loop& l, const endpoint& to, std::chrono::milliseconds limit, troupe::dial_handler done) override {
    tcp_.dial(l, {to.address.substr(to.scheme().size() + 3), to.port}, limit, [done = std::move(done)](troupe::dial_result r) {
      if (r.stream)
        r.stream = std::make_unique<crumbling_stream>(std::move(r.stream));
      done(std::move(r));
    });
  }

private:
  troupe::tcp_transport tcp_;
};

troupe::app* the_app = nullptr;

const setup with_transports{[](troupe::app& app) {
  app.transport("unix", [] { return std::make_shared<unix_transport>(); });
  app.transport("crumbs", [] { return std::make_shared<crumbling_transport>(); });
  the_app = &app;
}};

proc_id where_am_i() { return here().myid(); }

} // namespace

// CM-01, CM-05, CM-10, CM-15, CM-16: two over Unix-domain sockets and two over TCP, in one cluster
BOOST_AUTO_TEST_CASE(workers_over_a_transport_of_ones_own_are_like_others) {
  const auto manager = std::make_shared<unix_manager>(2);
  const auto mine = here().addprocs(manager);
  const workers others{2};
  for (auto from : here().procs())
    for (auto to : here().procs())
      BOOST_TEST(here().remotecall_fetch(from, [](proc_id id) { return here().remotecall_fetch<where_am_i>(id); }, to) == to);
  std::map<std::string, int> kinds;
  for (auto& l : here().links())
    ++kinds[l.kind];
  BOOST_TEST(kinds["unix"] == 7); // all but those of the master and the others
  BOOST_TEST(kinds["unix"] + kinds["tcp"] == 10);
  std::vector<double> large(1 << 20);
  std::iota(large.begin(), large.end(), 0);
  BOOST_TEST((here().remotecall_fetch(mine[0], [](std::vector<double> x) { return x; }, large) == large));
  const auto ch = troupe::remote_channel<int>::on(here(), mine[1], 4);
  auto taken = here().remotecall(mine[0], [](troupe::remote_channel<int> c) { return c.take(); }, ch);
  ch.put(7);
  BOOST_TEST(taken.fetch() == 7);
  here().rmprocs(mine);
  BOOST_TEST(manager->calls[troupe::manage_op::registered] == 2);
  BOOST_TEST(manager->calls[troupe::manage_op::deregistered] == 2);
}
// CM-14
BOOST_AUTO_TEST_CASE(the_end_of_a_worker_over_a_transport_of_ones_own_is_known) {
  const auto mine = here().addprocs(std::make_shared<unix_manager>(1));
  auto never = here().remotecall(mine[0], [] { troupe::this_task::sleep_for(1h); });
  ::kill(static_cast<::pid_t>(here().info(mine[0]).os_pid), SIGKILL);
  BOOST_CHECK_THROW(never.fetch(), troupe::process_exited);
}
// CM-11
BOOST_AUTO_TEST_CASE(a_transport_may_deliver_in_pieces_of_any_size) {
  const workers w{2, {.bind_addr = "crumbs://"}};
  for (auto& l : here().links())
    BOOST_TEST(l.kind == "crumbs");
  std::vector<double> values(2000);
  std::iota(values.begin(), values.end(), 0.5);
  for (auto from : w.ids())
    for (auto to : w.ids())
      BOOST_TEST(
        (here().remotecall_fetch(
           from,
           [](proc_id id, const std::vector<double>& x) { return here().remotecall_fetch(id, [](std::vector<double> y) { return y; }, x); },
           to, values)
         == values));
  const auto ch = troupe::remote_channel<std::string>::on(here(), w[0], 100);
  for (int i = 0; i < 50; ++i)
    ch.put("value " + std::to_string(i));
  BOOST_TEST(here().remotecall_fetch(w[1], [](troupe::remote_channel<std::string> c) { return c.take_many(50).back(); }, ch) == "value 49");
  const auto failed =
    error_of<troupe::remote_error>([&] { here().remotecall_fetch(w[1], [] { throw std::runtime_error{"on purpose"}; }); });
  BOOST_TEST(failed.message() == "on purpose");
}
// CM-13
BOOST_AUTO_TEST_CASE(over_a_transport_of_ones_own_nobody_gets_in_without_the_cookie_either) {
  troupe::launch_options options;
  options.launch_timeout = 10s;
  const auto failed = error_of<troupe::launch_error>([&] { here().addprocs(std::make_shared<unix_manager>(1, "another"), options); });
  BOOST_TEST(contains(failed.what(), "cookie"), failed.what());
}
// CM-12
BOOST_AUTO_TEST_CASE(transports_are_registered_before_the_program_runs) {
  const auto late = error_of<troupe::usage_error>([] { the_app->transport("late", [] { return std::make_shared<unix_transport>(); }); });
  BOOST_TEST(contains(late.what(), "before app::run"));
}
// CM-05
BOOST_AUTO_TEST_CASE(an_address_whose_transport_nobody_has_registered_is_an_error_that_says_so) {
  const auto failed = error_of<troupe::launch_error>([] { here().addprocs(1, {.bind_addr = "morse://here"}); });
  BOOST_TEST(contains(failed.what(), "no transport 'morse'"));
}
