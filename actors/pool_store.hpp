#pragma once

#include "troupe/actors/abstract_pool.hpp"
#include "troupe/actors/channel_store.hpp"
#include "troupe/actors/pool_view.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace troupe::detail {

/// A pool of the user's own where it lives: has its functions called in turns, and remembers which process has taken what. Locking: `gone_mutex_` guards what it says;
/// everything else belongs to the turn that is running.
class pool_store final : public store_runner {
public:
  /// `type`: of its handles. `gone`: why a process can't be a member; nothing if it can.
  pool_store(const ref_id& id, std::uint64_t type, std::shared_ptr<abstract_pool> pool,
             std::function<std::optional<error_info>(proc_id)> gone)
    : store_runner(id), type_(type), pool_(std::move(pool)), gone_(std::move(gone)) {}

  std::uint64_t type() const override { return type_; }

  void forget(proc_id gone) override;

protected:
  bool attempt(store_question& s, reference_answer& out) override;
  std::size_t size() override;
  void drop() override { pool_ = nullptr; }
  std::string name() const override { return "pool " + to_string(id()); }

private:
  void bury();
  bool ready() const;
  bool take(const store_question& s, reference_answer& out);
  void put(proc_id id, proc_id by);
  bool view(std::uint64_t known, reference_answer& out);
  std::vector<proc_id> alive(std::vector<proc_id> ids) const;
  void throw_if_dead(const std::vector<proc_id>& members) const;

  const std::uint64_t type_;
  std::shared_ptr<abstract_pool> pool_;
  const std::function<std::optional<error_info>(proc_id)> gone_;
  std::vector<std::pair<proc_id, proc_id>> out_; // who has which member
  std::uint64_t version_ = 1;
  std::mutex gone_mutex_;
  std::vector<proc_id> newly_gone_; // guarded by gone_mutex_
};

} // namespace troupe::detail
