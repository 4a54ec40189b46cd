// References that are copied, handed on, kept in futures and channels, taken out and dropped, while links and processes fail: nothing that somebody holds is ever
// freed, and everything else is. To see a history that failed: TROUPE_HISTORY=seed bin/test_actors_reference_histories. TROUPE_HISTORIES=n: how many.
#define BOOST_TEST_MODULE reference_histories
#include <boost/test/unit_test.hpp>

#include "transport/seeds.hpp"
#include "transport/virtual_cluster.hpp"

#include "troupe/actors/owned_references.hpp"

#include <cstring>
#include <deque>
#include <list>
#include <set>

using namespace std::chrono_literals;
using test::dice;
using test::virtual_cluster;
using troupe::ask_op;
using troupe::frame_kind;
using troupe::held_reference_ptr;
using troupe::owned_references;
using troupe::proc_id;
using troupe::ref_id;
using troupe::references;

namespace {

using process = virtual_cluster::process;
using time_point = std::chrono::steady_clock::time_point;
using duration = virtual_cluster::clock::duration;
using link_pair = std::pair<proc_id, proc_id>;

// -- the model: what is true ------------------------------------------------------------------------------------------------------

// A copy on a process.
struct token {
  std::size_t of; // the reference's number
  held_reference_ptr held;
  bool weak = false; // made of an id that somebody knew: it promises nothing until the owner has heard of it in time
  int asking = 0; // questions that need it
  bool pinned = false; // not to be dropped or multiplied by chance
};

// Copies that are on their way.
struct flight {
  proc_id from;
  proc_id to;
  std::vector<std::size_t> refs;
};

struct target {
  ref_id id;
  bool channel = false;
  bool seen = false; // its owner has heard of it from its maker
  bool excused = false; // a death may have taken the last that was known of it
  std::multiset<std::uint64_t> values; // what it keeps
  std::map<link_pair, std::int64_t> sent, heard; // copies handed on, and those that the owner has been told of
  std::map<link_pair, time_point> settled; // when the owner heard the first's settling of what the second had handed to it
};

// What is put into futures and channels.
struct value {
  std::vector<std::size_t> refs;
};

class history {
public:
  history(std::uint64_t seed, bool show) : dice_(seed * 2 + 1), cluster_(options(seed, show), hooks()), show_(show) {}

  std::vector<std::string> run() {
    try {
      begin();
      make_faults();
      cluster_.run_until(fault_time);
      heal();
      cluster_.run_until(fault_time + 300ms);
      for (auto& [id, n] : nodes_)
        drop_all(*n);
      ended_ = true;
      auto end = fault_time;
      for (int i = 0; i < most_seconds && !what_is_left().empty(); ++i)
        cluster_.run_until(end += 1s);
      if (auto left = what_is_left(); !left.empty())
        problem("at the end " + left);
    } catch (const std::exception& e) {
      problem(std::string{"an exception: "} + e.what());
    }
    hash = cluster_.log_hash();
    return problems_;
  }

  std::uint64_t hash = 0;
  std::uint64_t made = 0, copies = 0, excused = 0, answers = 0, refusals = 0, deaths = 0;

private:
  static constexpr duration fault_time = 6s;
  static constexpr int most_seconds = 70; // see histories.cpp
  static constexpr std::size_t large_size = (1 << 20) + 5000; // goes in the bulk lane

  struct question {
    ask_op op;
    std::size_t of;
    std::list<token>::iterator with;
    time_point since;
  };

  struct node {
    process& at;
    std::shared_ptr<references> held;
    std::unique_ptr<owned_references> owned;
    std::list<token> tokens;
    std::map<std::uint64_t, question> questions;
    std::uint64_t last_question = 0;
    std::map<proc_id, time_point> gone; // when it heard of that
    std::deque<std::list<token>::iterator> claims; // that the owners haven't heard of
  };

  virtual_cluster::options options(std::uint64_t seed, bool show) {
    virtual_cluster::options o;
    o.processes = dice_.between(3, 5);
    o.network.seed = seed;
    o.network.most_delay = dice_.time(100us, 20ms);
    if (dice_.percent(15))
      o.network.cuts = 0.001;
    o.show = show;
    return o;
  }

  virtual_cluster::hooks hooks() {
    virtual_cluster::hooks h;
    h.frame = [this](process& p, proc_id from, troupe::frame_view& f) {
      if (nodes_.contains(p.id))
        take(*nodes_.at(p.id), from, f);
    };
    h.gone = [this](process& p, proc_id id, const troupe::error_info& why) {
      if (!nodes_.contains(p.id))
        return;
      auto& n = *nodes_.at(p.id);
      n.gone[id] = now();
      for (auto i = n.questions.begin(); i != n.questions.end();)
        if (targets_[i->second.of].id.where == id)
          end_question(n, i++);
        else
          ++i;
      for (auto& [put, v] : putting_) // who waits to put has not put
        if (put.first == id && targets_[asked_[put].second].id.where == p.id)
          targets_[asked_[put].second].values.erase(v);
      n.held->peer_lost(id);
      n.owned->peer_lost(id, why);
    };
    h.unreachable = [this](process& p, proc_id id, const troupe::error_info& why) {
      if (!cluster_.at(id).ended && !p.ended)
        problem("process " + std::to_string(id) + " couldn't be reached from " + std::to_string(p.id) + ": " + why.message);
    };
    h.ended = [this](process& p) {
      ++deaths;
      if (const auto n = nodes_.find(p.id); n != nodes_.end()) {
        n->second->held->close();
        nodes_.erase(n);
      }
    };
    return h;
  }

  time_point now() { return time_point{} + cluster_.time(); }

  void problem(const std::string& text) {
    if (problems_.size() < 10)
      problems_.push_back(std::to_string(std::chrono::duration<double>(cluster_.time()).count()) + " s: " + text);
    if (show_)
      std::printf("PROBLEM %s\n", text.c_str());
  }

  void note(const char* what, proc_id a, proc_id b = 0, std::size_t of = 0, const std::string& text = {}) {
    cluster_.note(what, a, b, of, text.empty() && show_ && of < targets_.size() ? to_string(targets_[of].id) : text);
  }

  void begin() {
    targets_.push_back({}); // numbers begin with 1
    for (proc_id id = 2; id <= last(); ++id)
      cluster_.plan(0us, [this, id] {
        cluster_.adopt(id);
        cluster_.step(cluster_.at(1));
      });
    cluster_.run_until(500ms);
    for (auto& p : cluster_.all())
      add_node(*p);
    for (auto& [id, n] : nodes_)
      n->at.events->call_after(dice_.time(0us, 50ms), [this, id = id] { act(id); });
    if (dice_.percent(30))
      large_ = dice_.between(1, 3);
    busy_ = dice_.between(5, 60);
    check_later();
  }

  proc_id last() const { return static_cast<proc_id>(cluster_.all().size()); }

  // As the runtime does it.
  void add_node(process& p) {
    auto n = std::make_unique<node>(node{p, nullptr, nullptr, {}, {}, 0, {}, {}});
    references::settings h;
    h.id = p.id;
    h.send = [this, n = n.get()](proc_id to, troupe::frame_builder& f) { send_counts(*n, to, f); };
    h.flush_soon = [n = n.get()] { n->at.events->post([n] { n->at.events->call_after(2ms, [held = n->held] { held->flush(); }); }); };
    h.ask = [this, n = n.get()](proc_id to, troupe::frame_builder& f, std::shared_ptr<troupe::detail::future_state>, bool) {
      send(*n, to, f); // a withdrawal
      return std::uint64_t{0};
    };
    h.forget = [](std::uint64_t) {};
    n->held = std::make_shared<references>(h);
    owned_references::settings o;
    o.id = p.id;
    o.gone = [&p](proc_id id) { return p.net->gone(id).has_value(); };
    o.answer = [this, n = n.get()](troupe::reference_answer& a) { answer(*n, a); };
    o.send = h.send;
    o.recount = [n = n.get()](const ref_id& id, proc_id from) { n->held->recount(id, from); };
    o.later = [&p](std::chrono::milliseconds after, std::function<void()> f) {
      p.events->post([&p, after, f = std::move(f)] { p.events->call_after(after, f); });
    };
    o.now = [this] { return now(); };
    n->owned = std::make_unique<owned_references>(o);
    nodes_[p.id] = std::move(n);
  }

  // -- frames -----------------------------------------------------------------------------------------------------------------------

  static troupe::frame_view view_for_oneself(troupe::frame_builder& f) {
    troupe::frame_view v;
    v.references = std::exchange(f.references(), {});
    v.header.kind = f.kind();
    auto owner = std::make_shared<troupe::byte_buffer>(std::move(f.finish_whole()));
    v.payload = std::span{*owner}.subspan(sizeof(troupe::frame_header));
    v.owner = std::move(owner);
    return v;
  }

  // The copies in it are the model's business from here on, until it has arrived.
  void send(node& n, proc_id to, troupe::frame_builder& f, std::uint64_t flight_number = 0) {
    if (to == n.at.id) {
      auto v = view_for_oneself(f);
      flights_.erase(flight_number);
      handle(n, to, v);
      return;
    }
    for (auto& r : f.references()) {
      ++targets_[number_of(r->id())].sent[{n.at.id, to}];
      ++copies;
    }
    n.held->leaving(to, f.references());
    n.at.net->send(to, f, dice_.percent(50) ? troupe::urgency::now : troupe::urgency::batched);
  }

  void send_counts(node& n, proc_id to, troupe::frame_builder& f) {
    if (to != n.at.id) {
      n.at.net->send(to, f, troupe::urgency::batched);
      return;
    }
    auto v = view_for_oneself(f);
    hear(n, to, v);
  }

  std::uint64_t fly(proc_id from, proc_id to, std::vector<std::size_t> refs) {
    flights_[++last_flight_] = {from, to, std::move(refs)};
    return last_flight_;
  }

  void take(node& n, proc_id from, troupe::frame_view& f) {
    if ((f.header.flags & troupe::frame_flags::references) != 0)
      for (auto& id : take_reference_list(f))
        f.references.push_back(n.held->arrived(from, id));
    if (f.header.kind == frame_kind::counts)
      return hear(n, from, f);
    handle(n, from, f);
  }

  void handle(node& n, proc_id from, troupe::frame_view& f) {
    troupe::reader in{f.payload};
    if (f.header.kind == frame_kind::call) {
      const ref_id id{n.at.id, from, in.get<std::uint64_t>()};
      n.owned->begin_call(id);
      const auto of = number_of(id);
      targets_[of].seen = true;
      n.at.events->call_after(dice_.time(0us, 800ms), [this, &n, of] { end_call(n, of); });
    } else if (f.header.kind == frame_kind::message) {
      in.take(sizeof(std::uint64_t));
      flights_.erase(in.get<std::uint64_t>());
      arrive(n, f, in.get<std::uint64_t>() != 0);
    } else if (f.header.kind == frame_kind::reply) {
      take_reply(n, f);
    } else {
      take_question(n, from, f);
    }
  }

  void arrive(node& n, troupe::frame_view& f, bool to_be_kept = false) {
    for (auto& r : std::exchange(f.references, {})) {
      const auto of = number_of(r->id());
      const auto t = add_token(n, of, std::move(r));
      t->pinned = to_be_kept && dice_.percent(80);
      if (dice_.percent(40))
        pass_on(n, t);
      if (dice_.percent(60))
        drop(n, t);
    }
  }

  // What an owner is told, as it is told.
  void hear(node& n, proc_id from, troupe::frame_view& f) {
    troupe::reader in{f.payload};
    while (in.left() > 0) {
      const auto at = f.payload.size() - in.left();
      const auto x = troupe::count_news::read(in, from);
      using kind = troupe::count_news::kind;
      const auto of = find({n.at.id, x.whence, x.id});
      note("hears", n.at.id, from, of,
           show_ ? to_string(ref_id{n.at.id, x.whence, x.id}) + " kind " + std::to_string(static_cast<int>(x.what)) + " "
                     + std::to_string(x.from) + "->" + std::to_string(x.holder) + " " + std::to_string(x.n)
                 : std::string{});
      const auto one = f.payload.subspan(at, f.payload.size() - in.left() - at);
      n.owned->hear(from, troupe::reader{one});
      auto& t = targets_[of];
      if (x.what == kind::add && x.from == from && x.holder != from)
        t.heard[{from, x.holder}] += x.n;
      else if (x.what == kind::settle)
        t.settled.try_emplace({from, x.from}, now());
      else if (x.what == kind::create)
        t.seen = true;
      else if (x.what == kind::add && x.from == from && x.holder == from && x.n == 1)
        claim_heard(n, from, of);
    }
  }

  // -- questions ----------------------------------------------------------------------------------------------------------------------

  void ask(node& n, std::list<token>::iterator t, ask_op op, std::uint8_t flags, const std::vector<std::list<token>::iterator>& with) {
    const auto of = t->of;
    n.held->make_known(t->held);
    const auto number = ++n.last_question;
    ++t->asking;
    n.questions[number] = {op, of, t, now()};
    asked_[{n.at.id, number}] = {op, of};
    const auto to = targets_[of].id.where;
    note("asks", n.at.id, to, of);
    troupe::frame_builder f;
    n.held->begin(f, targets_[of].id, 0, op, flags);
    std::memcpy(f.out().buffer().data() + sizeof(troupe::frame_header), &number, sizeof number);
    std::uint64_t number_of_flight = 0;
    if (op == ask_op::create) {
      f.out().put(dice_.between(0, 3));
    } else if (op == ask_op::put) {
      const auto v = ++last_value_;
      std::vector<std::size_t> refs;
      for (auto& w : with)
        refs.push_back(w->of);
      values_[v] = {refs};
      number_of_flight = fly(n.at.id, to, refs);
      troupe::write_elements(f.out(), 1, [&](troupe::writer& out, std::size_t) {
        out.put(v);
        out.put(number_of_flight);
        for (auto& w : with)
          out.carry(w->held);
      });
    }
    send(n, to, f, number_of_flight);
  }

  void take_question(node& n, proc_id from, troupe::frame_view& f) {
    troupe::reader in{f.payload};
    in.get<std::uint64_t>();
    ref_id about{n.at.id, 0, 0};
    about.whence = in.get<proc_id>();
    about.id = in.get<std::uint64_t>();
    in.get<std::uint64_t>();
    const auto op = in.get<ask_op>();
    in.get<std::uint8_t>();
    const auto of = find(about);
    if (op == ask_op::create)
      targets_[of].seen = true;
    if (op == ask_op::put) {
      in.take(sizeof(std::uint32_t) + troupe::writer::element::header);
      const auto v = in.get<std::uint64_t>();
      flights_.erase(in.get<std::uint64_t>());
      const auto put = std::pair{from, number_in(f)};
      if (!withdrawn_.contains(put)) {
        targets_[of].values.insert(v);
        putting_[put] = v;
      }
    }
    n.owned->ask(from, f);
  }

  static std::uint64_t number_in(const troupe::frame_view& f) {
    std::uint64_t number;
    std::memcpy(&number, f.payload.data(), sizeof number);
    return number;
  }

  // The owner answers.
  void answer(node& n, troupe::reference_answer& a) {
    using kind = troupe::reference_answer::kind;
    const auto [op, of] = asked_[{a.to, a.question}];
    question* q = nullptr;
    if (const auto to = nodes_.find(a.to); to != nodes_.end())
      if (const auto i = to->second->questions.find(a.question); i != to->second->questions.end())
        q = &i->second;
    troupe::frame_builder f;
    auto& out = f.start(frame_kind::reply).out();
    out.put(a.question);
    out.put(a.what);
    std::uint64_t number_of_flight = 0;
    const auto put = putting_.find({a.to, a.question});
    if (a.what == kind::error) {
      if (q != nullptr && a.why->message.find("stands for nothing") != std::string::npos)
        refused(n, a.to, *q);
      note("answers", n.at.id, a.to, of, "error: " + a.why->message);
    }
    if (put != putting_.end()) {
      if (a.what == kind::error || (a.what == kind::number && a.number == 0))
        targets_[of].values.erase(put->second);
      putting_.erase(put);
    }
    if (a.what == kind::value) {
      std::uint64_t v;
      std::memcpy(&v, a.value.bytes.data(), sizeof v);
      if (op == ask_op::take)
        targets_[of].values.erase(v);
      number_of_flight = fly(n.at.id, a.to, values_.at(v).refs);
      out.put(number_of_flight);
      for (auto& r : a.value.references)
        out.carry(r);
    }
    send(n, a.to, f, number_of_flight);
  }

  // Who holds a copy, and always has since it asked, isn't told that there is nothing.
  void refused(node& n, proc_id asker, const question& q) {
    ++refusals;
    auto& t = targets_[q.of];
    if (q.with->weak || n.gone.contains(asker))
      return;
    if (t.seen) {
      if (!excuse(n, q.of))
        problem("process " + std::to_string(asker) + " holds " + to_string(t.id) + ", and is told that it stands for nothing");
    } else if (!n.gone.contains(t.id.whence) && now() < q.since + owned_references::patience) {
      problem("process " + std::to_string(asker) + " is told that " + to_string(t.id)
              + " stands for nothing, of which its maker hasn't told yet");
    }
  }

  void take_reply(node& n, troupe::frame_view& f) {
    troupe::reader in{f.payload};
    const auto number = in.get<std::uint64_t>();
    using kind = troupe::reference_answer::kind;
    if (in.get<kind>() == kind::value)
      flights_.erase(in.get<std::uint64_t>());
    const auto q = n.questions.find(number);
    if (q == n.questions.end())
      return;
    ++answers;
    end_question(n, q);
    arrive(n, f);
  }

  void end_question(node& n, std::map<std::uint64_t, question>::iterator q) {
    --q->second.with->asking;
    n.questions.erase(q);
  }

  // -- what processes do ----------------------------------------------------------------------------------------------------------------

  void act(proc_id id) {
    if (ended_ || cluster_.time() >= fault_time || !nodes_.contains(id))
      return;
    auto& n = *nodes_.at(id);
    for (auto k = dice_.between(1, 3); k > 0; --k)
      act(n);
    n.at.events->call_after(dice_.percent(95) ? dice_.time(1ms, 1ms * busy_) : dice_.time(100ms, 700ms), [this, id] { act(id); });
  }

  void act(node& n) {
    const auto what = dice_.between(0, 99);
    if (what < 12)
      return make(n);
    if (what < 16)
      return claim(n);
    if (n.tokens.empty())
      return;
    const auto t = any_token(n);
    if (what < 24) {
      if (!t->weak && !t->pinned)
        add_token(n, t->of, t->held);
    } else if (what < 50) {
      drop(n, t);
    } else if (what < 68) {
      pass_on(n, t);
    } else if (what < 76) {
      ask(n, t, ask_op::isready, 0, {});
    } else if (what < 86) {
      put(n, t);
    } else if (what < 98) {
      ask(n, t, targets_[t->of].channel && dice_.percent(80) ? ask_op::take : ask_op::fetch,
          dice_.percent(60) ? troupe::ask_flags::at_once : 0, {});
    } else if (!n.questions.empty()) {
      withdraw(n, n.questions.begin());
    }
  }

  std::list<token>::iterator any_token(node& n) {
    return std::next(n.tokens.begin(), static_cast<std::ptrdiff_t>(dice_.between(0, n.tokens.size() - 1)));
  }

  std::list<token>::iterator add_token(node& n, std::size_t of, held_reference_ptr held) {
    return n.tokens.insert(n.tokens.end(), {of, std::move(held)});
  }

  std::size_t find(const ref_id& id) {
    const auto i = numbers_.find(id);
    return i == numbers_.end() ? 0 : i->second;
  }

  std::size_t number_of(const ref_id& id) { return numbers_.at(id); }

  std::size_t add_target(const ref_id& id, bool channel) {
    const auto of = targets_.size();
    targets_.emplace_back();
    targets_.back().id = id;
    targets_.back().channel = channel;
    numbers_[id] = of;
    ++made;
    return of;
  }

  // By a call, by `on`, as a channel; for itself or another process.
  void make(node& n) {
    const auto t = make_at(n, static_cast<proc_id>(dice_.between(1, cluster_.all().size())));
    if (!t)
      return;
    if (dice_.percent(50))
      pass_on(n, *t);
    if (dice_.percent(20))
      drop(n, *t);
  }

  std::optional<std::list<token>::iterator> make_at(node& n, proc_id to) {
    if (n.gone.contains(to))
      return std::nullopt;
    const auto id = n.held->next(to);
    const auto how = dice_.between(0, 2);
    const auto of = add_target(id, how == 2);
    note(how == 0 ? "calls" : how == 1 ? "makes" : "channel", n.at.id, to, of);
    if (how == 0) {
      troupe::frame_builder f;
      f.start(frame_kind::call).out().put(id.id);
      if (large_ > 0 && dice_.percent(10)) {
        --large_;
        f.out().raw(std::vector<char>(large_size).data(), large_size);
      }
      send(n, to, f);
      if (dice_.percent(20)) {
        n.held->give_up(id);
        return std::nullopt;
      }
    }
    const auto t = add_token(n, of, n.held->hold(id, how == 1 ? references::origin::untold : references::origin::known));
    if (how == 2)
      ask(n, t, ask_op::create, 0, {});
    return t;
  }

  // The function that was called returns.
  void end_call(node& n, std::size_t of) {
    std::vector<held_reference_ptr> held;
    const auto v = ++last_value_;
    for (auto& w : for_value(n, of)) {
      held.push_back(w->held);
      values_[v].refs.push_back(w->of);
    }
    values_[v];
    if (n.owned->set_value(targets_[of].id, troupe::kept_value::of(std::as_bytes(std::span{&v, 1}), nullptr, std::move(held)), 0))
      targets_[of].values.insert(v);
  }

  // An id that was written down somewhere, or never was one.
  void claim(node& n) {
    const auto to = static_cast<proc_id>(dice_.between(1, cluster_.all().size()));
    if (targets_.size() < 2 || n.gone.contains(to))
      return;
    if (dice_.percent(10)) {
      const ref_id nobodys{to, n.at.id, (std::uint64_t{1} << 40) + ++last_nobodys_};
      auto t = add_token(n, add_target(nobodys, false), n.held->hold(nobodys, references::origin::claimed));
      t->weak = true;
      if (dice_.percent(50))
        ask(n, t, ask_op::isready, 0, {});
      return;
    }
    const auto of = dice_.between(targets_.size() > 20 ? targets_.size() - 20 : 1, targets_.size() - 1);
    const bool have = std::any_of(n.tokens.begin(), n.tokens.end(), [of](auto& t) { return t.of == of; });
    const bool promised = std::any_of(n.tokens.begin(), n.tokens.end(), [of](auto& t) { return t.of == of && !t.weak; });
    const auto before = n.held->count();
    note("claims", n.at.id, targets_[of].id.where, of);
    const auto t = add_token(n, of, n.held->hold(targets_[of].id, references::origin::claimed));
    t->weak = !promised;
    if (!have && n.held->count() > before)
      n.claims.push_back(t);
  }

  // The owner hears of a claim. If the thing is there, the copy is as good as any.
  void claim_heard(node& owner, proc_id from, std::size_t of) {
    const auto n = nodes_.find(from);
    if (n == nodes_.end())
      return;
    auto& claims = n->second->claims;
    const auto c = std::find_if(claims.begin(), claims.end(), [of](auto& t) { return t->of == of; });
    if (c == claims.end())
      return;
    if (lives(owner, of) && !targets_[of].excused)
      (*c)->weak = false;
    claims.erase(c);
  }

  void drop(node& n, std::list<token>::iterator t) {
    if (t->asking > 0 || t->pinned)
      return;
    if (std::find(n.claims.begin(), n.claims.end(), t) != n.claims.end())
      return; // so that it is clear which one the owner hears of
    note("drops", n.at.id, targets_[t->of].id.where, t->of);
    n.tokens.erase(t);
  }

  void pass_on(node& n, std::list<token>::iterator t) {
    const auto to = static_cast<proc_id>(dice_.between(1, cluster_.all().size()));
    if (to == n.at.id || t->weak || t->pinned)
      return;
    std::vector list{t};
    if (const auto more = any_token(n); dice_.percent(20) && !more->weak && !more->pinned)
      list.push_back(more);
    hand(n, to, list, false);
  }

  void hand(node& n, proc_id to, const std::vector<std::list<token>::iterator>& list, bool to_be_kept) {
    std::vector<std::size_t> refs;
    for (auto& t : list) {
      refs.push_back(t->of);
      note("sends", n.at.id, to, t->of);
    }
    troupe::frame_builder f;
    auto& out = f.start(frame_kind::message).out();
    out.put(dice_.between(1, 3)); // the receiver
    const auto number = fly(n.at.id, to, refs);
    out.put(number);
    out.put(std::uint64_t{to_be_kept});
    if (large_ > 0 && dice_.percent(2)) {
      --large_;
      out.raw(std::vector<char>(large_size).data(), large_size);
    }
    for (auto& t : list)
      out.carry(t->held);
    if (dice_.percent(98))
      return send(n, to, f, number);
    n.held->leaving(to, f.references()); // who sends is interrupted
    n.held->not_left(to, f.references());
    flights_.erase(number);
  }

  // Copies to be kept in a value of another reference. Only of older ones: circles are never freed.
  std::vector<std::list<token>::iterator> for_value(node& n, std::size_t in) {
    std::vector<std::list<token>::iterator> out;
    for (auto k = n.tokens.empty() ? 0 : dice_.between(0, 2); k > 0; --k)
      if (const auto w = any_token(n); !w->weak && !w->pinned && w->of < in)
        out.push_back(w);
    return out;
  }

  void put(node& n, std::list<token>::iterator t) {
    const auto with = for_value(n, t->of);
    for (auto& w : with)
      note("puts", n.at.id, targets_[t->of].id.where, w->of,
           show_ ? to_string(targets_[w->of].id) + " in " + to_string(targets_[t->of].id) : std::string{});
    ask(n, t, ask_op::put, targets_[t->of].channel && dice_.percent(50) ? troupe::ask_flags::at_once : 0, with);
  }

  void withdraw(node& n, std::map<std::uint64_t, question>::iterator q) {
    const auto [number, of] = std::pair{q->first, q->second.of};
    const auto held = q->second.with->held;
    withdrawn_.insert({n.at.id, number}); // what was put may be there, or not: nothing is promised
    if (const auto p = putting_.find({n.at.id, number}); p != putting_.end())
      targets_[of].values.erase(p->second);
    end_question(n, q);
    n.held->withdraw(targets_[of].id, number, false);
  }

  void drop_all(node& n) {
    n.at.events->call_after(0ms, [this, &n] {
      while (!n.questions.empty())
        withdraw(n, n.questions.begin());
      n.claims.clear();
      n.tokens.clear();
      note("clears", n.at.id);
    });
  }

  // -- what goes wrong ------------------------------------------------------------------------------------------------------------------

  std::string host(proc_id id) { return cluster_.at(id).host; }

  void make_faults() {
    const auto end = std::chrono::duration_cast<std::chrono::microseconds>(fault_time);
    for (auto n = dice_.between(0, 12); n > 0; --n) {
      const auto when = dice_.time(600ms, end - 100ms);
      const auto a = static_cast<proc_id>(dice_.between(1, cluster_.all().size()));
      const auto b = static_cast<proc_id>(dice_.between(2, cluster_.all().size()));
      if (a == b)
        continue;
      switch (dice_.between(0, 8)) {
        case 0:
        case 1:
          cluster_.plan(when, [this, a, b] {
            note("CUT", a, b);
            cluster_.net().cut(host(a), host(b));
          });
          break;
        case 2: {
          const bool both = dice_.percent(60);
          cluster_.plan(when, [this, a, b, both] {
            note(both ? "PART both" : "PART", a, b);
            cluster_.net().part(host(a), host(b));
            if (both)
              cluster_.net().part(host(b), host(a));
          });
          cluster_.plan(when + (a == 1 ? dice_.time(10ms, 1200ms) : dice_.time(10ms, 3s)), [this, a, b] {
            note("JOIN", a, b);
            cluster_.net().join(host(a), host(b));
            cluster_.net().join(host(b), host(a));
          });
          break;
        }
        case 3:
        case 4: {
          const auto more = dice_.time(0us, a == 1 ? 50ms : 300ms);
          const bool back = dice_.percent(50);
          cluster_.plan(when, [this, a, b, more, back] {
            note("SLOW", a, b);
            cluster_.net().slow(host(back ? b : a), host(back ? a : b), more);
          });
          break;
        }
        case 5: {
          cluster_.plan(when, [this, b] { cluster_.stop(b, true); });
          cluster_.plan(when + dice_.time(10ms, 1200ms), [this, b] { cluster_.stop(b, false); });
          break;
        }
        case 6: {
          const bool seen = dice_.percent(80);
          if (dice_.percent(70))
            cluster_.plan(when, [this, b, seen] { cluster_.end(cluster_.at(b), seen, "killed"); });
          break;
        }
        case 7:
        case 8:
          die_unheard(a, b, when);
          break;
      }
    }
  }

  // A process hands on what nobody else holds, and dies before the owner has heard of that.
  void die_unheard(proc_id owner, proc_id dies, duration when) {
    const auto other = [&] {
      while (true)
        if (const auto p = static_cast<proc_id>(dice_.between(1, cluster_.all().size())); p != owner && p != dies)
          return p;
    };
    const auto to = other(), maker = dice_.percent(50) ? dies : other(), next = other();
    const auto links = std::vector<link_pair>{{dies, owner}, {maker, owner}, {1, owner}, {1, to}, {dies, to}, {to, owner}};
    for (auto [x, y] : links)
      if (x != y && dice_.percent(x == dies && y == owner ? 60 : 30)) {
        const auto more = dice_.time(0us, x == 1 ? 500ms : 300ms);
        cluster_.plan(when, [this, x = x, y = y, more] {
          note("SLOW", x, y);
          cluster_.net().slow(host(x), host(y), more);
        });
      }
    const bool part = dice_.percent(50), late = dice_.percent(40);
    const auto seen = dice_.percent(90);
    const auto death = when + dice_.time(100ms, 300ms);
    in_process(when - 200ms, maker, [this, owner](node& n) {
      for (int i = 0; i < 4; ++i)
        if (const auto t = make_at(n, owner))
          (*t)->pinned = true;
    });
    if (part)
      cluster_.plan(when, [this, dies, owner] {
        note("PART", dies, owner);
        cluster_.net().part(host(dies), host(owner));
      });
    if (maker != dies)
      in_process(when + 10ms, maker, [this, owner, dies](node& n) { hand_all(n, owner, dies, 100); });
    in_process(when + dice_.time(20ms, 90ms), dies, [this, owner, to](node& n) { hand_all(n, owner, to, 80); });
    cluster_.plan(death, [this, dies, seen, known = dice_.percent(80), late, to, maker, owner] {
      cluster_.net().cut(host(dies), host(owner));
      cluster_.end(cluster_.at(dies), seen, "killed");
      if (known && cluster_.at(dies).joined) {
        cluster_.decide(dies, "its parent has seen its end");
        cluster_.step(cluster_.at(1));
      }
      if (!late)
        return;
      note("PART", to, owner);
      cluster_.net().part(host(to), host(owner));
      if (maker != to && maker != dies)
        cluster_.net().part(host(maker), host(owner));
    });
    in_process(death + dice_.time(0ms, 800ms), to, [this, owner, next](node& n) { hand_all(n, owner, next, 50); });
    cluster_.plan(death + dice_.time(100ms, 1500ms), [this, owner] {
      note("JOIN", 0, owner);
      for (auto& p : cluster_.all())
        cluster_.net().join(p->host, host(owner));
    });
  }

  void in_process(duration when, proc_id id, std::function<void(node&)> what) {
    cluster_.plan(when, [this, id, what = std::move(what)] {
      if (nodes_.contains(id) && !ended_)
        nodes_.at(id)->at.events->call_after(0ms, [n = nodes_.at(id).get(), what] { what(*n); });
    });
  }

  // Gives away what it keeps of an owner's.
  void hand_all(node& n, proc_id owner, proc_id to, std::uint64_t how_likely) {
    for (auto t = n.tokens.begin(); t != n.tokens.end();) {
      const auto i = t++;
      if (!i->pinned || i->asking > 0 || targets_[i->of].id.where != owner || to == n.at.id || !dice_.percent(how_likely))
        continue;
      hand(n, to, {i}, true);
      n.tokens.erase(i);
    }
  }

  void heal() {
    note("HEALED", 0);
    for (proc_id a = 1; a <= last(); ++a)
      for (proc_id b = 1; b <= last(); ++b) {
        cluster_.net().join(host(a), host(b));
        cluster_.net().slow(host(a), host(b), {});
      }
  }

  // -- what must be true ------------------------------------------------------------------------------------------------------------------

  bool lives(node& owner, std::size_t of) {
    const auto all = owner.owned->list();
    return std::any_of(all.begin(), all.end(), [&](auto& x) { return x.id == targets_[of].id; });
  }

  void check_later() {
    cluster_.plan(cluster_.time() + dice_.time(5ms, 50ms), [this] {
      check();
      if (!ended_)
        check_later();
    });
  }

  void need(std::vector<bool>& out, std::size_t of, const std::string& why) {
    out[of] = true;
    why_[of] = why;
  }

  // Which references must be there.
  std::vector<bool> needed() {
    std::vector<bool> out(targets_.size());
    const auto owner_of = [&](std::size_t of) -> node* {
      const auto n = nodes_.find(targets_[of].id.where);
      return n == nodes_.end() ? nullptr : n->second.get();
    };
    for (auto& [id, n] : nodes_)
      for (auto& t : n->tokens)
        if (const auto o = owner_of(t.of); o != nullptr && !t.weak && !o->gone.contains(id))
          need(out, t.of, "by process " + std::to_string(id));
    for (auto& [number, f] : flights_)
      if (const auto to = nodes_.find(f.to); to != nodes_.end() && !to->second->gone.contains(f.from))
        for (auto of : f.refs)
          if (const auto o = owner_of(of); o != nullptr && !o->gone.contains(f.to))
            need(out, of, "by a frame from " + std::to_string(f.from) + " to " + std::to_string(f.to));
    // values keep older ones
    for (auto of = targets_.size(); of-- > 1;)
      if (out[of] && targets_[of].seen && !targets_[of].excused)
        for (auto v : targets_[of].values)
          for (auto r : values_.at(v).refs)
            if (const auto o = owner_of(r); o != nullptr && !o->gone.contains(targets_[of].id.where))
              need(out, r, "in " + to_string(targets_[of].id));
    return out;
  }

  void check() {
    std::map<proc_id, std::set<ref_id>> there;
    for (auto& [id, n] : nodes_)
      for (auto& x : n->owned->list())
        there[id].insert(x.id);
    std::vector<std::size_t> missing;
    for (bool again = true; again;) { // what was kept in something that is excused isn't needed
      again = false;
      missing.clear();
      const auto all = needed();
      for (std::size_t of = 1; of < all.size(); ++of) {
        auto& t = targets_[of];
        if (!all[of] || !t.seen || t.excused || there[t.id.where].contains(t.id))
          continue;
        if (excuse(*nodes_.at(t.id.where), of))
          again = true;
        else
          missing.push_back(of);
      }
    }
    for (auto of : missing) {
      problem(to_string(targets_[of].id) + " has been freed too early: it is needed " + why_[of]);
      targets_[of].excused = true; // once is enough
    }
  }

  // Whether it may be that the owner knows of nobody who holds copies. So it is only if a process has died before the owner has heard whom it had handed copies, and
  // who got them hasn't told of them in time.
  bool excuse(node& owner, std::size_t of) {
    auto& t = targets_[of];
    if (t.excused)
      return true;
    for (auto& [pair, n] : t.sent) {
      const auto [from, to] = pair;
      const auto gone = owner.gone.find(from);
      if (gone == owner.gone.end() || now() < gone->second + owned_references::mourning || n <= t.heard[pair])
        continue;
      const auto told = t.settled.find({to, from});
      if (told == t.settled.end() || told->second > gone->second + owned_references::mourning) {
        ++excused;
        note("excused", owner.at.id, 0, of);
        return t.excused = true;
      }
    }
    return false;
  }

  std::string what_is_left() {
    for (auto& p : cluster_.all())
      if ((cluster_.at(1).gone.count(p->id) > 0) != p->ended)
        return "process " + std::to_string(p->id) + " is neither here nor gone";
    for (auto& [id, n] : nodes_)
      if (!n->tokens.empty())
        drop_all(*n); // what was on its way when all were dropped
    for (auto& [id, n] : nodes_) {
      if (!n->tokens.empty())
        return "process " + std::to_string(id) + " has got copies again";
      if (n->owned->size() > 0) {
        const auto all = n->owned->list();
        std::string text = "process " + std::to_string(id) + " still keeps " + std::to_string(n->owned->size());
        for (auto& x : all) {
          text += ", " + to_string(x.id) + " held by";
          for (auto h : x.holders)
            text += " " + std::to_string(h);
        }
        return text;
      }
      if (n->held->count() > 0)
        return "process " + std::to_string(id) + " still holds " + std::to_string(n->held->count());
    }
    return {};
  }

  dice dice_;
  std::vector<std::string> problems_;
  std::deque<target> targets_;
  std::map<ref_id, std::size_t> numbers_;
  std::map<std::uint64_t, value> values_;
  std::map<std::uint64_t, flight> flights_;
  std::map<std::pair<proc_id, std::uint64_t>, std::uint64_t> putting_; // a question that puts, and the value
  std::map<std::size_t, std::string> why_;
  std::set<std::pair<proc_id, std::uint64_t>> withdrawn_;
  std::map<std::pair<proc_id, std::uint64_t>, std::pair<ask_op, std::size_t>> asked_;
  std::uint64_t last_value_ = 0, last_flight_ = 0, last_nobodys_ = 0, large_ = 0, busy_ = 30;
  bool ended_ = false;
  std::map<proc_id, std::unique_ptr<node>> nodes_;
  virtual_cluster cluster_;
  const bool show_;
};

} // namespace

BOOST_AUTO_TEST_CASE(what_somebody_holds_is_never_freed_and_everything_else_is) {
  std::uint64_t made = 0, copies = 0, excused = 0, answers = 0, refusals = 0, deaths = 0;
  test::run_histories("test_actors_reference_histories", 600, [&](std::uint64_t seed, bool show) {
    history h{seed, show};
    auto problems = h.run();
    made += h.made;
    copies += h.copies;
    excused += h.excused;
    answers += h.answers;
    refusals += h.refusals;
    deaths += h.deaths;
    return problems;
  });
  BOOST_TEST(answers > 0U);
  BOOST_TEST_MESSAGE(made << " references, " << copies << " copies handed on, " << answers << " answers, " << refusals
                          << " of them refusals, " << deaths << " deaths, " << excused << " references lost with who handed them on");
}

BOOST_AUTO_TEST_CASE(a_seed_makes_the_same_history_each_time) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    history first{seed, false};
    first.run();
    history second{seed, false};
    second.run();
    BOOST_TEST(first.hash == second.hash);
  }
}
