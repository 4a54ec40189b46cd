#pragma once

#include "troupe/actors/future_state.hpp"
#include "troupe/managers/named_frames.hpp"
#include "troupe/managers/process.hpp"
#include "troupe/managers/spread_tree.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace troupe {

/// Stands for bytes that are somewhere else. Two that differ have the same one by accident, once in 2^64.
using bytes_digest = std::array<std::uint64_t, 2>;
bytes_digest digest_of(std::span<const std::byte> bytes);

/// The master's side of named values: it numbers the changes, and sees to it that every process hears of them, one after the other: the next is
/// sent when all that live have acknowledged the one before. So of two changes each process has the later one last, whatever way they come.
///
/// What is large goes down a tree (spread_tree). When a process in it is lost, who was to get it from there gets it from the master; so does who has
/// nothing after a long time, since two workers may have no way to each other.
class named_changes {
public:
  /// A worker that is to hear of changes.
  struct listener {
    proc_id id = 0;
    /// Whether other workers know it.
    bool announced = false;
  };

  /// `patience`: how long no acknowledgement of a large value comes before the master sends it itself to all who haven't got it, beside what a slow
  /// network needs.
  named_changes(process& p, std::function<std::vector<listener>()> audience, std::chrono::milliseconds patience = std::chrono::seconds{10});
  ~named_changes();
  named_changes(const named_changes&) = delete;
  named_changes& operator=(const named_changes&) = delete;

  // -- any thread but the loop's; these block until all processes have heard --------------------------------------------------------

  /// Sends nothing if the value is the present one.
  void define(const std::string& name, const std::string& type, detail::shared_bytes encoded);
  /// Whether the value is the present one, and every process has it.
  bool is_defined(const std::string& name, const std::string& type, std::uint64_t size, const bytes_digest& digest);
  /// On these processes; by default on all workers, also those that join later.
  void undefine(const std::vector<std::string>& names, const std::optional<std::vector<proc_id>>& where);

  // -- loop thread --------------------------------------------------------------------------------------------------------------

  /// Sends all values to a worker that joins. Returns their names and numbers.
  std::vector<std::pair<std::string, std::uint64_t>> send_all(proc_id to);
  void acknowledged(proc_id from, std::uint64_t number);
  /// A listener is none any more.
  void gone(proc_id id);

private:
  struct change;
  // What has been defined last by a name, as workers that join get it.
  struct present {
    named_value value;
    std::shared_ptr<detail::future_state> heard_by_all;
    bool everywhere = true; // has been removed from no process
    bool for_new = true; // workers that join get it
    bool on_master = true;
  };

  std::optional<present> find(const std::string& name);
  std::shared_ptr<detail::future_state> enqueue(std::unique_ptr<change> c);
  void go_on();
  void begin(change& c);
  void begin_definition(change& c);
  void begin_removal(change& c);
  void send(change& c, const std::vector<proc_id>& to);
  void look_for_progress(std::uint64_t number, std::size_t waiting);

  process& process_;
  const std::function<std::vector<listener>()> audience_;
  const std::chrono::milliseconds patience_;

  // loop thread
  std::uint64_t last_number_ = 0;
  std::map<std::string, present> present_;
  std::deque<std::unique_ptr<change>> changes_; // the first one is on its way
};

} // namespace troupe
