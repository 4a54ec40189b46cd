#include "troupe/actors/owned_references.hpp"

#include "troupe/actors/owned_channel.hpp"
#include "troupe/actors/owned_future.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>

namespace troupe {

namespace {

// A timer may be early by the age of its loop's clock.
constexpr auto timer_slack = std::chrono::milliseconds{10};

// What stands in front of every question.
reference_question read_question(proc_id from, frame_view& f, reader& in, ref_id& about) {
  reference_question q;
  q.from = from;
  q.number = in.get<std::uint64_t>();
  about.whence = in.get<proc_id>();
  about.id = in.get<std::uint64_t>();
  q.type = in.get<std::uint64_t>();
  q.op = in.get<ask_op>();
  q.flags = in.get<std::uint8_t>();
  q.in = &in;
  q.frame = &f;
  return q;
}

reference_answer withdrawn(proc_id from, std::uint64_t number) {
  reference_answer out;
  out.to = from;
  out.question = number;
  return out;
}

reference_answer refusal(const reference_question& q, const error_info& why) {
  reference_answer out;
  out.to = q.from;
  out.question = q.number;
  out.what = reference_answer::kind::error;
  out.why = std::make_shared<const error_info>(why);
  return out;
}

} // namespace

// -- counts -------------------------------------------------------------------------------------------------------------------

void owned_references::hear(proc_id from, reader in) {
  reference_work work;
  shard* locked = nullptr;
  std::unique_lock<std::mutex> lock;
  while (in.left() > 0) {
    const auto n = count_news::read(in, from);
    if (n.what == count_news::kind::recount) {
      locked = nullptr;
      lock = {};
      settings_.recount({from, n.whence, n.id}, n.from);
      continue;
    }
    const ref_id id{settings_.id, n.whence, n.id};
    auto& s = shard_of(id);
    if (locked != &s) {
      lock = {};
      lock = lock_briefly(s.mutex);
      locked = &s;
    }
    if (n.what == count_news::kind::give_up) { // of most references this is the last that is heard
      if (const auto i = s.all.find(id); i != s.all.end()) {
        i->second.holders.add(from, from, -1, false);
        free_if_unheld(s.all, i, work);
        continue;
      }
    }
    if (n.what == count_news::kind::add && n.holder != settings_.id && n.holder != from && settings_.gone(n.holder)) {
      if (const auto i = s.all.find(id); i != s.all.end()) { // it may have handed its copy on, and not have told
        mourn(i->second);
        work.jobs.push_back([this, id] { look_later(id, mourning + timer_slack); });
      }
      continue;
    }
    const auto i = s.all.try_emplace(id).first;
    if (n.what == count_news::kind::settle) {
      i->second.holders.settle(n.from, from, n.n, settings_.gone(n.from));
    } else {
      i->second.holders.add(n.from, n.holder, n.n, n.from != from && n.from != settings_.id && settings_.gone(n.from));
      if (n.what == count_news::kind::create && made_in(i->second) == nullptr) {
        i->second.future.emplace(id);
        made(i->second, work);
      }
    }
    free_if_unheld(s.all, i, work);
  }
  lock = {};
  do_work(work);
}

void owned_references::mourn(entry& e) { e.mourned_until = settings_.now() + mourning; }

void owned_references::free_if_unheld(table& t, table::iterator i, reference_work& out) {
  auto& e = i->second;
  if (!e.holders.none() || e.waiting)
    return;
  if (e.mourned_until != std::chrono::steady_clock::time_point{} && settings_.now() < e.mourned_until)
    return; // somebody looks when it is over
  free(t, i, out);
}

void owned_references::free(table& t, table::iterator i, reference_work& out) {
  auto& e = i->second;
  if (const auto what = made_in(e)) {
    what->end([&] { return unknown(i->first); }, out);
    if (what->has_actor)
      out.ended_actors.push_back(i->first);
    if (e.other)
      out.ended.push_back(std::move(e.other));
  }
  t.erase(i);
}

error_info owned_references::unknown(const ref_id& id) const {
  return make_error_info(error_kind::usage,
                         "reference " + to_string(id) + " stands for nothing on process " + std::to_string(settings_.id)
                           + ": its last copy is gone, or there never was one",
                         settings_.id);
}

template <class F>
void owned_references::for_each(F f) {
  reference_work work;
  for (auto& s : shards_) {
    std::lock_guard guard{s.mutex};
    for (auto& [ref, e] : s.all)
      if (const auto what = made_in(e))
        f(*what, work);
  }
  do_work(work);
}

void owned_references::retire(proc_id id, const error_info& why) {
  for_each([&](owned_reference& what, reference_work& work) { what.retire(id, why, work); });
}

void owned_references::replaced(proc_id lost, proc_id by) {
  for_each([&](owned_reference& what, reference_work& work) { what.replace(lost, by, work); });
}

void owned_references::peer_lost(proc_id id, const error_info& why) {
  reference_work work;
  std::map<proc_id, byte_buffer> recounts;
  bool mourned = false;
  for (auto& s : shards_) {
    std::lock_guard guard{s.mutex};
    for (auto& [ref, e] : s.all) {
      if (const auto what = made_in(e))
        what->forget(id, why, work);
      if (e.waiting)
        std::erase_if(*e.waiting, [id](auto& p) { return p.from == id; });
      if (e.holders.forget(id)) {
        mourn(e);
        mourned = true;
      }
      for (auto holder : e.holders.unsettled(id))
        count_news::put_recount(recounts[holder], ref, id);
    }
  }
  do_work(work);
  for (auto& [holder, bytes] : recounts) {
    borrowed_builder f{nullptr};
    f->start(frame_kind::counts).out().raw(bytes.data(), bytes.size());
    settings_.send(holder, *f);
  }
  if (mourned)
    settings_.later(mourning + timer_slack, [this] { look_at_all(); });
}

void owned_references::look_at_all() {
  reference_work work;
  for (auto& s : shards_) {
    std::lock_guard guard{s.mutex};
    for (auto i = s.all.begin(); i != s.all.end();)
      free_if_unheld(s.all, i++, work);
  }
  do_work(work);
}

void owned_references::look_later(const ref_id& id, std::chrono::milliseconds after) {
  settings_.later(after, [this, id] { look(id); });
}

// What was waited for has come by now, or doesn't.
void owned_references::look(const ref_id& id) {
  reference_work work;
  {
    auto& s = shard_of(id);
    std::lock_guard guard{s.mutex};
    const auto i = s.all.find(id);
    if (i == s.all.end())
      return;
    auto& e = i->second;
    if (e.waiting) {
      for (auto& p : *e.waiting) {
        if (settings_.now() < p.since + patience)
          continue;
        reader in{p.frame.payload};
        ref_id about;
        const auto q = read_question(p.from, p.frame, in, about);
        if (q.number != 0)
          work.answers.push_back(refusal(q, unknown(id)));
        p.from = 0;
      }
      std::erase_if(*e.waiting, [](auto& p) { return p.from == 0; });
      if (e.waiting->empty())
        e.waiting = nullptr;
    }
    free_if_unheld(s.all, i, work);
  }
  do_work(work);
}

// -- what is made ---------------------------------------------------------------------------------------------------------------

// Who asked before it was there is answered now.
void owned_references::made(entry& e, reference_work& out) {
  if (const auto waiting = std::exchange(e.waiting, nullptr))
    for (auto& p : *waiting)
      try {
        handle(e, p.from, p.frame, out);
      } catch (const codec_error&) {
        // its link was ended long ago, or would be now for what came before: there's nobody to tell
      }
}

// Returns false, and changes nothing, if there is one.
template <class Make>
bool owned_references::make_for(const ref_id& id, proc_id maker, Make make) {
  reference_work work;
  {
    auto& s = shard_of(id);
    const auto lock = lock_briefly(s.mutex);
    const auto i = s.all.try_emplace(id).first;
    auto& e = i->second;
    if (made_in(e) != nullptr)
      return false;
    e.holders.add(maker, maker, 1, false);
    make(e);
    made(e, work);
    free_if_unheld(s.all, i, work);
  }
  do_work(work);
  return true;
}

void owned_references::add(std::unique_ptr<owned_reference> what, proc_id maker) {
  const auto id = what->id();
  if (!make_for(id, maker, [&](entry& e) { e.other = std::move(what); }))
    throw usage_error{"there is a reference " + to_string(id) + " already"};
}

void owned_references::begin_call(const ref_id& id) {
  if (!make_for(id, id.whence, [&](entry& e) { e.future.emplace(id); }))
    throw codec_error{"a call whose result is to be " + to_string(id) + ", which there is already"};
}

template <class Set>
bool owned_references::set(const ref_id& id, Set set) {
  reference_work work;
  {
    auto& s = shard_of(id);
    const auto lock = lock_briefly(s.mutex);
    const auto i = s.all.find(id);
    if (i == s.all.end() || !i->second.future || i->second.future->done())
      return false;
    set(*i->second.future, work);
  }
  do_work(work);
  return true;
}

bool owned_references::set_value(const ref_id& id, kept_value value, std::uint64_t type) {
  return set(id, [&](owned_future& f, reference_work& work) { f.set_value(std::move(value), type, work); });
}

bool owned_references::set_small_value(const ref_id& id, std::span<const std::byte> value, std::uint64_t type) {
  return set(id, [&](owned_future& f, reference_work& work) { f.set_small_value(value, type, work); });
}

bool owned_references::set_error(const ref_id& id, const error_info& why) {
  return set(id, [&](owned_future& f, reference_work& work) { f.set_error(why, work); });
}

// -- questions --------------------------------------------------------------------------------------------------------------------

void owned_references::ask(proc_id from, frame_view& f) {
  reader in{f.payload};
  ref_id about;
  const auto q = read_question(from, f, in, about);
  about.where = settings_.id;
  if (q.op == ask_op::create && from != about.whence)
    throw codec_error{"process " + std::to_string(from) + " makes reference " + to_string(about) + ", which isn't its own"};
  reference_work work;
  {
    auto& s = shard_of(about);
    const auto lock = lock_briefly(s.mutex);
    auto i = s.all.find(about);
    if (i == s.all.end() && q.op == ask_op::create)
      i = s.all.try_emplace(about).first;
    if (i != s.all.end() && (made_in(i->second) != nullptr || q.op == ask_op::create)) {
      try {
        handle(i->second, from, f, work);
      } catch (...) {
        free_if_unheld(s.all, i, work);
        throw;
      }
      free_if_unheld(s.all, i, work);
    } else if (q.op == ask_op::withdraw) {
      if (i != s.all.end() && i->second.waiting) {
        const auto number = in.get<std::uint64_t>();
        const auto n = std::erase_if(*i->second.waiting, [&](auto& p) {
          std::uint64_t asked;
          std::memcpy(&asked, p.frame.payload.data(), sizeof asked);
          return p.from == from && asked == number;
        });
        if (n > 0)
          work.answers.push_back(withdrawn(from, number));
      }
    } else if (from == about.whence || about.whence == settings_.id || settings_.gone(about.whence)) {
      if (q.number != 0)
        work.answers.push_back(refusal(q, unknown(about)));
    } else {
      auto& e = s.all[about];
      if (!e.waiting)
        e.waiting = std::make_unique<std::vector<parked>>();
      e.waiting->push_back({from, std::move(f), settings_.now()});
      work.jobs.push_back([this, about] { look_later(about, patience + timer_slack); });
    }
  }
  do_work(work);
}

void owned_references::handle(entry& e, proc_id from, frame_view& f, reference_work& out) {
  reader in{f.payload};
  ref_id about;
  auto q = read_question(from, f, in, about);
  about.where = settings_.id;
  in.set_references(f.references);
  try {
    switch (q.op) {
      case ask_op::create: {
        const auto capacity = in.get<std::uint64_t>();
        in.expect_end();
        if (made_in(e) != nullptr)
          throw codec_error{"reference " + to_string(about) + " is made for the second time"};
        e.holders.add(from, from, 1, false);
        e.other = std::make_unique<owned_channel>(about, q.type, capacity);
        return made(e, out);
      }
      case ask_op::withdraw: {
        const auto number = in.get<std::uint64_t>();
        if (made_in(e)->withdraw(from, number, out)) {
          out.answers.push_back(withdrawn(from, number));
        } else if ((q.flags & ask_flags::comes_back) != 0) {
          made_in(e)->expect_back(from, number);
        }
        return;
      }
      case ask_op::tie:
        return tie(*made_in(e), q, out);
      case ask_op::actor: {
        reference_answer a;
        a.to = from;
        a.question = q.number;
        a.what = reference_answer::kind::value;
        byte_buffer bytes;
        writer w{bytes};
        settings_.write_actor(about, w);
        made_in(e)->has_actor = true;
        a.value = kept_value::of(bytes, nullptr, {});
        out.answers.push_back(std::move(a));
        return;
      }
      default:
        return made_in(e)->ask(q, out);
    }
  } catch (const codec_error&) {
    throw;
  } catch (const error& why) {
    if (q.number != 0)
      out.answers.push_back(refusal(q, why.info()));
  }
}

void owned_references::tie(owned_reference& what, reference_question& q, reference_work& out) {
  const auto to = q.in->get<proc_id>();
  q.in->expect_end();
  what.tied = to;
  if (to != settings_.id && settings_.gone(to))
    what.forget(to, make_error_info(error_kind::process_exited, "process " + std::to_string(to) + ", which had promised it, is gone", to),
                out);
  reference_answer a;
  a.to = q.from;
  a.question = q.number;
  out.answers.push_back(std::move(a));
}

// -- the end of it ------------------------------------------------------------------------------------------------------------------

void owned_references::do_work(reference_work& work) {
  for (auto& a : work.answers)
    if (a.question != 0)
      settings_.answer(a);
  for (auto& id : work.ended_actors)
    settings_.end_actor(id);
  for (auto& job : work.jobs)
    job();
}

std::vector<reference_info> owned_references::list() const {
  std::vector<reference_info> out;
  for (auto& s : shards_) {
    std::lock_guard guard{s.mutex};
    for (auto& [id, e] : s.all)
      if (e.future || e.other)
        out.push_back({id, e.holders.holders()});
  }
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.id < b.id; });
  return out;
}

std::size_t owned_references::size() const {
  std::size_t n = 0;
  for (auto& s : shards_) {
    std::lock_guard guard{s.mutex};
    n += s.all.size();
  }
  return n;
}

} // namespace troupe
