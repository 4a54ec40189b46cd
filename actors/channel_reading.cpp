#include "troupe/actors/channel_reading.hpp"

namespace troupe::detail {

channel_reading::~channel_reading() {
  if (lease_ != 0)
    settle(true);
}

void channel_reading::settle(bool ends) {
  channel_.settle(lease_, used_ - told_, ends);
  told_ = used_;
}

std::shared_ptr<taking_many> channel_reading::next() {
  if (lease_ != 0) {
    const auto took = std::chrono::steady_clock::now() - since_;
    if (took * 2 <= span && size_ == wanted_)
      wanted_ = std::min(most, wanted_ * 2);
    else if (took > span)
      wanted_ =
        std::max<std::size_t>(1, static_cast<std::size_t>(static_cast<double>(size_) * (span / std::chrono::duration<double>{took})));
    settle(true);
    lease_ = 0;
  }
  auto waiting = std::make_shared<taking_many>(channel_, ask_op::lease);
  waiting->send([&](writer& out) { out.put(static_cast<std::uint64_t>(wanted_)); });
  wait_or_give_up(waiting, {}, channel_.id(), "a loop");
  if (const auto why = waiting->failure()) {
    if (why->kind == error_kind::channel_closed)
      return nullptr;
    throw_error(*why);
  }
  lease_ = waiting->number();
  used_ = told_ = 0;
  since_ = std::chrono::steady_clock::now();
  return waiting;
}

void channel_reading::came(std::size_t n) { size_ = n; }

void channel_reading::used() {
  // producers needn't wait until all is used
  if (++used_ == (size_ + 1) / 2 && size_ >= 8)
    settle(false);
}

} // namespace troupe::detail
