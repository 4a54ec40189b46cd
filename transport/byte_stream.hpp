#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <sys/uio.h>

namespace troupe {

/// @addtogroup managers
/// @{

class loop;

/// What one attempt to move bytes came to.
struct stream_result {
  /// How it went.
  enum class status {
    moved,       ///< some bytes have been moved
    would_block, ///< none can be moved now; `readable` or `writable` is called when that may have changed
    ended,       ///< there will be no more
    failed,      ///< the stream is broken
  };
  /// How this one went.
  status what = status::moved;
  /// For `moved`: how many, at least one.
  std::size_t bytes = 0;
  /// For `failed`: errno.
  int error = 0;
};

/// One end of an ordered, reliable stream of bytes between two processes: what a link is made of. A transport of one's
/// own implements this, and hands finished streams to the mesh. Nothing in it blocks.
class byte_stream {
public:
  virtual ~byte_stream() = default;

  /// Calls `readable` on the loop's thread whenever `read` may give something (level-triggered), and `writable` when
  /// `write` may go on, after `want_write(true)`. Loop thread.
  virtual void start(loop& l, std::function<void()> readable, std::function<void()> writable) = 0;

  /// Fills the beginning of `into`, which isn't empty, with what has come. Loop thread.
  virtual stream_result read(std::span<std::byte> into) = 0;

  /// Takes bytes from the beginning of the pieces, in order, as many as it can now, perhaps not all. Any thread, one at a time.
  virtual stream_result write(std::span<const iovec> pieces) = 0;

  /// Whether `writable` is to be called when `write` may go on. Loop thread.
  virtual void want_write(bool on) = 0;

  /// Ends both directions; neither function is called afterwards. Loop thread.
  virtual void close() = 0;

  /// Whether the machine at the other end acknowledges what is sent, as far as can be told: false if it, or the way to it, is
  /// gone; true if just its process doesn't react. Loop thread.
  virtual bool peer_answers() const { return true; }

  /// "tcp", "mpi", …: what `links()` shows.
  virtual std::string kind() const = 0;

  /// Who is at the other end, for messages: "127.0.0.1:9003".
  virtual std::string peer() const = 0;
};

/// @}

} // namespace troupe
