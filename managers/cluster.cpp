#include "troupe/managers/cluster.hpp"

#include "troupe/managers/master.hpp"
#include "troupe/managers/mpi_manager.hpp"
#include "troupe/managers/usable_cpus.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

namespace troupe {

namespace {

using namespace std::chrono_literals;

std::atomic<cluster*> the_cluster{nullptr};
cluster* worker_cluster = nullptr; // outlives the static objects: a task may call std::exit while others run

constexpr auto answer_time = 5s;

} // namespace

cluster::cluster(troupe::process& p, troupe::master* m) : process_(p), master_(m) { the_cluster = this; }

cluster::~cluster() { the_cluster = nullptr; }

void cluster::make_worker_cluster(troupe::process& p) { worker_cluster = new cluster{p}; }

void cluster::drop_worker_cluster() {
  delete worker_cluster;
  worker_cluster = nullptr;
}

cluster& here() {
  auto c = the_cluster.load(std::memory_order_acquire);
  if (c == nullptr)
    throw usage_error{"there is no cluster here: troupe::here() works inside of troupe::app::run"};
  return *c;
}

troupe::master& cluster::require_master(const char* what) const {
  if (master_ == nullptr)
    throw usage_error{std::string{what} + ": only process 1 may do this; here is process " + std::to_string(myid())};
  return *master_;
}

// -- processes ------------------------------------------------------------------------------------------------------------------

proc_id cluster::myid() const { return process_.net().id(); }

int cluster::nprocs() const { return static_cast<int>(procs().size()); }

int cluster::nworkers() const { return static_cast<int>(workers().size()); }

std::vector<proc_id> cluster::procs() const { return process_.members().procs(); }

std::vector<proc_id> cluster::procs(proc_id id) const {
  auto out = process_.members().on_host_of(id);
  if (out.empty())
    throw_error(make_error_info(error_kind::unknown_process, "there is no process " + std::to_string(id) + " in this cluster", id));
  return out;
}

std::vector<proc_id> cluster::workers() const { return process_.members().workers(); }

std::vector<proc_id> cluster::addprocs(local_options options) { return addprocs(usable_cpus(), std::move(options)); }

std::vector<proc_id> cluster::addprocs(int np, local_options options) {
  return require_master("addprocs").add_local(np, std::move(options));
}

std::vector<proc_id> cluster::addprocs(std::initializer_list<machine_spec> machines, ssh_options options) {
  return addprocs(std::vector<machine_spec>{machines}, std::move(options));
}

std::vector<proc_id> cluster::addprocs(const std::vector<machine_spec>& machines, ssh_options options) {
  return require_master("addprocs").add_ssh(machines, std::move(options));
}

std::vector<proc_id> cluster::addprocs(std::shared_ptr<cluster_manager> manager) {
  auto options = manager ? manager->default_options() : launch_options{};
  return addprocs(std::move(manager), std::move(options));
}

std::vector<proc_id> cluster::addprocs(std::shared_ptr<cluster_manager> manager, launch_options options) {
  return require_master("addprocs").add(manager, std::move(options));
}

future<std::vector<proc_id>> cluster::addprocs_async(local_options options) { return addprocs_async(usable_cpus(), std::move(options)); }

future<std::vector<proc_id>> cluster::addprocs_async(int np, local_options options) {
  return detail::begin_local_task<true>(
    nullptr, [&m = require_master("addprocs_async"), np, options = std::move(options)] { return m.add_local(np, options); });
}

future<std::vector<proc_id>> cluster::addprocs_async(std::initializer_list<machine_spec> machines, ssh_options options) {
  return addprocs_async(std::vector<machine_spec>{machines}, std::move(options));
}

future<std::vector<proc_id>> cluster::addprocs_async(const std::vector<machine_spec>& machines, ssh_options options) {
  return detail::begin_local_task<true>(
    nullptr, [&m = require_master("addprocs_async"), machines, options = std::move(options)] { return m.add_ssh(machines, options); });
}

future<std::vector<proc_id>> cluster::addprocs_async(std::shared_ptr<cluster_manager> manager) {
  auto options = manager ? manager->default_options() : launch_options{};
  return addprocs_async(std::move(manager), std::move(options));
}

future<std::vector<proc_id>> cluster::addprocs_async(std::shared_ptr<cluster_manager> manager, launch_options options) {
  return detail::begin_local_task<true>(nullptr, [&m = require_master("addprocs_async"), manager = std::move(manager),
                                                  options = std::move(options)] { return m.add(manager, options); });
}

future<void> cluster::rmprocs_async(const std::vector<proc_id>& ids) {
  return detail::begin_local_task<true>(nullptr, require_master("rmprocs_async").begin_removing(ids));
}

void cluster::drain(const std::vector<proc_id>& ids) { require_master("drain").drain(ids, std::nullopt); }

void cluster::drain_within(const std::vector<proc_id>& ids, std::chrono::milliseconds limit) {
  const auto busy = require_master("drain").drain(ids, limit);
  if (busy.empty())
    return;
  auto info = make_error_info(error_kind::timeout,
                              "drain: after " + std::to_string(limit.count()) + " ms these workers still have something to do:", 0);
  info.pids = busy;
  for (auto id : busy)
    info.message += " " + std::to_string(id);
  throw_error(std::move(info));
}

void cluster::rmprocs(const std::vector<proc_id>& ids) { require_master("rmprocs").remove(ids, std::nullopt); }

void cluster::remove_within(const std::vector<proc_id>& ids, std::chrono::milliseconds limit) {
  require_master("rmprocs").remove(ids, limit);
}

void cluster::on_output(std::function<void(proc_id, std::string_view)> handler) {
  require_master("on_output").on_output(std::move(handler));
}

process_info cluster::info(proc_id id) const {
  auto out = process_.members().info(id);
  if (!out)
    throw_error(make_error_info(error_kind::unknown_process, "there is no process " + std::to_string(id) + " in this cluster", id));
  return *out;
}

namespace {

std::vector<link_info> own_links(troupe::process& p) {
  std::vector<link_info> out;
  auto me = p.net().id();
  for (auto& l : p.net().links())
    out.push_back({std::min(me, l.peer), std::max(me, l.peer), l.kind, l.frames, l.bytes});
  return out;
}

} // namespace

namespace {

// What every worker answers, in the order of their ids. Those that are gone, or don't answer in time, are left out.
template <class F>
auto ask_workers(const std::vector<proc_id>& all, F f) {
  using answer = decltype(f());
  std::vector<future<answer>> open;
  for (auto id : all) {
    if (id == master_id)
      continue;
    try {
      open.push_back(detail::begin_call(id, {.flags = detail::call_kept}, direct(f)));
    } catch (const error&) {
      // it has just gone
    }
  }
  std::vector<answer> out;
  auto until = std::chrono::steady_clock::now() + answer_time;
  for (auto& x : open) {
    try {
      if (x.wait_for(until - std::chrono::steady_clock::now()))
        out.push_back(std::move(x).get());
    } catch (const process_exited&) {
      // as above
    }
  }
  return out;
}

process_statistics own_statistics(troupe::process& p) {
  process_statistics out;
  out.id = p.net().id();
  out.tasks = p.runtime()->tasks_begun();
  for (auto& [id, n] : p.net().counts()) {
    out.messages_sent += n.frames_sent;
    out.messages_received += n.frames_received;
    out.bytes_sent += n.bytes_sent;
    out.bytes_received += n.bytes_received;
    out.waits += n.waits;
    if (n.frames_sent + n.frames_received > 0)
      out.peers.push_back({id, n.waiting, n.waits, n.in_transit, n.unconsumed});
  }
  return out;
}

} // namespace

std::vector<link_info> cluster::links() const {
  auto out = own_links(process_);
  if (master_ == nullptr)
    return out;
  std::set<std::pair<proc_id, proc_id>> seen;
  for (auto& l : out)
    seen.emplace(l.a, l.b);
  for (auto& links : ask_workers(process_.members().procs(), [] { return here().links(); }))
    for (auto& l : links)
      if (seen.emplace(l.a, l.b).second)
        out.push_back(l);
  return out;
}

std::vector<process_statistics> cluster::statistics() const {
  std::vector<process_statistics> out{own_statistics(process_)};
  if (master_ == nullptr)
    return out;
  for (auto& s : ask_workers(process_.members().procs(), [] { return here().statistics(); }))
    out.push_back(std::move(s.front()));
  return out;
}

std::vector<reference_info> cluster::references(proc_id id) const {
  return const_cast<cluster&>(*this).remotecall_fetch(id, direct([] {
                                                        auto& rt = runtime::get();
                                                        auto all = rt.owned().list();
                                                        for (auto& f : rt.functions().list())
                                                          all.push_back({f, {rt.id()}});
                                                        return all;
                                                      }));
}

std::string cluster::cookie() const { return process_.net().cookie(); }

void cluster::cookie(const std::string& value) { require_master("cookie").set_cookie(value); }

// -- calls --------------------------------------------------------------------------------------------------------------------------

proc_id cluster::next_worker() const {
  return process_.members().next_worker([&net = process_.net()](proc_id id) { return !net.barred(id); });
}

cluster::place cluster::resolve(const target& where, const call_options* options) const {
  const auto pool = where.pool();
  if (pool == nullptr)
    return place{where.is_any() ? next_worker() : where.id()};
  const auto since = std::chrono::steady_clock::now();
  const auto id = pool->take_alive(options == nullptr ? call_options{} : *options, since);
  return {id, std::make_unique<detail::pool_turn>(*pool, id), since, detail::function_store_of(*pool)};
}

std::vector<proc_id> cluster::loop_workers(const loop_options& options) const {
  return options.workers.empty() ? workers() : options.workers;
}

// One for each share; with smaller shares, for whoever is free, one for each worker.
std::vector<proc_id> cluster::loop_workers_in_turn(const loop_options& options, std::uint64_t shares) const {
  if (!options.workers.empty())
    return options.workers;
  std::vector<proc_id> out;
  const auto n = options.chunk == 0 ? shares : workers().size();
  for (std::uint64_t k = 0; k < std::max<std::uint64_t>(n, 1); ++k)
    out.push_back(next_worker());
  return out;
}

void cluster::throw_composite(const std::vector<std::exception_ptr>& failed) {
  error_info all;
  all.kind = error_kind::composite;
  for (auto& p : failed) {
    if (!p)
      continue;
    try {
      std::rethrow_exception(p);
    } catch (const interrupted&) {
      throw;
    } catch (...) {
      all.parts.push_back(describe_current_exception());
    }
  }
  if (!all.parts.empty())
    throw_error(std::move(all));
}

// -- pools --------------------------------------------------------------------------------------------------------------------------

worker_pool cluster::default_worker_pool() const {
  if (master_ != nullptr)
    return master_->pool().get();
  return const_cast<cluster&>(*this).remotecall_fetch(master_id, direct([] { return here().default_worker_pool(); }));
}

void cluster::default_worker_pool(const worker_pool& pool) {
  static_cast<void>(pool.id()); // or it is an empty one
  if (master_ != nullptr)
    return master_->pool().set(pool);
  remotecall_fetch(master_id, direct([](const worker_pool& p) { here().default_worker_pool(p); }), pool);
}

// -- data on every process ------------------------------------------------------------------------------------------------------------

namespace {

// A worker asks the master before it sends so much: it may be what is there already.
constexpr std::size_t worth_asking = 4096;

} // namespace

bool cluster::is_defined(const std::string& name, const std::string& type, std::uint64_t size, const bytes_digest& digest) {
  return require_master("is_defined").names().is_defined(name, type, size, digest);
}

void cluster::define_encoded(const std::string& name, const std::string& type, byte_buffer encoded) {
  if (master_ != nullptr) {
    const auto kept = std::make_shared<const byte_buffer>(std::move(encoded));
    return master_->names().define(name, type, {*kept, kept});
  }
  constexpr auto is_there = [](const std::string& name, const std::string& type, std::uint64_t size, const bytes_digest& digest) {
    return here().is_defined(name, type, size, digest);
  };
  constexpr auto define = [](const std::string& name, const std::string& type, byte_buffer encoded) {
    here().define_encoded(name, type, std::move(encoded));
  };
  if (encoded.size() >= worth_asking
      && remotecall_fetch(master_id, is_there, name, type, std::uint64_t{encoded.size()}, digest_of(encoded)))
    return;
  remotecall_wait(master_id, define, name, type, encoded);
}

void cluster::undefine(const std::vector<std::string>& names) { undefine_on(names, std::nullopt); }

void cluster::undefine(const std::vector<std::string>& names, const std::vector<proc_id>& ids) { undefine_on(names, ids); }

void cluster::undefine_on(const std::vector<std::string>& names, const std::optional<std::vector<proc_id>>& ids) {
  if (master_ == nullptr) {
    constexpr auto undefine = [](const std::vector<std::string>& names, const std::optional<std::vector<proc_id>>& ids) {
      here().undefine_on(names, ids);
    };
    try {
      return static_cast<void>(remotecall_wait(master_id, undefine, names, ids));
    } catch (const remote_error& e) {
      e.rethrow_nested();
    }
  }
  for (auto id : ids.value_or(std::vector<proc_id>{}))
    if (!process_.members().info(id))
      throw_error(make_error_info(error_kind::unknown_process, "there is no process " + std::to_string(id) + " in this cluster", id));
  master_->names().undefine(names, ids);
}

void cluster::add_join_function(std::uint64_t task, std::uint8_t flags, std::string label, byte_buffer encoded) {
  master_->on_join({task, flags, std::move(label), std::move(encoded)});
}

namespace {

void interrupt_tasks_here() { runtime::get().interrupt_tasks(); }

// In parallel. Of a process that exits, the tasks have ended, too.
void interrupt_those(const std::vector<proc_id>& ids) {
  std::vector<future<void>> told;
  for (auto id : ids) {
    try {
      told.push_back(detail::begin_call(id, {.flags = detail::call_kept}, direct(fn<interrupt_tasks_here>)));
    } catch (const process_exited&) {
    }
  }
  for (auto& t : told) {
    try {
      t.wait();
    } catch (const process_exited&) {
    }
  }
}

} // namespace

void cluster::interrupt(const std::vector<proc_id>& ids) {
  require_master("interrupt");
  for (auto id : ids) {
    if (auto gone = process_.net().gone(id))
      throw_error(*gone);
    info(id); // or it is unknown
  }
  interrupt_those(ids);
}

void cluster::interrupt() {
  require_master("interrupt");
  interrupt_those(workers());
}

// -- MPI ----------------------------------------------------------------------------------------------------------------------------

mpi_manager cluster::mpi() const {
  const auto job = require_master("mpi").job();
  if (!job)
    throw usage_error{
      "this cluster has no MPI job: start the program with --mpi N, or by mpirun with --mpi-transport or --tcp-transport; or "
      "add ranks with an mpi_manager"};
  return mpi_manager{job};
}

// Of ranks only the master knows.
std::optional<rank_group> cluster::ranks_of(const std::vector<proc_id>& ids) const {
  return master_ == nullptr ? std::nullopt : master_->ranks_of(ids);
}

// -- actors -------------------------------------------------------------------------------------------------------------------------

caf::actor_system& cluster::system() const { return process_.runtime()->system(); }

caf::actor cluster::worker(proc_id id) const {
  if (auto gone = process_.net().gone(id))
    throw_error(*gone);
  auto m = process_.members().find(id);
  if (!m)
    throw_error(make_error_info(error_kind::unknown_process, "there is no process " + std::to_string(id) + " in this cluster", id));
  return caf::actor_cast<caf::actor>(process_.runtime()->hub().actor_at(id, m->node_actor));
}

} // namespace troupe
