#pragma once

#include "troupe/transport/proc_id.hpp"
#include "troupe/transport/unique_fd.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace troupe {

/// A small process between a rank of an MPI job and its launcher.
///
/// What the rank writes to its standard streams passes it, and gets a label: launchers mix the output of all ranks. It lives until the
/// rank has ended, so that the last words of one that is killed are told, too; and so is how it has ended, which launchers only guess: they
/// end all other ranks as well, and hydra names the first in their order that was killed. It can spare the others that.
class rank_keeper {
public:
  /// launched: by a master that is no rank. joined: a rank as others, of whose end the user is told.
  enum class mode { launched, joined };

  /// Returns in the rank, which is a child of the keeper from then on; or, if this process has several threads or MPI has been initialized, it goes
  /// on in this process, and the keeper does no more than to label. Where there can be no keeper, the output stays as it is.
  explicit rank_keeper(mode how);
  ~rank_keeper();
  rank_keeper(const rank_keeper&) = delete;
  rank_keeper& operator=(const rank_keeper&) = delete;

  /// What is written from now on is labelled.
  void label(proc_id id);

  /// Takes lines, without their ends. Returns false if it can't take any more.
  using line_sink = std::function<bool(std::vector<std::string> lines)>;

  /// What is written from now on is given to `sink`, on a thread of its own, instead of being shown. While it blocks, who writes is slowed down. What it doesn't take
  /// any more is shown, and so is what a rank that dies has written last. Once.
  void forward(line_sink sink);
  /// Ends that, once the sink has had what was written before; no later than after this time.
  void stop_forwarding(std::chrono::milliseconds limit);

  /// The one of this process; null if there is none.
  static rank_keeper* of_process();

  /// Whatever end this rank comes to, its launcher is not to end the others. For hydra, MPICH's.
  void let_others_survive();

  /// Tells this process's launcher, in MPI_Finalize's place, that the rank has come to its end; waits up to 2 s for the answer. Nobody else may use PMI
  /// meanwhile. Does nothing if it has been told, or doesn't speak MPICH's PMI.
  static void say_goodbye();

  /// "      From worker 3:\t"
  static std::string text_of(proc_id id);

  struct found {
    proc_id id;
    std::size_t size;
  };
  /// The label that a line begins with.
  static std::optional<found> label_of(std::string_view line);

  struct ended {
    int rank = -1;
    int status = -1;
    int signal = 0;
  };
  /// What the keeper of a launched rank says of its end.
  static std::optional<ended> end_of(std::string_view line);

private:
  struct forwarding;

  int orders_ = -1;
  unique_fd lines_; // from the keeper's process
  std::shared_ptr<forwarding> forwarding_;
};

} // namespace troupe
