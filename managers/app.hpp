#pragma once

#include "troupe/managers/cluster.hpp"
#include "troupe/managers/option_parsing.hpp"

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace CLI {
class App;
class Option;
} // namespace CLI

namespace troupe {

/// @addtogroup applications
/// @{

class transport;

/// A program that may run on many processes: its options, and its start as master or as worker.
///
///     int main(int argc, char** argv) {
///       troupe::app app{"squares", "Square numbers on a cluster"};
///       int n = 1000;
///       app.option("--count", n, "how many");
///       return app.run(argc, argv, [&](troupe::cluster& c) { …; return 0; });
///     }
///
/// To be used from the main thread, before there are others.
class app {
public:
  /// `name` and `description` are what `--help` shows, `version` what `--version` does; empty: troupe's.
  explicit app(std::string name, std::string description = "", std::string version = "");
  /// What `cli` and `option` gave ends with it.
  ~app();
  app(const app&) = delete;
  app& operator=(const app&) = delete;

  /// Adds an option of the program, such as "--count" or "-n,--count": a number, bool (a flag, with `--no-…` as its opposite), text, or a
  /// vector or optional of these. `value` is its default, and must live as long as `run`. It has the same value on every process before a
  /// function is called there. The result is CLI11's (include <troupe/cli.hpp>), to make it required and so on.
  template <class T>
  CLI::Option& option(const std::string& name, T& value, const std::string& description = "") {
    option_slot slot;
    slot.name = name;
    slot.description = description;
    slot.type = slot.element_type = detail::option_type<T>();
    if constexpr (detail::is_option_vector<T>)
      slot.element_type = detail::option_type<typename T::value_type>();
    slot.flag = std::is_same_v<T, bool>;
    slot.many = detail::is_option_vector<T>;
    slot.shown_default = detail::option_default(value);
    slot.set = [&value](const std::vector<std::string>& texts, std::string& wrong) {
      if constexpr (detail::is_option_vector<T>) {
        T parsed;
        for (auto& text : texts) {
          typename T::value_type element{};
          if (!detail::parse_option(text, element))
            return wrong = text, false;
          parsed.push_back(std::move(element));
        }
        value = std::move(parsed);
        return true;
      } else {
        return (texts.size() == 1 && detail::parse_option(texts.front(), value)) || (wrong = texts.empty() ? "" : texts.back(), false);
      }
    };
    return add(std::move(slot));
  }

  /// The whole command line, as CLI11 has it (include <troupe/cli.hpp>).
  CLI::App& cli();

  /// Lets values of these types be parts of messages between actors on different processes (include <troupe/actors.hpp>). Before `run`.
  template <class... Ts>
  void message_types();

  /// Registers a transport of one's own: addresses that begin with `scheme` and "://" are its, wherever one can be given, such as
  /// launch_options::bind_addr and worker_config::host. On every process, before `run`; see transports::add.
  void transport(const std::string& scheme, std::function<std::shared_ptr<troupe::transport>()> make);

  /// Runs the program. On the master: makes the cluster that the command line asks for, calls `body(cluster&)`, takes the cluster down,
  /// returns what the body returned (0 for none). On a worker: serves until the master lets it go, and returns without calling the body.
  ///
  /// An exception that leaves the body is printed, and gives status 1; a wrong command line gives 2; Ctrl-C gives 130: it has the wait that
  /// the body is in throw `interrupted`, and ends the program if it isn't in one within 2 s, or if it is pressed again.
  template <class Body>
  int run(int argc, char** argv, Body body) {
    return run_body_on(argc, argv, nullptr, as_function(body));
  }

  /// The same on a part of an MPI job, under mpirun with `--mpi-transport` or `--tcp-transport` (include <troupe/mpi.hpp>): rank r of the
  /// communicator is process r + 1, and all its ranks must call this. MPI must have been initialized, with MPI_THREAD_MULTIPLE, and isn't
  /// finalized. On MPI_COMM_NULL it returns 0 at once. `Comm` is MPI_Comm.
  template <class Comm, class Body>
    requires(std::is_integral_v<Comm> || std::is_pointer_v<Comm>)
  int run(int argc, char** argv, Comm part, Body body) {
    return run_body_on(argc, argv, &part, as_function(body));
  }

private:
  struct option_slot {
    std::string name;
    std::string description;
    std::string type;
    std::string element_type;
    std::string shown_default;
    bool flag = false;
    bool many = false;
    std::function<bool(const std::vector<std::string>& texts, std::string& wrong)> set;
  };
  struct state;

  CLI::Option& add(option_slot slot);
  /// `part`: an MPI_Comm, or null for all that there is.
  int run_body_on(int argc, char** argv, const void* part, const std::function<int(cluster&)>& body);

  template <class Body>
  static std::function<int(cluster&)> as_function(Body& body) {
    return [&body](cluster& c) -> int {
      if constexpr (std::is_void_v<std::invoke_result_t<Body&, cluster&>>) {
        body(c);
        return 0;
      } else {
        return body(c);
      }
    };
  }

  std::unique_ptr<state> state_;
};

/// @}

} // namespace troupe
