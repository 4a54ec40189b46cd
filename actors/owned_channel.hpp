#pragma once

#include "troupe/actors/owned_reference.hpp"

#include <boost/container/deque.hpp>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace troupe {

/// A channel where it lives: values in encoded form, first in, first out. Who takes and who puts is served in the order of asking; who only looks, when it is its turn,
/// doesn't hold up who comes next.
///
/// A taker may *lease* several values at once: it says later how many it has used, and gives the others back. Leased values count against the capacity, and those of a
/// process that has gone return to the front. While values that somebody has taken and doesn't want are on their way back, takers wait: what comes back is the first.
class owned_channel final : public owned_reference {
public:
  /// Capacity 0: who puts waits for who takes. `type`: of the values, see type_tag.
  owned_channel(const ref_id& id, std::uint64_t type, std::uint64_t capacity) : owned_reference(id), type_(type), capacity_(capacity) {}

  void ask(reference_question& q, reference_work& out) override;
  bool withdraw(proc_id from, std::uint64_t number, reference_work& out) override;
  void expect_back(proc_id from, std::uint64_t number) override;
  void forget(proc_id gone, const error_info& why, reference_work& out) override;
  void end(const reason& why, reference_work& out) override;

private:
  struct taker {
    reference_question q;
    std::uint64_t most = 1;
  };
  struct putter {
    reference_question q;
    std::vector<kept_value> values;
    std::size_t next = 0;
  };
  // A value has its place in the order of all that have been put, also when it was taken and has come back.
  struct placed {
    std::uint64_t place;
    kept_value value;
  };
  struct lease {
    proc_id who;
    std::uint64_t number;
    std::vector<placed> values;
    std::size_t used = 0;
  };

  void ask_for_values(reference_question& q, std::uint64_t most, reference_work& out);
  void ask_put(reference_question& q, reference_work& out);
  void ask_settle(reference_question& q, reference_work& out);
  void ask_close(reference_question& q, reference_work& out);
  void close(error_info why, reference_work& out);
  void pump(reference_work& out);
  void accept(reference_work& out);
  placed next_put(reference_work& out);
  bool serve(taker& t, reference_work& out);
  bool available() const;
  bool full() const;
  placed pop(reference_work& out);
  void return_lease(lease& l);
  void put_back(placed x);
  void come_back(proc_id from, std::uint64_t take, reference_work& out);
  void pump_again(reference_work& out);

  const std::uint64_t type_;
  const std::uint64_t capacity_;
  std::shared_ptr<const error_info> closed_;
  boost::container::deque<placed> values_; // by their places
  std::uint64_t last_place_ = 0;
  std::uint64_t leased_ = 0;
  std::vector<lease> leases_;
  boost::container::deque<taker> takers_;
  std::vector<std::pair<proc_id, std::uint64_t>> coming_back_; // what these questions have taken
  boost::container::deque<putter> putters_;
};

} // namespace troupe
