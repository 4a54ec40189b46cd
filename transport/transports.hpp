#pragma once

#include "troupe/transport/transport.hpp"

#include <functional>
#include <map>
#include <memory>
#include <string>

namespace troupe {

/// @addtogroup managers
/// @{

/// The transports of a process: an address that begins with a word and "://" is dialled, or listened at, by the one that has been
/// registered by that word, any other by the process's own. So that a cluster can have links of several kinds, each process must register
/// the same ones.
class transports final : public transport {
public:
  /// Makes one.
  using factory = std::function<std::shared_ptr<transport>()>;

  /// @cond internal
  explicit transports(std::shared_ptr<transport> own) : own_(std::move(own)) {}

  endpoint listen(loop& l, const endpoint& at, acceptor on_accept) override;
  void dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) override;
  /// @endcond

  /// For all of this process's from now on; `make` is called by the loop's thread when one is first needed. Throws usage_error for a word
  /// that isn't made of letters, digits and dashes, or is registered already. Any thread.
  static void add(const std::string& scheme, factory make);

private:
  transport& serving(const endpoint& where);

  const std::shared_ptr<transport> own_;
  std::map<std::string, std::shared_ptr<transport>> made_;
};

/// @}

} // namespace troupe
