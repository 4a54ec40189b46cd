#pragma once

#include "troupe/actors/owned_reference.hpp"
#include "troupe/actors/pool_view.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace troupe {

/// A pool of workers where it lives. Who takes, or waits, is served in the order of asking, with the member that has been idle for longest. It knows which process
/// has taken what: that comes back when the process is gone.
class owned_pool final : public owned_reference {
public:
  struct settings {
    /// Of its handles, see type_tag.
    std::uint64_t type = 0;
    /// Why a process can't be a member: how it has ended, or that there never was one; nothing if it can.
    std::function<std::optional<error_info>(proc_id)> gone;
    /// Who is taken, any number of times, while there are no members. 0: nobody, it is an error.
    proc_id in_place = 0;
  };

  owned_pool(const ref_id& id, settings s) : owned_reference(id), settings_(std::move(s)) {}

  void ask(reference_question& q, reference_work& out) override;
  bool withdraw(proc_id from, std::uint64_t number, reference_work& out) override;
  void forget(proc_id gone, const error_info& why, reference_work& out) override;
  void retire(proc_id id, const error_info& why, reference_work& out) override;
  void replace(proc_id lost, proc_id by, reference_work& out) override;
  void end(const reason& why, reference_work& out) override;

private:
  struct member {
    std::int32_t slots = 0;
    std::vector<proc_id> takers;

    bool idle() const { return takers.size() < static_cast<std::size_t>(slots); }
  };
  struct viewer {
    reference_question q;
    std::uint64_t known;
  };

  void ask_put(reference_question& q, reference_work& out);
  void ask_push(reference_question& q, reference_work& out);
  void add(const pool_member& m);
  void remove(proc_id id, const error_info& why);
  void note_gone(proc_id id, const error_info& why);
  void serve(reference_work& out);
  bool serve(const reference_question& q, reference_work& out);
  proc_id take(proc_id by);
  void give_back(proc_id id, member& m, std::size_t taker);
  detail::pool_status status() const;
  pool_view view() const;
  error_info no_member() const;

  const settings settings_;
  std::map<proc_id, member> members_;
  std::deque<proc_id> idle_; // each that has a slot left, longest idle first
  std::deque<reference_question> waiting_;
  std::vector<viewer> viewers_;
  std::uint64_t version_ = 1;
  std::vector<proc_id> ended_; // the last members that have gone
  std::string how_ended_;
  std::map<proc_id, std::int32_t> slots_of_gone_; // the last ones; for those that come in their places
};

} // namespace troupe
