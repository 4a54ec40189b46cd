#include "troupe/managers/ssh_tunnel.hpp"

#include "troupe/transport/error.hpp"

#include <arpa/inet.h>
#include <atomic>
#include <chrono>
#include <csignal>
#include <mutex>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <utility>

namespace troupe {

namespace {

using namespace std::chrono_literals;

constexpr int first_port = 9201;
constexpr int last_port = 32'000;
constexpr int most_ports = 100;
// Somebody else may take a port between our look at it and the client's.
constexpr int most_tries = 3;
// Sessions wait this long for a link (mesh::settings::resume_limit), less what a connection takes.
constexpr auto mending_time = 3s;
constexpr auto between_tries = 250ms;
constexpr std::size_t max_tail = 4096;
constexpr std::string_view up_word = "troupe_tunnel";

bool is_free(std::uint16_t port) {
  const unique_fd s{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1; // as ssh does
  ::setsockopt(s.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return s && ::bind(s.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0 && ::listen(s.get(), 1) == 0;
}

} // namespace

std::string forwarding::to_text() const { return "127.0.0.1:" + std::to_string(here) + ":" + there.to_text(); }

std::uint16_t next_tunnel_port() {
  static std::atomic<int> next{0};
  for (int i = 0; i < most_ports; ++i) {
    const auto port = static_cast<std::uint16_t>(first_port + next++ % (last_port - first_port + 1));
    if (is_free(port))
      return port;
  }
  throw usage_error{"tunnel: " + std::to_string(most_ports) + " ports of 127.0.0.1 in a row are taken, of those from "
                    + std::to_string(first_port) + " to " + std::to_string(last_port)};
}

// One run of the client.
struct ssh_tunnel::client {
  explicit client(const child_options& options) : process(options), input(process.take_stdin()) {}

  std::string last_words() {
    std::lock_guard guard{mutex};
    return tail.substr(0, tail.find_last_not_of('\n') + 1);
  }

  child_process process;
  unique_fd input;
  int open_streams = 2;
  bool exited = false;
  bool taken = false;
  std::mutex mutex; // guards tail
  std::string tail;
};

ssh_tunnel::ssh_tunnel(manager_context context, settings s) : context_(std::move(context)), settings_(std::move(s)) {}

ssh_tunnel::~ssh_tunnel() = default;

void ssh_tunnel::start() {
  context_.events->post([self = shared_from_this()] { self->begin(); });
}

void ssh_tunnel::end() {
  context_.events->post([self = shared_from_this()] {
    const bool first = !std::exchange(self->over_, true);
    if (const auto c = std::exchange(self->client_, nullptr))
      c->process.signal_group(SIGKILL);
    if (first && !self->was_up_) // who waits for it goes on
      self->settings_.on_up({}, "the connection to its host has ended");
  });
}

void ssh_tunnel::begin() {
  if (over_)
    return;
  ++tries_;
  auto o = settings_.client;
  try {
    if (!was_up_) {
      forwardings_.clear();
      for (auto& to : settings_.there)
        forwardings_.push_back({next_tunnel_port(), to});
    }
    for (auto& f : forwardings_)
      o.args.insert(o.args.end(), {"-L", f.to_text()});
    // what it runs there ends with its input, so with this process
    o.args.insert(o.args.end(), {settings_.destination, "echo " + std::string{up_word} + " && exec cat > /dev/null"});
    client_ = std::make_shared<client>(o);
  } catch (const std::exception& e) {
    return give_up(e.what());
  }
  const auto self = shared_from_this();
  const auto c = client_;
  const auto ended = [this, self, c] {
    context_.events->post([this, self, c] {
      if (--c->open_streams == 0 && c->exited)
        take_end(*c);
    });
  };
  context_.events->watch(c->process.pidfd(), EPOLLIN, [this, self, c](std::uint32_t) {
    context_.events->unwatch(c->process.pidfd());
    c->exited = true;
    c->process.signal_group(SIGKILL);
    c->process.try_wait();
    if (c->open_streams == 0)
      return take_end(*c);
    context_.events->call_after(500ms, [this, self, c] { take_end(*c); });
  });
  context_.pump->add(
    c->process.take_stdout(),
    [this, self, c](std::string_view line) {
      if (line.ends_with(up_word)) // behind what a login shell has said
        context_.events->post([this, self, c] {
          if (client_ == c)
            take_up();
        });
    },
    ended);
  context_.pump->add(
    c->process.take_stderr(),
    [c](std::string_view line) {
      std::lock_guard guard{c->mutex};
      c->tail.append(line).push_back('\n');
      if (c->tail.size() > max_tail)
        c->tail.erase(0, c->tail.size() - max_tail);
    },
    ended);
}

void ssh_tunnel::take_up() {
  tries_ = 0;
  if (!std::exchange(was_up_, true))
    settings_.on_up(forwardings_, {});
}

void ssh_tunnel::take_end(client& c) {
  if (std::exchange(c.taken, true) || over_)
    return;
  const auto now = context_.events->now();
  if (was_up_ && tries_ == 0)
    broken_at_ = now;
  client_ = nullptr;
  const auto tail = c.last_words();
  if (was_up_ ? now - broken_at_ >= mending_time : tries_ >= most_tries)
    return give_up(settings_.client.program + " " + c.process.try_wait().value_or(exit_state{}).to_text()
                   + (tail.empty() ? "" : "; its last words:\n" + tail));
  context_.events->call_after(was_up_ ? between_tries : 0ms, [self = shared_from_this()] { self->begin(); });
}

void ssh_tunnel::give_up(const std::string& why) {
  over_ = true;
  if (was_up_)
    settings_.on_broken(why);
  else
    settings_.on_up({}, why);
}

} // namespace troupe
