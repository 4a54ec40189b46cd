#pragma once

#include <chrono>

namespace troupe {

/// Whether a thread that waits had better ask again and again before it sleeps: waking a thread takes longer than most
/// answers. It is worth it where waits have been short of late, and only while nobody else wants the CPU: now and then the thread
/// lets others run, and one that finds that it was kept from running for long says so to all of the process: for a while
/// none of its threads asks again.
///
/// One for each thread that waits; what they tell each other may be told from any thread.
class patience {
public:
  using clock = std::chrono::steady_clock;

  /// A wait begins; returns whether to ask.
  bool begin(clock::time_point now);

  /// Whether to ask once more. `busy`: the time since the last question went into an answer to another one.
  bool more(clock::time_point now, bool busy);

  /// What was waited for has come.
  void end(clock::time_point now);

private:
  bool asks_ = false;
  bool others_ran_ = false; // when they were last let
  clock::time_point started_{};
  clock::time_point asked_{};
  clock::time_point polite_{}; // when others were last let run
  clock::duration usual_{}; // how long waits last
};

} // namespace troupe
