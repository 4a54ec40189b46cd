#include "troupe/managers/mpi_rank_manager.hpp"

#include "troupe/managers/option_parsing.hpp"
#include "troupe/managers/process.hpp"

#include <csignal>
#include <optional>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace troupe {

mpi_rank_manager::mpi_rank_manager(std::vector<mpi_job::rank_info> ranks) : ranks_(std::move(ranks)) {
  set_exchanging();
  add(0, master_id);
}

void mpi_rank_manager::launch(const launch_options&, launch_sink& sink) {
  for (std::size_t r = 1; r < ranks_.size(); ++r) {
    worker_config w;
    w.host = ranks_[r].where.address;
    w.port = ranks_[r].where.port;
    w.os_pid = ranks_[r].os_pid;
    w.userdata = static_cast<int>(r);
    sink.launched(std::move(w));
  }
}

void mpi_rank_manager::manage(proc_id id, const worker_config& config, manage_op op) {
  if (op == manage_op::deregistered) {
    remove(id);
  } else if (const auto r = std::any_cast<int>(&config.userdata); op == manage_op::registered && r != nullptr)
    add(*r, id);
}

void mpi_rank_manager::kill(proc_id id, const worker_config&) {
  exit_cause cause;
  cause.reason = "was removed";
  context_.events->post([this, self = shared_from_this(), id, cause] { tell_end(id, cause); });
}

void mpi_rank_manager::lost(proc_id id, const worker_config&) {
  context_.events->post([this, self = shared_from_this(), id] {
    if (const auto found = watched_.find(id); found != watched_.end())
      ::syscall(SYS_pidfd_send_signal, found->second.process.get(), SIGKILL, nullptr, 0);
  });
}

namespace {

// How a process has ended that nobody has waited for yet, which its keeper leaves to others for a moment: "exit_code" in proc(5).
std::optional<int> status_of_zombie(std::int64_t pid) {
  const auto fields = stat_fields(pid);
  int status = 0;
  return fields.size() > 49 && detail::parse_option(fields[49], status) ? std::optional{status} : std::nullopt;
}

} // namespace

bool mpi_rank_manager::watch(proc_id id, const worker_config& config, std::function<void(exit_cause)> ended) {
  const auto rank = std::any_cast<int>(&config.userdata);
  const auto& host = ranks_[static_cast<std::size_t>(*rank)].host;
  if (!survivable() || host != host_name())
    return false;
  unique_fd process{static_cast<int>(::syscall(SYS_pidfd_open, static_cast<::pid_t>(config.os_pid), 0))};
  if (!process)
    return false;
  const auto fd = process.get();
  watched_[id] = {std::move(process), std::move(ended)};
  context_.events->watch(fd, EPOLLIN, [this, self = shared_from_this(), id, pid = config.os_pid, host](std::uint32_t) {
    exit_cause cause;
    cause.host = host;
    if (const auto status = status_of_zombie(pid); !status)
      cause.reason = "ended";
    else if (WIFSIGNALED(*status))
      cause.signal = WTERMSIG(*status);
    else
      cause.status = WEXITSTATUS(*status);
    tell_end(id, cause);
  });
  return true;
}

// Once. Loop thread.
void mpi_rank_manager::tell_end(proc_id id, const exit_cause& cause) {
  auto found = watched_.extract(id);
  if (found.empty())
    return;
  context_.events->unwatch(found.mapped().process.get());
  found.mapped().on_end(cause);
}

} // namespace troupe
