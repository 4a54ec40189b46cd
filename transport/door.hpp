#pragma once

#include "troupe/transport/byte_stream.hpp"
#include "troupe/transport/connection.hpp"
#include "troupe/transport/loop.hpp"
#include "troupe/transport/refusals.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace troupe {

/// Where those who dial this process wait until they have proved that they know the cookie and said who they are. Strangers
/// can't make it cost much: only so many wait at a time, each in less than 2 kB and until a deadline that nothing which they
/// send puts off; and nothing of what they send is decoded. Loop thread only.
class door {
public:
  struct settings {
    /// For the whole introduction.
    std::chrono::milliseconds limit{10000};
    /// At most so many wait who haven't proved that they know the cookie. Never more than a quarter of the descriptors that
    /// this process may have, so that there are some left to dial with.
    std::size_t most = 256;
    /// Where so many wait, one more is let in if the one that has waited longest has done so for longer than this: that one is
    /// dropped. Otherwise the new one is. Who knows the cookie needs a few ms: with 1,700 strangers a second, and 100 ms, none of 100
    /// who did was turned away; with 1 s, 60 were.
    std::chrono::milliseconds patience{100};
  };

  /// All must be set. None of them may destroy the door.
  struct events {
    /// Empty if the peer is welcome, otherwise what it is told.
    std::function<verdict(const hello&)> check;
    /// Makes the hello that answers this process's. Comes after `check`.
    std::function<hello(proc_id to)> introduce;
    /// Somebody is through, and no longer the door's business.
    std::function<void(std::unique_ptr<established>)> entered;
    std::function<void(const refusal&)> refused;
  };

  door(loop& l, settings s, events e);
  /// Hangs up on all who wait, without a word.
  ~door();
  door(const door&) = delete;
  door& operator=(const door&) = delete;

  /// Somebody has dialled. Calls back before it returns if there is nothing to wait for.
  void knock(std::unique_ptr<byte_stream> stream, const std::string& cookie);

  /// Who hasn't proved yet that they know the cookie.
  std::size_t strangers() const { return strangers_; }

private:
  struct visitor;
  using visitors = std::list<visitor>;

  struct visitor {
    door* where;
    loop::clock::time_point since;
    std::shared_ptr<connection> talk;
    proc_id id = 0;
    bool stranger = true;
    refusal_reason dropped_for = refusal_reason::left;
    visitors::iterator self;
  };

  std::size_t most() const;
  bool make_room();
  void admit(std::unique_ptr<byte_stream> stream, const std::string& cookie);
  void drop(visitor& v, refusal_reason why, const std::string& what_it_did);
  void proved(visitor& v);
  void ended(visitor& v, std::unique_ptr<established> e, std::string why);
  void refuse(refusal_reason why, const std::string& peer, std::string text);
  void watch_the_clock();

  loop& loop_;
  settings settings_;
  events events_;
  visitors visitors_; // the oldest first
  std::size_t strangers_ = 0;
  loop::timer_id timer_ = 0; // one for all: not before the oldest one's deadline
  bool closed_ = false;
};

} // namespace troupe
