#pragma once

#include "troupe/actors/owned_reference.hpp"

#include <memory>
#include <vector>

namespace troupe {

/// A future where it lives: empty, then once and for ever a value or an error.
class owned_future final : public owned_reference {
public:
  using owned_reference::owned_reference;

  void ask(reference_question& q, reference_work& out) override;
  bool withdraw(proc_id from, std::uint64_t number, reference_work& out) override;
  void forget(proc_id gone, const error_info& why, reference_work& out) override;
  void end(const error_info& why, reference_work& out) override;

  bool done() const {
    return done_;
  }

  /// Need `done` to be false.
  void set_value(kept_value value, std::uint64_t type, reference_work& out);
  void set_error(error_info why, reference_work& out);

private:

  void answer(const reference_question& q, reference_work& out) const;
  void answer_all(reference_work& out);
  [[noreturn]] void throw_already_set() const;

  std::uint64_t type_ = 0;
  kept_value value_;
  std::shared_ptr<const error_info> error_;
  std::vector<reference_question> waiting_;
  bool done_ = false;
};

} // namespace troupe
