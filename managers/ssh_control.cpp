#include "troupe/managers/ssh_control.hpp"

#include "troupe/transport/names.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <pwd.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace troupe {

namespace {

// A socket's name has 107 bytes at most, and ssh first makes one with 17 more.
constexpr std::size_t longest_path = 88;
constexpr std::size_t max_said = 4096;
constexpr std::chrono::seconds client_time{10};

struct running_client {
  explicit running_client(const child_options& options) : process(options) {}
  child_process process;
  std::mutex mutex; // guards said
  std::string said;
};

std::string home() {
  if (const auto text = std::getenv("HOME"); text != nullptr && *text != '\0')
    return text;
  const auto me = ::getpwuid(::getuid());
  return me == nullptr ? "/tmp" : me->pw_dir;
}

} // namespace

std::string new_control_path(const machine_spec& m) {
  static std::atomic<int> count{0};
  const auto folder = home() + "/.ssh";
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
    throw std::system_error{errno, std::generic_category(), "multiplex: can't make " + folder + " for the control socket"};
  const auto me = std::getenv("USER");
  auto name =
    (m.user.empty() ? std::string{me == nullptr ? "" : me} : m.user) + "@" + m.host + ":" + std::to_string(m.port == 0 ? 22 : m.port);
  std::replace_if(name.begin(), name.end(), [](char c) { return c == '/' || c == '%' || c == ' ' || c == '"' || c == '\\'; }, '_');
  const auto begin = folder + "/troupe-";
  const auto end = "-" + std::to_string(::getpid()) + "." + std::to_string(++count);
  if (begin.size() + name.size() + end.size() > longest_path)
    name = std::to_string(detail::hash_name(name));
  return begin + name + end;
}

std::string control_path_option(const std::string& path) {
  std::string out = "ControlPath=\"";
  for (char c : path)
    out += c == '%' ? "%%" : std::string{c};
  return out + "\"";
}

void run_client(const manager_context& context, const child_options& client,
                std::function<void(const exit_state&, const std::string&)> ended) {
  std::shared_ptr<running_client> c;
  try {
    c = std::make_shared<running_client>(client);
  } catch (const std::exception& e) {
    return context.events->post([ended, why = std::string{e.what()}] { ended({}, why); });
  }
  c->process.take_stdin().reset();
  const auto events = context.events;
  const auto say = [c](std::string_view line) {
    std::lock_guard guard{c->mutex};
    if (c->said.size() + line.size() < max_said)
      c->said.append(line).push_back('\n');
  };
  // its end is that of its output, unless that is held open by another
  context.pump->add(c->process.take_stdout(), {}, {});
  context.pump->add(c->process.take_stderr(), say, [c, events, ended] {
    events->post([c, events, ended] {
      events->watch(c->process.pidfd(), EPOLLIN, [c, events, ended](std::uint32_t) {
        events->unwatch(c->process.pidfd());
        const auto state = c->process.try_wait().value_or(exit_state{});
        std::lock_guard guard{c->mutex};
        ended(state, c->said.substr(0, c->said.find_last_not_of('\n') + 1));
      });
    });
  });
  events->post([c, events] { events->call_after(client_time, [c] { c->process.signal_group(SIGKILL); }); });
}

namespace {

// Somebody else may take a port between our look at it and the client's.
constexpr int most_tries = 3;

child_options asking(const child_options& client, const char* what, const std::string& destination, const std::vector<forwarding>& all) {
  auto out = client;
  out.args.insert(out.args.end(), {"-O", what});
  for (auto& f : all)
    out.args.insert(out.args.end(), {"-L", f.to_text()});
  out.args.push_back(destination);
  return out;
}

struct forward_request : std::enable_shared_from_this<forward_request> {
  void begin() {
    std::vector<forwarding> all;
    try {
      for (auto& to : there)
        all.push_back({next_tunnel_port(), to});
    } catch (const std::exception& e) {
      return context.events->post([self = shared_from_this(), why = std::string{e.what()}] { self->up({}, why); });
    }
    run_client(context, asking(client, "forward", destination, all),
               [self = shared_from_this(), all](const exit_state& end, const std::string& said) {
                 if (end.status == 0)
                   return self->up(all, {});
                 if (++self->tries < most_tries)
                   return self->begin();
                 self->up({}, self->client.program + " -O forward " + end.to_text() + (said.empty() ? "" : "; its last words:\n" + said));
               });
  }

  manager_context context;
  child_options client;
  std::string destination;
  std::vector<endpoint> there;
  std::function<void(const std::vector<forwarding>&, const std::string&)> up;
  int tries = 0;
};

} // namespace

void forward_over(const manager_context& context, const child_options& client, const std::string& destination,
                  const std::vector<endpoint>& there, std::function<void(const std::vector<forwarding>&, const std::string&)> up) {
  const auto r = std::make_shared<forward_request>();
  r->context = context;
  r->client = client;
  r->destination = destination;
  r->there = there;
  r->up = std::move(up);
  r->begin();
}

void cancel_forwarding(const manager_context& context, const child_options& client, const std::string& destination,
                       const forwarding& which) {
  run_client(context, asking(client, "cancel", destination, {which}), [](const exit_state&, const std::string&) {});
}

} // namespace troupe
