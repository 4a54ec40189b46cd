#pragma once

/// MPI in a cluster: functions that all ranks of an MPI job run together, and programs on a part of a job.

#include "troupe/managers/app.hpp"
#include "troupe/managers/cluster.hpp"
#include "troupe/managers/mpi_manager.hpp"
#include "troupe/managers/mpi_world.hpp"

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include <mpi.h>

namespace troupe {

namespace detail {

/// Runs a function on this rank; see mpi_job::run. Throws usage_error where there's none.
void run_in_mpi(const mpi_run& which, const std::function<void(MPI_Comm)>& f);

/// A function that all ranks run, as it travels.
template <class F>
struct mpi_function {
  mpi_run which;
  F f;

  template <class... Args>
  auto operator()(Args&&... args) {
    using result = std::remove_cvref_t<std::invoke_result_t<F&, MPI_Comm, Args...>>;
    if constexpr (std::is_void_v<result>) {
      run_in_mpi(which, [&](MPI_Comm c) { std::invoke(f, c, std::forward<Args>(args)...); });
    } else {
      std::optional<result> out;
      run_in_mpi(which, [&](MPI_Comm c) { out.emplace(std::invoke(f, c, std::forward<Args>(args)...)); });
      return std::move(*out);
    }
  }
};

template <class F, class... Args>
struct parameters_of<mpi_function<F>, Args...> : drop_front<typename parameters_of<F, MPI_Comm, Args...>::type, 1> {};

template <class F>
struct callable_label<mpi_function<F>> : callable_label<F> {};

template <class F>
struct callable<mpi_function<F>> {
  static void write(writer& out, const mpi_function<F>& x) {
    troupe::write(out, x.which);
    callable<F>::write(out, x.f);
  }
  static mpi_function<F> read(reader& in) {
    auto which = troupe::read<mpi_run>(in);
    return {std::move(which), callable<F>::read(in)};
  }
};

/// One function on its way to all ranks, and the wait for their answers.
class mpi_calls {
public:
  /// Throws usage_error if the job hasn't been launched, or the caller is in a run itself.
  mpi_calls(const mpi_manager& m, const call_options& options);
  ~mpi_calls();
  mpi_calls(const mpi_calls&) = delete;
  mpi_calls& operator=(const mpi_calls&) = delete;

  const mpi_run& which() const { return turn_.run; }
  /// Those to be called, in this order.
  const std::vector<proc_id>& procs() const { return turn_.procs; }
  /// The next rank has been called.
  void sent(std::shared_ptr<future_state> answer) { answers_.push_back(std::move(answer)); }
  /// The rank whose turn it was can't be called, as the current exception says.
  void not_sent();
  /// Blocks until all have answered. Throws as cluster::mpi_do says.
  void wait();

private:
  void stop(const std::string& why);
  [[noreturn]] void throw_too_late() const;

  mpi_world& world_;
  std::optional<future_state::time_point> limit_;
  std::shared_ptr<future_state> cancelled_;
  mpi_world::turn turn_;
  std::vector<std::shared_ptr<future_state>> answers_; // by their places among those who take part
  bool stopped_ = false;
  bool waited_ = false;
};

} // namespace detail

template <class F, class... Args>
auto cluster::mpi_do(const mpi_manager& m, F&& f, Args&&... args) {
  return mpi_do(call_options{}, m, std::forward<F>(f), std::forward<Args>(args)...);
}

template <auto F, class... Args>
auto cluster::mpi_do(const mpi_manager& m, Args&&... args) {
  return mpi_do(call_options{}, m, fn<F>, std::forward<Args>(args)...);
}

template <class F, class... Args>
auto cluster::mpi_do(const call_options& options, const mpi_manager& m, F&& f, Args&&... args) {
  using function = detail::mpi_function<std::decay_t<F>>;
  using task = detail::task_of<function, Args...>;
  using result = typename task::result;
  require_master("mpi_do");
  detail::mpi_calls calls{m, options};
  const function travelling{calls.which(), std::forward<F>(f)};
  std::vector<future<result>> open;
  for (auto id : calls.procs()) {
    auto answer = std::make_shared<detail::typed_future_state<result>>();
    try {
      detail::outgoing_call call{id, task::id(), detail::call_apart, &task::label};
      call.encode([&](writer& out) { task::write_call(out, nullptr, travelling, args...); });
      call.send(answer, false);
      calls.sent(answer);
    } catch (const process_exited&) {
      calls.not_sent();
    }
    open.emplace_back(std::move(answer));
  }
  calls.wait();
  if constexpr (!std::is_void_v<result>) {
    std::vector<result> out;
    out.reserve(open.size());
    for (auto& x : open)
      out.push_back(std::move(x).get());
    return out;
  }
}

template <auto F, class... Args>
auto cluster::mpi_do(const call_options& options, const mpi_manager& m, Args&&... args) {
  return mpi_do(options, m, fn<F>, std::forward<Args>(args)...);
}

} // namespace troupe
