#pragma once

#include "troupe/transport/proc_id.hpp"
#include "troupe/transport/stack_frame.hpp"

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// @addtogroup errors
/// @{

/// What went wrong, for a switch; one for each class that derives from `error`.
enum class error_kind : std::uint8_t {
  remote,            ///< troupe::remote_error
  process_exited,    ///< troupe::process_exited
  composite,         ///< troupe::composite_error
  timeout,           ///< troupe::timeout_error
  deadline_exceeded, ///< troupe::deadline_exceeded
  cancelled,         ///< troupe::cancelled
  interrupted,       ///< troupe::interrupted
  not_connected,     ///< troupe::not_connected
  unknown_process,   ///< troupe::unknown_process
  channel_closed,    ///< troupe::channel_closed
  already_set,       ///< troupe::already_set
  not_serializable,  ///< troupe::not_serializable
  not_decodable,     ///< troupe::not_decodable
  unknown_task,      ///< troupe::unknown_task
  type_mismatch,     ///< troupe::type_mismatch
  no_workers,        ///< troupe::no_workers
  empty_range,       ///< troupe::empty_range
  launch,            ///< troupe::launch_error
  authentication,    ///< troupe::authentication_error
  would_block,       ///< troupe::would_block
  usage,             ///< troupe::usage_error
};

/// The name of the class that stands for a kind, such as "process_exited".
std::string_view to_string(error_kind);

/// How a process ended, as far as is known.
struct exit_cause {
  /// Where it ran.
  std::string host;
  /// Its exit status; -1 if it was ended by a signal, or if nobody saw its end.
  int status = -1;
  /// The signal that ended it; 0 if none did, or if nobody saw its end.
  int signal = 0;
  /// The last lines it wrote to stderr, 4 KiB at most.
  std::string stderr_tail;
  /// What else is known, as a phrase: "was removed", "the connection was lost".
  std::string reason;

  /// "was killed by signal 9 (Killed)", "exited with status 7", or the reason.
  std::string to_text() const;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, exit_cause& x) {
    return f(x.host, x.status, x.signal, x.stderr_tail, x.reason);
  }
};

/// Why a program that was launched didn't become a worker.
enum class launch_reason : std::uint8_t {
  no_address,  ///< it couldn't be started, or ended before it told its address
  silent,      ///< the launch timeout passed, or the launch was given up, before it had told its address and joined
  noise,       ///< it wrote a thousand lines, and none of them told its address
  died,        ///< it told its address, and ended or went away before it had joined
  refused,     ///< ssh, the program or a function of on_join said no
  unreachable, ///< the master can't connect to its host, or to its address
};

/// "no_address", "silent", …
std::string_view to_string(launch_reason);

/// One process that didn't come.
struct launch_failure {
  /// Where it was to run.
  std::string host;
  /// The kind of failure, for a switch.
  launch_reason reason = launch_reason::died;
  /// The exit status of the program; -1 if it didn't exit, or was killed.
  int status = -1;
  /// What happened and what to do, as a sentence.
  std::string text;

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, launch_failure& x) {
    return f(x.host, x.reason, x.status, x.text);
  }
};

/// Everything that an error carries, in the form that travels between processes.
struct error_info {
  /// The class of the error.
  error_kind kind = error_kind::usage;
  /// The process it is about: where a function threw, which process exited or is unknown. 0: none.
  proc_id pid = 0;
  /// Other processes it is about: the two ends of a missing link, the workers that are still there, those that joined.
  std::vector<proc_id> pids;
  /// The text; for `remote`, what() of the exception that was thrown, alone.
  std::string message;
  /// The host of `pid`; empty if unknown.
  std::string host;
  /// The function that was called; empty if none was.
  std::string task;
  /// For `remote`: the type of the exception that was thrown.
  std::string type_name;
  /// For `remote`: where it was thrown, innermost first.
  std::vector<stack_frame> stack;
  /// For `process_exited`: how.
  exit_cause cause;
  /// For `composite` its members; for `remote` the error that was thrown there, if it was one of ours or wraps another.
  std::vector<error_info> parts;
  /// For `launch`: who didn't come.
  std::vector<launch_failure> failures;
  /// The element of a map, or of an array of actors, that it is about, by its position from 0; no_item: none.
  std::uint64_t item = no_item;
  /// "element (1, 2) of array 3 of cell"; empty for one of a map.
  std::string item_name;
  /// What goes with it on this process, and doesn't travel: see pmap_results.
  std::shared_ptr<const void> attached{};

  /// As `item`: the error is about no element.
  static constexpr std::uint64_t no_item = ~std::uint64_t{0};

  template <class Inspector>
  friend typename Inspector::result_type inspect(Inspector& f, error_info& x) {
    return f(x.kind, x.pid, x.pids, x.message, x.host, x.task, x.type_name, x.stack, x.cause, x.parts, x.failures, x.item, x.item_name);
  }
};

/// @cond internal
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, stack_frame& x) {
  return f(x.function, x.module, x.offset, x.count);
}
/// @endcond

/// The base of all errors that troupe throws. Copies share their content, and may be kept and rethrown on any thread.
class error : public std::runtime_error {
public:
  /// The text that what() gives is made of all that the info tells.
  explicit error(error_info info);

  /// About nothing, and without a text: what is read into it, or assigned to it, tells.
  error() : error(error_info{}) {}

  /// Which class it is, also for a copy that has become an `error`.
  error_kind kind() const noexcept { return info_->kind; }

  /// The process it is about; over several hops, the one that this process called. 0: none.
  proc_id pid() const noexcept { return info_->pid; }

  /// The type of the exception that was thrown first, demangled: "std::out_of_range". Empty for errors of our own.
  const std::string& type_name() const noexcept;

  /// The text of what was thrown first, alone.
  const std::string& message() const noexcept;

  /// Where it was thrown, innermost frame first; empty if it wasn't thrown by a function that was called.
  const std::vector<stack_frame>& stack() const noexcept;

  /// Of the input of a map, or of an array of actors: the position, from 0, of the element that failed. Throws usage_error if it isn't
  /// about one.
  std::size_t item() const;

  /// All of it, as it travels.
  const error_info& info() const noexcept { return *info_; }

private:
  std::shared_ptr<const error_info> info_;
};

/// Errors are values, too: they can be put into channels and futures, and be arguments, results and parts of messages. Whoever takes
/// one gets it; nothing is thrown.
template <class Inspector, std::derived_from<error> E>
typename Inspector::result_type inspect(Inspector& f, E& x) {
  error_info info = x.info();
  if constexpr (Inspector::reads_state) {
    return f(info);
  } else {
    auto failed = f(info);
    x = E{std::move(info)};
    return failed;
  }
}

/// A function that was called on another process, or as a task on this one, threw.
class remote_error : public error {
public:
  using error::error;
  /// The original exception, rebuilt; null if its type is neither a standard exception type nor one of ours.
  std::exception_ptr nested() const;
  /// Throws what `nested` gives; `*this` if that is null.
  [[noreturn]] void rethrow_nested() const;
};

/// A process is gone, and what was asked of it won't come.
class process_exited : public error {
public:
  using error::error;
  /// How `pid` ended.
  const exit_cause& cause() const noexcept;
};

/// Several things failed; each has its own error.
class composite_error : public error {
public:
  using error::error;
  /// The errors, in the order in which what failed was started; each is rebuilt with its own type.
  std::vector<std::exception_ptr> exceptions() const;
  /// The same, as values of the base class.
  std::vector<error> errors() const;
};

/// A limit that was given to an operation itself has passed.
class timeout_error : public error {
public:
  using error::error;
  /// The processes that weren't done by then.
  const std::vector<proc_id>& pids() const noexcept;
};

/// A call's deadline has passed.
class deadline_exceeded : public error {
public:
  using error::error;
};

/// A call was cancelled by its caller.
class cancelled : public error {
public:
  using error::error;
};

/// The user pressed Ctrl-C, or a task was interrupted.
class interrupted : public error {
public:
  using error::error;
};

/// Two processes that can't talk to each other.
class not_connected : public error {
public:
  using error::error;
  /// The process that wanted to talk to the other; 0 if it isn't known.
  proc_id from() const noexcept;
  /// The process that it can't reach.
  proc_id to() const noexcept;
};

/// An id that was never given to a process.
class unknown_process : public error {
public:
  using error::error;
};

/// Something was to be put into a channel that is closed, or taken from one that is closed and empty.
class channel_closed : public error {
public:
  using error::error;
};

/// A future was to be set that has a value or an error.
class already_set : public error {
public:
  using error::error;
};

/// A value could not be encoded on `pid`; nothing of it was sent.
class not_serializable : public error {
public:
  using error::error;
};

/// A value could not be decoded on `pid`.
class not_decodable : public error {
public:
  using error::error;
};

/// A process was asked for a function that it doesn't have.
class unknown_task : public error {
public:
  using error::error;
};

/// A value was asked for, or an answer came, that is of another type.
class type_mismatch : public error {
public:
  using error::error;
};

/// Nobody is there to do the work: a pool without a live member, or a map that has lost the last.
class no_workers : public error {
public:
  using error::error;
};

/// A reduction of nothing, without a value to begin with.
class empty_range : public error {
public:
  using error::error;
};

/// Workers didn't come.
class launch_error : public error {
public:
  using error::error;
  /// Those that didn't come, each with why.
  const std::vector<launch_failure>& failures() const noexcept;
  /// The workers of the same call that did come; they stay.
  const std::vector<proc_id>& joined() const noexcept;
};

/// One end of a connection doesn't know the cookie of the other. No function of troupe throws it: a worker that has another cookie is one
/// of launch_error::failures (`unreachable`), and who connects from outside without it is reported on stderr.
class authentication_error : public error {
public:
  using error::error;
};

/// An actor of an array was about to wait, in a handler or its constructor, for all elements of that array, itself among them.
class would_block : public error {
public:
  using error::error;
};

/// troupe was asked for what makes no sense, or is not allowed here.
class usage_error : public error {
public:
  using error::error;
  /// About no process; `text` is what() and message().
  explicit usage_error(std::string text);
  usage_error() = default;
};

namespace detail {

/// The texts of errors made from now on don't say that something was thrown on process `id`, because it is this one. 0: they say
/// of every process. Any thread.
void set_reader_of_errors(proc_id id);

} // namespace detail

/// Throws an object of the class that stands for info.kind.
[[noreturn]] void throw_error(error_info info);

/// What throw_error throws, as an exception_ptr.
std::exception_ptr make_exception(const error_info& info);

/// An error of the given kind about one process; 0: about none.
error_info make_error_info(error_kind kind, std::string message, proc_id pid = 0);

/// What the exception that is being handled looks like from another process: our own errors as they are, all others
/// as `remote` with type and text, and those nested in it (std::throw_with_nested) as parts.
/// Must be called inside a catch block.
error_info describe_current_exception();

/// @}

} // namespace troupe
