#pragma once

#include "troupe/actors/task_control.hpp"
#include "troupe/transport/error.hpp"
#include "troupe/transport/proc_id.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

namespace troupe {

/// The calls to this process that their callers may stop, while they are queued or run, by caller and number.
///
/// Any thread. Locking: each bucket has its own lock, which guards its list and is held for moments; a control's is taken under it. A call
/// begins without one. Each call that gives a future comes and goes here, so the lock is a bit of the list's head, and there are many buckets, but not so many
/// that each call brings another one into the cache.
class stoppable_calls {
public:
  /// One such call. Its owner keeps it where it is while it is in the table, and takes it out before it ends.
  class entry {
  public:
    explicit entry(const task_control::client& c) : client(c) {}
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
  class bucket;

  /// Holds the lock of a bucket.
  class locked {
  public:
    explicit locked(bucket& b);
    ~locked();
    locked(const locked&) = delete;
    locked& operator=(const locked&) = delete;

    entry* first = nullptr; // of the list

  private:
    bucket& bucket_;
  };

  class bucket {
    friend class locked;
    std::atomic<std::uintptr_t> head_{0}; // the first entry; the lowest bit is set while somebody has the lock
  };

  bucket& bucket_of(const entry& e) { return bucket_of(e.client.from, e.client.number); }
  bucket& bucket_of(proc_id from, std::uint64_t number) {
    // numbers of open calls follow each other, with gaps where calls to others were made in turn: neighbours share what is in the cache
    return buckets_[(number / 8 + static_cast<std::uint64_t>(from) * 61) % buckets_.size()];
  }
  static void unlist(locked& b, entry& e);

  mutable std::array<bucket, 1024> buckets_;
};

} // namespace troupe
