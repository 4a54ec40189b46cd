#pragma once

#include "troupe/transport/proc_id.hpp"

#include <memory>

namespace troupe::detail {

/// What a caller lends to its call while it waits for the answer: the memory of large arguments, which isn't copied then. Its end
/// takes it back, for which it may have to wait until a write is done.
class lent_memory {
public:
  explicit lent_memory(proc_id to) : to_(to) {}
  ~lent_memory() {
    if (token_ != nullptr)
      take_back();
  }
  lent_memory(const lent_memory&) = delete;
  lent_memory& operator=(const lent_memory&) = delete;

  /// What keeps the memory as it is.
  const std::shared_ptr<const void>& token() {
    if (token_ == nullptr)
      token_ = std::make_shared<char>();
    return token_;
  }

private:
  void take_back();

  proc_id to_;
  std::shared_ptr<const void> token_; // shared with whatever refers to the memory
};

} // namespace troupe::detail
