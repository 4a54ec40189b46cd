#pragma once

#include "troupe/actors/owned_reference.hpp"

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace troupe {

/// A future where it lives: empty, then once and for ever a value or an error.
class owned_future final : public owned_reference {
public:
  using owned_reference::owned_reference;

  void ask(reference_question& q, reference_work& out) override;
  bool withdraw(proc_id from, std::uint64_t number, reference_work& out) override;
  void forget(proc_id gone, const error_info& why, reference_work& out) override;
  void end(const reason& why, reference_work& out) override;

  bool done() const { return done_; }

  /// A value of so many bytes, without references, needs no memory of its own.
  static constexpr std::size_t most_inside = 16;

  /// Need `done` to be false.
  void set_value(kept_value value, std::uint64_t type, reference_work& out);
  void set_small_value(std::span<const std::byte> value, std::uint64_t type, reference_work& out);
  void set_error(error_info why, reference_work& out);

private:
  void answer(const reference_question& q, reference_work& out) const;
  void answer_all(reference_work& out);
  [[noreturn]] void throw_already_set() const;

  // What few of them have: most are the results of calls, small, and gone before anybody has asked. They are many, and are looked at once for each
  // step of theirs, so that each line of cache counts.
  struct rest {
    kept_value value;
    std::shared_ptr<const error_info> error;
    std::vector<reference_question> waiting;
  };
  rest& more();
  std::vector<reference_question> take_waiting();

  std::uint64_t type_ = 0;
  std::array<std::byte, most_inside> inside_{};
  std::uint8_t inside_size_ = 0; // 0: the value, if there is one, is in `rest_`
  bool done_ = false;
  std::unique_ptr<rest> rest_;
};

} // namespace troupe
