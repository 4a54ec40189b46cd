#pragma once

#include "epidemic/messages.hpp"

#include <troupe/actors.hpp>

#include <map>

namespace epidemic {

/// An element of the array that a scenario's places are divided among. It goes as far as the master's last
/// `advance` says, without it, and keeps what it found until it is asked.
class block_actor final : public caf::event_based_actor {
public:
  block_actor(caf::actor_config& cfg, const troupe::element<block_actor>& me, const scenario& s);
  caf::behavior make_behavior() override;
  void on_exit() override;

private:
  /// By day, what the blocks sent so far. One may be ahead, but by less than a day: it needs this one's, too.
  template <class Item>
  struct inbox {
    struct day_box {
      std::vector<Item> all;
      std::size_t from = 0; // blocks
    };
    std::map<std::uint32_t, day_box> days;

    void add(const parcel<Item>& p);
  };

  template <class Item>
  void hand_out(inbox<Item>& own, std::uint32_t day, const std::vector<Item>& all, std::uint32_t Item::* where);
  void go_on();
  void answer();

  partition parts_;
  std::size_t index_;
  std::vector<caf::actor> blocks_;     // all, this one too
  block model_;
  inbox<visit> arrivals_;
  inbox<exposure> exposed_;
  bool departed_ = false, mixed_ = false; // today
  std::uint32_t day_ = 0;              // the last one that is over
  std::uint32_t until_ = 0;            // where to rest
  std::uint32_t first_kept_ = 0;       // the day of the first of `rows_`
  std::vector<counts> rows_;           // what the master hasn't got yet
  std::uint64_t messages_ = 0;
  std::uint32_t asked_ = 0;            // the last day of the question that waits in `answer_`
  caf::typed_response_promise<results> answer_;
};

} // namespace epidemic
