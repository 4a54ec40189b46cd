#pragma once

#include "troupe/actors/task_control.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>

namespace troupe {

/// The calls to this process that their callers may stop, while they are queued or run, by caller and number.
///
/// Any thread. Locking: each bucket has its own, which guards its list and is taken before a control's; a call begins without it.
class stoppable_calls {
public:
  /// One such call. Its owner keeps it where it is while it is in the table, and takes it out before it ends.
  class entry {
  public:
    explicit entry(const task_control::client& c) : client(c) {
    }
    entry(const entry&) = delete;
    entry& operator=(const entry&) = delete;

    const task_control::client client;

  private:
    friend class stoppable_calls;
    enum class stage : std::uint8_t { queued, runs, stopped };

    task_control* control_ = nullptr; // once it runs
    std::atomic<stage> stage_{stage::queued};
    bool listed_ = false;
    entry* previous_ = nullptr; // in the bucket
    entry* next_ = nullptr;
  };

  void add(entry& e);

  /// The call's task has begun. Returns false if the call was stopped before, and mustn't run.
  bool begin(entry& e, task_control& as);

  /// After `add`. Does nothing if it isn't there any more.
  void remove(entry& e);

  /// Stops a call. If it is queued, it is taken out; if it runs, its task is told, and that is returned. `found` is called with it, and whether it was
  /// queued, under the bucket's lock. What isn't there is left alone.
  std::optional<task_control::run> stop(proc_id from, std::uint64_t number, const error_info& why,
                                        const std::function<void(entry&, bool queued)>& found);

  std::size_t size() const;

private:
  // Aligned: callers' threads and those that run the calls meet here, but no two buckets'.
  struct alignas(64) bucket {
    mutable std::mutex mutex;
    entry* first = nullptr;
  };

  bucket& bucket_of(const entry& e) {
    return bucket_of(e.client.from, e.client.number);
  }
  bucket& bucket_of(proc_id from, std::uint64_t number) {
    return buckets_[(number + static_cast<std::uint64_t>(from) * 61) % buckets_.size()]; // numbers of open calls follow each other
  }
  static void unlist(bucket& b, entry& e);

  std::array<bucket, 1024> buckets_;
};

} // namespace troupe
