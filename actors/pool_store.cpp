#include "troupe/actors/pool_store.hpp"

#include "troupe/transport/log.hpp"

#include <algorithm>
#include <cstdio>

namespace troupe::detail {

// The next turn deals with it, and has those who wait look again.
void pool_store::forget(proc_id gone) {
  store_runner::forget(gone);
  {
    std::lock_guard guard{gone_mutex_};
    newly_gone_.push_back(gone);
  }
  store_question look;
  look.q.op = ask_op::pool_status;
  submit(std::move(look));
}

// What the dead have taken goes back; the pool loses those that were its members.
void pool_store::bury() {
  std::vector<proc_id> dead;
  {
    std::lock_guard guard{gone_mutex_};
    dead.swap(newly_gone_);
  }
  for (auto id : dead)
    try {
      std::erase_if(out_, [&](auto& x) { return x.second == id; });
      const auto members = pool_->members();
      if (std::find(members.begin(), members.end(), id) != members.end()) {
        pool_->lost(id);
        ++version_;
      }
      for (bool more = true; more;) {
        const auto its = std::find_if(out_.begin(), out_.end(), [&](auto& x) { return x.first == id; });
        more = its != out_.end();
        if (more)
          put(its->second, id);
      }
    } catch (const std::exception& e) {
      log(log_level::error, name() + " was told that process " + std::to_string(id) + " has gone, and threw: " + e.what());
    }
}

bool pool_store::attempt(store_question& s, reference_answer& out) {
  bury();
  reader in{s.arguments.bytes};
  switch (s.q.op) {
    case ask_op::pool_take:
      return take(s, out);
    case ask_op::pool_wait:
      if (ready())
        return true;
      throw_if_dead(pool_->members());
      return false;
    case ask_op::pool_put:
      put(in.get<proc_id>(), s.q.from);
      return true;
    case ask_op::pool_push: {
      static_cast<void>(in.get<pool_push>());
      for (auto& m : read<std::vector<pool_member>>(in)) {
        if (m.id <= 0 || m.slots < 1 || m.slots > most_pool_slots)
          throw codec_error{"member " + std::to_string(m.id) + " with " + std::to_string(m.slots) + " slots, for " + name()};
        if (const auto why = gone_(m.id))
          throw_error(*why);
        for (std::int32_t i = 0; i < m.slots; ++i)
          pool_->push(m.id);
      }
      ++version_;
      return true;
    }
    case ask_op::pool_status: {
      pool_status now;
      now.members = alive(pool_->members());
      now.idle = alive(pool_->idle());
      now.size = size();
      now.ready = ready();
      out.what = reference_answer::kind::value;
      out.value = encode_kept(now);
      return true;
    }
    case ask_op::pool_view:
      return view(in.get<std::uint64_t>(), out);
    default:
      throw codec_error{"operation " + std::to_string(static_cast<int>(s.q.op)) + " on " + name()};
  }
}

// The dead may still be idle, as far as it knows.
bool pool_store::ready() const { return pool_->isready() && !alive(pool_->idle()).empty(); }

bool pool_store::take(const store_question& s, reference_answer& out) {
  const auto members = pool_->members();
  for (std::size_t tries = 0; tries <= members.size(); ++tries) {
    const auto id = pool_->take();
    if (!id)
      break;
    if (!gone_(*id)) {
      out_.emplace_back(s.q.from, *id);
      out.what = reference_answer::kind::number;
      out.number = static_cast<std::uint64_t>(*id);
      return true;
    }
    pool_->lost(*id); // it hasn't listened, or has given it before it could be told
  }
  throw_if_dead(members);
  return false;
}

void pool_store::put(proc_id id, proc_id by) {
  auto had = std::find(out_.begin(), out_.end(), std::pair{by, id});
  if (had == out_.end())
    had = std::find_if(out_.begin(), out_.end(), [&](auto& x) { return x.second == id; });
  if (had != out_.end())
    out_.erase(had);
  pool_->put(id);
}

bool pool_store::view(std::uint64_t known, reference_answer& out) {
  if (known == version_)
    return false;
  pool_view now;
  now.version = version_;
  now.custom = true;
  const auto idle = alive(pool_->idle());
  for (auto id : alive(pool_->members()))
    now.members.push_back({id, 1, std::find(idle.begin(), idle.end(), id) == idle.end()});
  out.what = reference_answer::kind::value;
  out.value = encode_kept(now);
  return true;
}

std::vector<proc_id> pool_store::alive(std::vector<proc_id> ids) const {
  std::erase_if(ids, [&](auto id) { return gone_(id).has_value(); });
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::size_t pool_store::size() {
  const auto members = pool_->members();
  return pool_->size() - std::min(pool_->size(), members.size() - alive(members).size());
}

void pool_store::throw_if_dead(const std::vector<proc_id>& members) const {
  if (!alive(members).empty())
    return;
  std::string how;
  for (auto id : members)
    how += (how.empty() ? ": " : ", ") + std::string{"worker "} + std::to_string(id) + ' ' + gone_(id)->cause.to_text();
  throw_error(make_error_info(error_kind::no_workers, name() + " has no live member" + how, id().where));
}

} // namespace troupe::detail
