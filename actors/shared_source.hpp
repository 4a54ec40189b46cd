#pragma once

#include "troupe/actors/future.hpp"
#include "troupe/actors/owned_reference.hpp"
#include "troupe/actors/references.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace troupe {

/// A shared value on one process: there, on its way, or not asked for. Who has it passes it on. Any thread. Locking: `mutex_` guards everything but the value, which never
/// changes once it is there.
class shared_source : public std::enable_shared_from_this<shared_source> {
public:
  explicit shared_source(const ref_id& id);
  virtual ~shared_source();
  shared_source(const shared_source&) = delete;
  shared_source& operator=(const shared_source&) = delete;

  const ref_id& id() const { return id_; }

  /// Blocks until the value is here; has it brought if nobody has. Throws what became of that.
  void bring();

  /// A process wants it: it gets it now, or when it is here.
  void serve(proc_id to, std::uint64_t question);

  /// Whether the value is here. Doesn't block.
  bool here() const { return here_->ready(); }

  virtual std::uint64_t type() const = 0;

protected:
  /// What the value arrives in.
  virtual std::shared_ptr<detail::future_state> expect() = 0;
  /// Takes the value from it. Throws not_decodable.
  virtual void take(detail::future_state& arrived) = 0;
  /// Writes it, and refers to what is large. Needs `here`.
  virtual void encode(writer& out) const = 0;

  /// The value is here from now on, and goes to all who want it.
  void came();

private:
  struct wish {
    proc_id who;
    std::uint64_t question;
  };

  void locate();
  void fetch_from(proc_id who);
  void fail(const error_info& why);
  void send(const wish& to);

  const ref_id id_;
  const std::shared_ptr<detail::future_state> here_;
  std::mutex mutex_;
  bool asked_ = false;
  std::vector<wish> wishes_;
};

/// The shared values that this process knows. Those that have come from elsewhere stay until the one who shared them says that nobody needs them any more, or has gone. Any
/// thread.
class shared_sources {
public:
  /// The one of this id; made if there is none.
  std::shared_ptr<shared_source> find_or_add(const ref_id& id, const std::function<std::shared_ptr<shared_source>()>& make);

  /// Another process asks for a value: see ask_op::fetch_shared. Returns false if it isn't known here.
  bool serve(const ref_id& id, proc_id to, std::uint64_t question);

  /// It has come, and stays.
  void keep(const std::shared_ptr<shared_source>& source);
  /// Nobody needs it any more.
  void drop(const ref_id& id);
  /// What a process has shared is of no use to others once it has gone.
  void peer_lost(proc_id id);

private:
  std::mutex mutex_; // guards the rest
  std::unordered_map<ref_id, std::weak_ptr<shared_source>> all_;
  std::unordered_map<ref_id, std::shared_ptr<shared_source>> kept_;
  std::size_t swept_at_ = 64;
};

/// A shared value where it was shared: it tells who asks from whom to get it, so that it leaves here twice and goes on down a tree.
class owned_shared final : public owned_reference {
public:
  owned_shared(const ref_id& id, std::shared_ptr<shared_source> source) : owned_reference(id), source_(std::move(source)) {}

  void ask(reference_question& q, reference_work& out) override;
  bool withdraw(proc_id, std::uint64_t, reference_work&) override { return false; }
  void forget(proc_id gone, const error_info& why, reference_work& out) override;
  void end(const reason& why, reference_work& out) override;

private:
  std::shared_ptr<shared_source> source_;
  std::vector<proc_id> asked_; // in order
};

namespace detail {

/// Makes a value of this process known. Returns this process's part in it.
held_reference_ptr own_shared(const std::shared_ptr<shared_source>& source);
std::shared_ptr<shared_source> shared_source_of(const ref_id& id, const std::function<std::shared_ptr<shared_source>()>& make);
ref_id next_shared_id();
[[noreturn]] void throw_empty_shared();

} // namespace detail

} // namespace troupe
