#pragma once

#include "troupe/managers/started_manager.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace troupe {

class keeper_session;

/// A manager whose workers are looked after by keepers on their hosts: what is the same for all of these, however a keeper is brought there.
class keeper_manager : public started_manager {
public:
  void kill_all() override;

protected:
  /// What a launch is to call with each session that it has started (keeper_launch::ways::started), for kill_all.
  std::function<void(const std::shared_ptr<keeper_session>&)> remembering();

private:
  std::mutex sessions_mutex_; // guards the sessions
  std::vector<std::weak_ptr<keeper_session>> sessions_;
};

} // namespace troupe
