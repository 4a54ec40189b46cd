#include "troupe/managers/process.hpp"

#include "troupe/actors/loaded_module.hpp"
#include "troupe/actors/waiter.hpp"
#include "troupe/managers/usable_cpus.hpp"
#include "troupe/transport/log.hpp"
#include "troupe/transport/names.hpp"
#include "troupe/transport/status_line.hpp"

#include <caf/all.hpp>

#include <climits>
#include <cstdio>
#include <fstream>
#include <future>
#include <iterator>
#include <sstream>
#include <unistd.h>
#include <utility>

namespace troupe {

namespace {

using namespace std::chrono_literals;

// After a link between two workers is lost, or can't be opened, the master says within this time whether one of them is lost.
constexpr auto verdict_time = 2s;

} // namespace

std::string host_name() {
  char name[HOST_NAME_MAX + 1] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

std::uint64_t loopback_scope() {
  std::ifstream boot{"/proc/sys/kernel/random/boot_id"};
  std::string text;
  std::getline(boot, text);
  char space[64] = {};
  if (::readlink("/proc/self/ns/net", space, sizeof space - 1) > 0)
    text += space;
  if (text.empty())
    text = host_name();
  return detail::hash_name(text);
}

std::vector<std::string> stat_fields(std::int64_t pid) {
  std::ifstream in{"/proc/" + std::to_string(pid) + "/stat"};
  const std::string text{std::istreambuf_iterator<char>{in}, {}};
  const auto name_end = text.rfind(')'); // of the executable, which may hold anything
  if (name_end == std::string::npos)
    return {};
  std::istringstream fields{text.substr(name_end + 1)};
  return {std::istream_iterator<std::string>{fields}, {}};
}

error_info gone_error(proc_id id, const exit_cause& cause) {
  auto who = id == master_id ? std::string{"the master"} : "worker " + std::to_string(id);
  auto text = who + (cause.host.empty() ? "" : " on " + cause.host) + " " + cause.to_text();
  if (!cause.stderr_tail.empty())
    text += "; its last words:\n" + cause.stderr_tail;
  while (text.ends_with('\n'))
    text.pop_back();
  auto info = make_error_info(error_kind::process_exited, text, id);
  info.host = cause.host;
  info.cause = cause;
  return info;
}

error_info draining_error(proc_id id) {
  exit_cause cause;
  cause.reason = "takes no new work: it is being drained";
  return gone_error(id, cause);
}

process::process(std::string cookie, proc_id id, std::uint64_t cluster, role r, std::shared_ptr<transport> net)
  : host_(host_name()), role_(std::move(r)), scope_(loopback_scope()) {
  mesh::settings s;
  s.cookie = std::move(cookie);
  s.id = id;
  s.cluster = cluster;
  s.host = host_;
  s.scope = scope_;
  s.build_id = detail::program_build_id();
  s.types = message_type_hashes();
  s.net = std::move(net);
  mesh::events e;
  e.frame = [this](proc_id from, frame_view& f) {
    if (runtime_)
      runtime_->frame_arrived(from, f);
    else
      role_.control(from, f);
  };
  e.begins = [this](const frame_header& h, std::span<const std::byte> beginning, std::uint64_t total) {
    return runtime_ ? runtime_->frame_begins(h, beginning, total) : nullptr;
  };
  e.up = [this](proc_id peer, const hello& h) {
    if (runtime_)
      runtime_->peer_up(peer, h);
    link_is_there(peer);
  };
  e.guest_comes = role_.guest_comes;
  e.down = [this](proc_id peer, const std::string& why) { role_.down(peer, why); };
  e.lost = [this](proc_id peer, const std::string& why) { role_.lost(peer, why); };
  e.held = [this](proc_id peer) { return state_of(peer) == 't'; };
  e.dismissed = [this](const std::string& why) { role_.dismissed(why); };
  e.unreachable = [this](proc_id peer, const error_info& why) { link_missing(peer, why); };
  e.adopted = [this](const hello& h) { role_.adopted(h); };
  e.refused = [this](const refusal& r) { refused(r); };
  mesh_ = std::make_unique<mesh>(loop_, std::move(s), std::move(e));
}

process::~process() { stop(); }

void process::make_runtime(int turns) {
  runtime::settings s;
  s.turns = turns;
  s.host = host_;
  s.named = &named_;
  s.control = role_.control;
  auto made = std::make_unique<troupe::runtime>(loop_, *mesh_, std::move(s));
  auto take = [&] {
    runtime_ = std::move(made);
    // links that were there before
    for (auto& l : mesh_->links())
      if (auto h = mesh_->greeting(l.peer))
        runtime_->peer_up(l.peer, *h);
  };
  if (thread_.joinable())
    run_in_loop(take);
  else
    take();
}

void process::start() {
  thread_ = std::thread{[this] {
    waiter::no_blocking guard{"nothing that runs on the event loop may block"};
    loop_.run();
  }};
}

void process::stop() {
  if (!thread_.joinable())
    return;
  run_in_loop([this] {
    mesh_->close();
    tell_refusals();
  });
  loop_.stop();
  thread_.join();
}

void process::run_in_loop(const std::function<void()>& f) {
  if (!thread_.joinable())
    return f();
  std::promise<void> done;
  loop_.post([&] {
    f();
    done.set_value();
  });
  done.get_future().wait();
}

member process::self() const {
  member m;
  m.id = mesh_->id();
  m.where = where_;
  m.scope = scope_;
  m.place = place_;
  m.info.state = process_state::connected;
  m.info.host = host_;
  if (where_.port != 0)
    m.info.address = where_.to_text();
  m.info.os_pid = ::getpid();
  m.info.started = std::chrono::system_clock::now();
  m.info.cpus = usable_cpus();
  if (runtime_)
    m.node_actor = runtime_->node_actor_id();
  return m;
}

void process::apply(const membership_change& change) {
  if (!change.joined.empty()) {
    const auto me = self();
    for (auto& m : change.joined)
      meet(me, m);
  }
  for (auto id : change.draining) {
    members_.set_draining(id);
    if (id != mesh_->id())
      mesh_->bar(id, draining_error(id));
    if (runtime_)
      runtime_->peer_retires(id, draining_error(id));
  }
  for (auto& [id, why] : change.left) {
    members_.remove(id, why.cause);
    mesh_->mark_gone(id, why);
    if (runtime_)
      runtime_->peer_lost(id, why);
    link_is_there(id);
  }
}

void process::meet(const member& me, const member& m) {
  const bool linked = may_link(form_, me, m);
  mesh_->add(m.id, m.where, m.scope, linked);
  members_.add(m);
  if (m.replaces != 0 && runtime_)
    runtime_->peer_replaced(m.replaces, m.id);
  if (m.id == mesh_->id() || m.id == master_id || mesh_->id() == master_id)
    return;
  if (!linked)
    return mesh_->bar(m.id, topology_error(m.id));
  const bool lazy = form_.lazy && form_.which == topology::all_to_all;
  if (lazy || mesh_->connected(m.id) || !mesh_->can_link(m.id))
    return;
  awaited_links_.insert(m.id);
  mesh_->connect(m.id);
}

void process::link_is_there(proc_id id) {
  if (awaited_links_.erase(id) != 0 && all_linked() && role_.linked)
    role_.linked();
}

error_info process::topology_error(proc_id to) const {
  auto text = "process " + std::to_string(mesh_->id()) + " is not connected to process " + std::to_string(to)
              + ": the cluster's topology is " + std::string{to_string(form_.which)}
              + (form_.which == topology::master_worker ? ", in which workers are connected to the master alone"
                                                        : ", and their manager has not asked for this pair");
  auto info = make_error_info(error_kind::not_connected, text, to);
  info.pids = {mesh_->id(), to};
  return info;
}

void process::refused(const refusal& r) {
  if (auto line = refusals_.add(r, loop_.now()))
    warn(*line);
  if (auto due = refusals_.due(); due && refusals_timer_ == 0)
    refusals_timer_ = loop_.call_at(*due, [this] { tell_refusals(); });
}

void process::tell_refusals() {
  loop_.cancel(std::exchange(refusals_timer_, 0));
  if (auto line = refusals_.take(loop_.now()))
    warn(*line);
}

void process::link_missing(proc_id id, const error_info& why) {
  link_is_there(id);
  auto fail = [this, id, why] {
    if (mesh_->gone(id))
      return;
    if (id != master_id) // without its master a worker leaves, or has said why not
      warn(why.message + "; what was to be sent to it is dropped");
    if (runtime_)
      runtime_->peer_unreachable(id, why);
  };
  if (why.kind == error_kind::not_connected && mesh_->id() != master_id && id != master_id)
    loop_.call_after(verdict_time, fail);
  else
    fail();
}

char process::state_of(proc_id id) const {
  auto greeting = mesh_->greeting(id);
  if (!greeting || greeting->host != host_)
    return 0;
  const auto fields = stat_fields(greeting->os_pid);
  return fields.empty() ? '\0' : fields.front().front();
}

void process::warn(const std::string& text) { log(log_level::warning, text); }

} // namespace troupe
