#pragma once

#include "troupe/transport/stack_frame.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace troupe {

namespace detail {

/// While one exists, this thread remembers the stack of its latest throw. Where none exists, a throw costs
/// one more read of a thread-local variable; in a scope it costs a walk up the stack (some µs), but neither
/// memory nor names. Exceptions that are thrown again (`throw;`, std::rethrow_exception) leave what is
/// remembered as it is.
///
/// An automatic variable, of the function that is to be the outermost in the trace. It must outlive the
/// `catch` that asks: open the scope before the `try`. Scopes nest: throws belong to the innermost, and are
/// its owner's once the exception leaves it.
class throw_trace_scope {
public:
  [[gnu::noinline]] throw_trace_scope() noexcept;
  ~throw_trace_scope();
  throw_trace_scope(const throw_trace_scope&) = delete;
  throw_trace_scope& operator=(const throw_trace_scope&) = delete;

private:
  friend struct throw_recorder;

  struct raw_frame {
    std::uintptr_t address; // of the call, or within it
    int count;
  };

  throw_trace_scope* outer_;
  std::uintptr_t owner_; // the owner's stack pointer when it opened the scope
  int unwinding_;        // exceptions in flight at that time
  std::size_t size_ = 0;
  std::array<raw_frame, 64> frames_; // the first size_ of them
};

/// The frames of this thread's latest throw in its innermost scope, innermost first: the function that threw,
/// its callers, up to the one that owns the scope. Equal frames in a row are folded into one. At most 64, and
/// no deeper than 1024 calls. Empty when nothing was thrown there, or outside of scopes.
///
/// The names are looked up now: the first time this reads the symbols of the files concerned, which takes
/// some ms and keeps them.
std::vector<stack_frame> last_throw_trace();

} // namespace detail

/// One line for each frame, such as "  #0 fail(std::string const&) in quickstart+0x1234".
std::string to_text(std::span<const stack_frame> frames);

} // namespace troupe
