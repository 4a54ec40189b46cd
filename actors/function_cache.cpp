#include "troupe/actors/function_cache.hpp"

#include "troupe/actors/future.hpp"
#include "troupe/actors/type_tag.hpp"
#include "troupe/transport/codec.hpp"

#include <algorithm>
#include <utility>

namespace troupe {

namespace {

constexpr std::size_t most_forgotten = 256;

// A user's destructor isn't the loop's business.
void end_later(function_cache::function last) {
  if (last)
    detail::run_as_job([last = std::move(last)]() mutable { last = nullptr; });
}

} // namespace

function_cache::function function_cache::checked(const ref_id& id, const entry& e, std::uint64_t type) {
  if (e.type != type)
    throw codec_error{"function " + to_string(id) + " is used as " + detail::type_tag_name(type) + ", and is "
                      + detail::type_tag_name(e.type)};
  return e.f;
}

function_cache::function function_cache::get(const ref_id& id, std::uint64_t type) const {
  std::lock_guard guard{mutex_};
  const auto i = all_.find(id);
  if (i == all_.end())
    throw codec_error{"function " + to_string(id) + " was never sent to this process, or was forgotten"};
  return checked(id, i->second, type);
}

function_cache::function function_cache::get_or_add(const ref_id& id, std::uint64_t type, const std::function<function()>& make) {
  {
    std::lock_guard guard{mutex_};
    if (const auto i = all_.find(id); i != all_.end())
      return checked(id, i->second, type);
  }
  auto made = make();
  std::lock_guard guard{mutex_};
  if (gone_.contains(id.whence) || std::find(forgotten_.begin(), forgotten_.end(), id) != forgotten_.end())
    return made; // a call that was behind that
  return checked(id, all_.try_emplace(id, entry{type, std::move(made)}).first->second, type); // another task may have been first
}

void function_cache::forget(const ref_id& id) {
  function last;
  {
    std::lock_guard guard{mutex_};
    forgotten_.push_back(id);
    if (forgotten_.size() > most_forgotten)
      forgotten_.pop_front();
    if (const auto i = all_.find(id); i != all_.end()) {
      last = std::move(i->second.f);
      all_.erase(i);
    }
  }
  end_later(std::move(last));
}

void function_cache::peer_lost(proc_id id) {
  std::vector<function> last;
  {
    std::lock_guard guard{mutex_};
    gone_.insert(id);
    std::erase_if(all_, [&](auto& x) {
      if (x.first.whence != id)
        return false;
      last.push_back(std::move(x.second.f));
      return true;
    });
  }
  for (auto& f : last)
    end_later(std::move(f));
}

std::vector<ref_id> function_cache::list() const {
  std::vector<ref_id> out;
  {
    std::lock_guard guard{mutex_};
    for (auto& [id, e] : all_)
      out.push_back(id);
  }
  std::sort(out.begin(), out.end());
  return out;
}

} // namespace troupe
