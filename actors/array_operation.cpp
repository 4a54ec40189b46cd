#include "troupe/actors/array_operation.hpp"

#include "troupe/actors/array_message.hpp"
#include "troupe/actors/array_part.hpp"
#include "troupe/actors/call.hpp"
#include "troupe/actors/call_limits.hpp"
#include "troupe/actors/collectives.hpp"
#include "troupe/actors/kept_value.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/scheduler.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/actors/waiter.hpp"
#include "troupe/transport/log.hpp"
#include "troupe/transport/message_types.hpp"

#include <caf/all.hpp>

#include <algorithm>
#include <chrono>
#include <utility>

namespace troupe {

namespace {

constexpr std::uint8_t hosts_bit = 1;
constexpr std::uint8_t flat_bit = 2;

void write_head(writer& out, const array_operation::request& r) {
  out.put(std::uint64_t{0}); // the question comes when it is sent
  out.put(r.array);
  out.put(r.ask);
  out.put(static_cast<std::uint8_t>((r.hosts ? hosts_bit : 0) | (r.flat ? flat_bit : 0)));
  out.put(r.fold);
  out.put(r.before);
  write(out, r.others);
}

// Two parts of about the same size, as far as there are so many.
void add_halves(std::vector<std::vector<proc_id>>& out, std::span<const proc_id> ids) {
  const auto half = (ids.size() + 1) / 2;
  for (auto part : {ids.first(half), ids.subspan(half)})
    if (!part.empty())
      out.emplace_back(part.begin(), part.end());
}

// Answers are sent at once, whoever sends them: an element that answered last must be neither held up nor interrupted by that.
constexpr const char* answers_go_at_once = "what combines the answers of an array's elements must not block";

std::vector<std::byte> bytes_in_front(std::span<const std::byte> rest) {
  reader in{rest};
  const auto bytes = in.take(static_cast<std::size_t>(in.get<std::uint64_t>()));
  return {bytes.begin(), bytes.end()};
}

} // namespace

// What is needed of a frame until it has been handed on and delivered.
struct array_operation::arrived {
  std::shared_ptr<const byte_buffer> owner;
  std::span<const std::byte> rest;
  std::shared_ptr<credit> paid;
};

array_operation::request array_operation::request::read(std::span<const std::byte> payload, proc_id from, proc_id to) {
  reader in{payload};
  request r;
  r.question = in.get<std::uint64_t>();
  r.array = in.get<std::uint64_t>();
  r.ask = in.get<array_ask>();
  if (r.ask > array_ask::end)
    throw codec_error{"an operation " + std::to_string(static_cast<int>(r.ask)) + " on an array"};
  if ((r.question == 0) != (r.ask == array_ask::tell))
    throw codec_error{r.question == 0 ? "an operation on an array whose answer nobody wants"
                                      : "a broadcast to an array that is to be answered"};
  const auto bits = in.get<std::uint8_t>();
  r.hosts = (bits & hosts_bit) != 0;
  r.flat = (bits & flat_bit) != 0;
  r.fold = in.get<std::uint64_t>();
  r.before = in.get<std::uint32_t>();
  troupe::read(in, r.others);
  if (r.before > r.others.size())
    throw codec_error{"an operation on an array with " + std::to_string(r.before) + " of " + std::to_string(r.others.size())
                      + " processes in front"};
  if (from != to && (!r.hosts || r.flat || r.before != 0))
    throw codec_error{"an operation on an array that only its own process can have begun"};
  auto sorted = r.others;
  sorted.push_back(to);
  std::sort(sorted.begin(), sorted.end());
  if (sorted.front() <= 0 || std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
    throw codec_error{"an operation on an array for a process that there can't be, or twice for one"};
  r.rest = payload.last(in.left());
  return r;
}

void array_operation::arrive(runtime& rt, proc_id from, frame_view& f) {
  const auto r = request::read(f.payload, from, rt.id());
  const auto what = std::make_shared<arrived>(arrived{std::move(f.owner), r.rest, std::make_shared<credit>(std::move(f.credit))});
  caf::actor_config config;
  auto& system = rt.system();
  const auto made = caf::make_actor<array_operation, caf::strong_actor_ptr>(system.next_actor_id(), system.node(), &system, config, rt,
                                                                            from, r, std::move(f.references));
  const auto op = static_cast<array_operation*>(made->get());
  try {
    op->run(what);
  } catch (...) {
    if (r.question == 0)
      throw;
    op->fail(describe_current_exception());
  }
}

array_operation::array_operation(caf::actor_config& cfg, runtime& rt, proc_id from, const request& r,
                                 std::vector<held_reference_ptr> references)
  : caf::monitorable_actor(cfg),
    runtime_(rt),
    from_(from),
    question_(r.question),
    array_(r.array),
    ask_(r.ask),
    fold_(r.fold),
    folds_with_(bytes_in_front(r.rest)),
    references_(std::move(references)),
    others_(r.others) {
  const std::span<const proc_id> others{others_};
  const auto before = others.first(r.before);
  const auto behind = others.subspan(r.before);
  if (r.flat) {
    for (auto id : others)
      branches_.push_back({id});
    before_ = before.size();
  } else if (!before.empty() && !behind.empty()) {
    branches_.emplace_back(before.begin(), before.end());
    branches_.emplace_back(behind.begin(), behind.end());
    before_ = 1;
  } else {
    add_halves(branches_, others);
    before_ = behind.empty() ? branches_.size() : 0;
  }
  left_ = branches_.size() + (r.hosts ? 1 : 0);
  if (question_ != 0)
    while (below_.size() < branches_.size())
      below_.push_back(std::make_shared<answer_state>());
  if (r.hosts)
    part_ = rt.elements().find_array(array_);
}

array_operation::pointer array_operation::self() { return pointer{ctrl()}; }

// -- down -----------------------------------------------------------------------------------------------------------------

void array_operation::run(const std::shared_ptr<arrived>& what) {
  if (question_ == 0)
    cleanup(caf::exit_reason::normal, nullptr); // nobody who gets its handle from an element keeps it
  const bool root = from_ == runtime_.id();
  if (!part_ && left_ > branches_.size()) {
    if (question_ != 0)
      fail(no_such_array());
    return;
  }
  if (!root)
    for (auto id : others_)
      if (!part_->has_host(id))
        throw codec_error{"an operation on " + part_->info()->to_text() + " for process " + std::to_string(id)
                          + ", which has none of its elements"};
  if (question_ != 0) {
    runtime_.elements().open(*this);
    // who was lost before has been told of by nobody
    for (auto id : others_)
      if (const auto gone = runtime_.net().gone(id))
        return fail(*gone);
    if (!root && runtime_.net().gone(from_))
      return abandon();
  }
  if (left_ == 0)
    return finish();
  if (part_) // what comes behind it on this array must not get there before it: not even while this thread waits below
    part_->submit([me = self(), what] { static_cast<array_operation*>(me->get())->deliver(*what); });
  const auto unless = root && question_ != 0 ? runtime_.replies().find(question_) : nullptr;
  for (std::size_t i = 0; i < branches_.size() && !over_; ++i)
    hand_on(branches_[i], *what, below_.empty() ? nullptr : below_[i], unless);
}

void array_operation::hand_on(std::span<const proc_id> to, const arrived& what, std::shared_ptr<answer_state> waiting,
                              const std::shared_ptr<detail::future_state>& unless) {
  borrowed_builder f{&runtime_.hub()};
  auto& out = f->start(frame_kind::array).out();
  request child;
  child.array = array_;
  child.ask = ask_;
  child.hosts = true;
  child.fold = fold_;
  child.others.assign(to.begin() + 1, to.end());
  write_head(out, child);
  for (auto& r : references_)
    out.carry(r);
  {
    writer::referring scope{out, what.owner};
    out.block(what.rest.data(), what.rest.size());
  }
  if (waiting)
    waiting->when_here([me = self(), state = waiting.get()] {
      const auto op = static_cast<array_operation*>(me->get());
      if (const auto why = state->failure())
        op->fail(*why);
      else
        op->one_is_done();
    });
  const auto size = f->size();
  runtime_.send_array(to.front(), *f, waiting, {.unless = unless});
  // who reads frames can't wait until there is room: who sent this one does
  if (!waiter::may_block())
    runtime_.net().when_room(to.front(), flow::messages, [paid = what.paid] {}, size);
}

caf::message array_operation::decode(const arrived& what) const {
  reader in{what.rest, &runtime_.hub()};
  in.set_references(references_);
  in.take(static_cast<std::size_t>(in.get<std::uint64_t>())); // what folds
  caf::message out;
  codec<caf::message>::read(in, out);
  in.expect_end();
  return out;
}

// A job of the executor: nothing may leave it.
void array_operation::deliver(const arrived& what) {
  if (over_)
    return;
  try {
    if (ask_ == array_ask::end) {
      runtime_.elements().end(array_);
      return one_is_done();
    }
    deliver(decode(what), what.paid);
  } catch (...) {
    auto why = make_error_info(error_kind::not_decodable,
                               "a message to " + part_->info()->to_text() + " can't be decoded: " + describe_current_exception().message,
                               runtime_.id());
    if (question_ == 0)
      log(log_level::warning, why.message + "; it is dropped");
    fail(why);
  }
}

void array_operation::deliver(const caf::message& message, const std::shared_ptr<credit>& paid) {
  const auto count = part_->positions().count();
  const bool asks = question_ != 0;
  if (asks) {
    std::lock_guard guard{mutex_};
    waiting_ = count;
    answered_.resize(count);
    if (ask_ != array_ask::handle)
      answers_.resize(count);
  }
  if (asks && count == 0)
    return one_is_done();
  for (std::size_t own = 0; own < count && !over_; ++own) {
    const auto element = part_->element(own);
    if (!element) {
      if (asks)
        element_ended(own, part_->reason_of(part_->positions()[own]).value_or(caf::exit_reason::unknown));
      continue;
    }
    const auto id = asks ? caf::message_id{own + 1}.with_normal_priority() : caf::make_message_id();
    element->enqueue(caf::mailbox_element_ptr{new array_message{self(), id, message, paid}}, nullptr);
  }
}

// -- up -------------------------------------------------------------------------------------------------------------------

void array_operation::enqueue(caf::mailbox_element_ptr what, caf::execution_unit*) {
  if (!what->mid.is_response()) {
    if (what->mid.is_request())
      bounce(what, caf::make_error(caf::sec::unexpected_message));
    return;
  }
  const auto own = static_cast<std::size_t>(what->mid.request_id().integer_value()) - 1;
  auto answer = what->move_content_to_message();
  const auto failed = answer.size() == 1 && answer.match_element<caf::error>(0);
  bool all = false;
  {
    std::lock_guard guard{mutex_};
    if (own >= answered_.size() || answered_[own])
      return;
    if (!failed) {
      answered_[own] = true;
      if (!answers_.empty())
        answers_[own] = std::move(answer);
      all = --waiting_ == 0;
    }
  }
  if (failed)
    element_failed(own, answer.get_as<caf::error>(0)); // NOLINT(bugprone-use-after-move): not if it failed
  else if (all)
    one_is_done();
}

void array_operation::element_ended(std::size_t own, const caf::error& reason) {
  {
    std::lock_guard guard{mutex_};
    if (own >= answered_.size() || answered_[own])
      return;
  }
  element_failed(own, caf::make_error(caf::sec::request_receiver_down, "it has ended: " + runtime_.system().render(reason)));
}

void array_operation::element_failed(std::size_t own, const caf::error& why) {
  error_info info;
  info.kind = error_kind::remote;
  info.pid = runtime_.id();
  info.host = runtime_.host();
  info.type_name = "caf::error";
  info.message = why == caf::sec::unexpected_message ? "it has no handler for this message" : runtime_.system().render(why);
  part_->info()->put_element(info, part_->positions()[own]);
  fail(info);
}

error_info array_operation::no_such_array() const {
  return make_error_info(error_kind::usage, "array " + std::to_string(array_) + " has ended on process " + std::to_string(runtime_.id()),
                         runtime_.id());
}

void array_operation::peer_lost(proc_id id, const error_info& why) {
  if (id == from_)
    abandon();
  else if (std::find(others_.begin(), others_.end(), id) != others_.end())
    fail(why); // also when it has answered: others may wait for what it would have sent them
}

void array_operation::fail(const error_info& why) {
  if (over_.exchange(true))
    return;
  const waiter::no_blocking at_once{answers_go_at_once};
  if (question_ != 0)
    runtime_.send_error(from_, question_, why);
  close();
}

void array_operation::abandon() {
  if (!over_.exchange(true))
    close();
}

// Needs `over_`. Those below, if they are still at it, are told that nobody waits for them.
void array_operation::close() {
  if (question_ == 0)
    return;
  const auto why = make_error_info(error_kind::cancelled, "the operation that it was a part of is over");
  for (auto& state : below_)
    if (const auto& call = state->open_call(); !state->ready() && call.number != 0)
      runtime_.give_up(call.to, call.number, why);
  runtime_.elements().close(*this);
  cleanup(caf::exit_reason::normal, nullptr); // who has got its handle from an element lets go of it
}

void array_operation::one_is_done() {
  if (left_.fetch_sub(1) == 1)
    finish();
}

void array_operation::finish() {
  if (question_ == 0)
    return;
  if (ask_ == array_ask::handle || ask_ == array_ask::end) {
    if (over_.exchange(true))
      return;
    const waiter::no_blocking at_once{answers_go_at_once};
    runtime_.send_value(from_, question_, [](writer&) {});
    close();
    return;
  }
  // operators are the user's
  if (waiter::may_block())
    fold();
  else
    runtime_.jobs().submit([me = self()] { static_cast<array_operation*>(me->get())->fold(); });
}

namespace {

thread_local detail::fold_input* folding = nullptr;

struct folding_scope {
  explicit folding_scope(detail::fold_input& in) : outer(std::exchange(folding, &in)) {}
  ~folding_scope() { folding = outer; }
  detail::fold_input* outer;
};

} // namespace

void array_operation::fold() {
  if (over_.exchange(true))
    return;
  const waiter::no_blocking at_once{answers_go_at_once};
  const auto task = detail::find_task(fold_);
  std::vector<caf::message> nothing;
  const array_positions none;
  const array_info unknown;
  detail::fold_input in{part_ ? *part_->info() : unknown, part_ ? part_->positions() : none, part_ ? answers_ : nothing, {}, {}};
  try {
    if (task == nullptr)
      throw unknown_task{make_error_info(error_kind::unknown_task,
                                         "process " + std::to_string(runtime_.id())
                                           + " doesn't have what combines the answers of an array's elements: it runs another program",
                                         runtime_.id())};
    if (ask_ == array_ask::reduce)
      for (std::size_t i = 0; i < below_.size(); ++i)
        (i < before_ ? in.before : in.behind).push_back(below_[i]->content(&runtime_.hub()));
    folding_scope scope{in};
    const auto run = [&](writer& out) {
      reader with{folds_with_, &runtime_.hub()};
      with.set_references(references_);
      task->run(with, out);
    };
    runtime_.send_value(from_, question_, [&](writer& out) {
      if (ask_ == array_ask::reduce)
        run(out);
      else
        write_collected(out, run);
    });
  } catch (const type_mismatch& e) {
    runtime_.send_error(from_, question_, e.info());
  } catch (...) {
    runtime_.send_error(from_, question_, runtime_.describe_failure(task == nullptr ? "a fold" : task->label()));
  }
  close();
}

// Each process's part is an element of its own: who hands it on doesn't look into it.
void array_operation::write_collected(writer& out, const std::function<void(writer&)>& own) const {
  std::vector<kept_value> parts;
  for (auto& state : below_) {
    auto in = state->content(nullptr);
    for (auto& x : split_elements(in, state->references()))
      parts.push_back({x.bytes, state, {x.references.begin(), x.references.end()}});
  }
  out.put(static_cast<std::uint32_t>(parts.size() + (part_ ? 1 : 0)));
  for (auto& x : parts)
    write_element(out, x);
  if (part_) {
    writer::element element{out};
    out.put(runtime_.id());
    own(out);
  }
}

namespace detail {

fold_input& fold_input::current() {
  if (folding == nullptr)
    throw codec_error{"a function that combines the answers of an array's elements can't be called for itself"};
  return *folding;
}

void throw_answer_mismatch(const fold_input& in, std::size_t own, const std::string& expected) {
  constexpr std::size_t most_shown = 200;
  const auto& answer = in.own[own];
  auto text = answer.empty() ? std::string{"nothing"} : caf::to_string(answer);
  if (text.size() > most_shown)
    text = text.substr(0, most_shown) + "…";
  auto info = make_error_info(error_kind::type_mismatch, "it answered " + text + " where " + expected + " was expected");
  in.info.put_element(info, in.positions[own]);
  throw_error(std::move(info));
}

std::vector<collected_part> collected_parts(const array_info& info, reference_answer_state& answer) {
  std::vector<collected_part> out;
  auto in = answer.content(process_codec());
  std::vector<proc_id> came;
  for (auto& x : split_elements(in, answer.references())) {
    reader content{x.bytes, process_codec()};
    content.set_references(x.references);
    const auto from = came.emplace_back(content.get<proc_id>());
    out.push_back({from, content});
  }
  auto hosts = info.layout.hosts();
  std::sort(hosts.begin(), hosts.end());
  std::sort(came.begin(), came.end());
  if (came != hosts)
    throw_not_decodable("what the elements of an array answered",
                        "there are parts of " + std::to_string(came.size()) + " processes, but not one of each that has elements");
  return out;
}

namespace {

std::string operation_label(array_ask ask) {
  switch (ask) {
    case array_ask::tell:
      return "actor_array::broadcast";
    case array_ask::handle:
      return "actor_array::step";
    case array_ask::collect:
      return "actor_array::collect";
    case array_ask::end:
      return "actor_array::end";
    case array_ask::reduce:
      break;
  }
  return "actor_array::reduce";
}

template <array_ask Ask>
std::string label_of() {
  return operation_label(Ask);
}

auto label_function(array_ask ask) -> std::string (*)() {
  switch (ask) {
    case array_ask::tell:
      return label_of<array_ask::tell>;
    case array_ask::handle:
      return label_of<array_ask::handle>;
    case array_ask::collect:
      return label_of<array_ask::collect>;
    case array_ask::end:
      return label_of<array_ask::end>;
    case array_ask::reduce:
      break;
  }
  return label_of<array_ask::reduce>;
}

void check_hosts(runtime& rt, const array_info& info) {
  for (auto id : info.layout.hosts()) {
    if (id == rt.id())
      continue;
    if (const auto gone = rt.net().gone(id))
      throw_error(*gone);
    if (const auto barred = rt.net().barred(id); barred && barred->kind == error_kind::not_connected)
      throw_error(*barred);
  }
}

} // namespace

void begin_array_operation(const array_info& info, array_ask ask, const call_options* options, std::shared_ptr<future_state> waiting,
                           std::uint64_t fold, const std::function<void(writer&)>& write_fold, const caf::message& message) {
  auto& rt = runtime::get();
  check_hosts(rt, info);
  array_operation::request r;
  r.array = info.number;
  r.ask = ask;
  r.flat = rt.net().restricted();
  r.fold = fold;
  r.others = info.layout.hosts();
  if (const auto here = std::find(r.others.begin(), r.others.end(), rt.id()); here != r.others.end()) {
    r.hosts = true;
    r.before = static_cast<std::uint32_t>(here - r.others.begin());
    r.others.erase(here);
  }
  borrowed_builder f{&rt.hub()};
  auto& out = f->start(frame_kind::array).out();
  write_head(out, r);
  try {
    const auto size_at = out.buffer().size();
    out.put(std::uint64_t{0});
    write_fold(out);
    const std::uint64_t size = out.buffer().size() - size_at - sizeof size;
    std::memcpy(out.buffer().data() + size_at, &size, sizeof size);
    codec<caf::message>::write(out, message);
  } catch (const std::exception& e) {
    throw_function_not_serializable("a message to " + info.to_text(), e);
  }
  std::optional<call_limits> limits;
  if (options != nullptr)
    limits.emplace(*options, std::chrono::steady_clock::now());
  rt.send_array(rt.id(), *f, waiting, {.limits = limits ? &*limits : nullptr, .label = label_function(ask)});
}

void check_may_wait_for(std::uint64_t array, const char* what) {
  waiter::check_may_block();
  if (const auto id = scheduler::running_actor(); element_id::is(id) && element_id::of(id).array == array)
    throw would_block{make_error_info(
      error_kind::would_block,
      std::string{what} + " of array " + std::to_string(array)
        + " in the constructor or a handler of one of its elements would wait for itself: use .then(…), or ask from a task")};
}

} // namespace detail

} // namespace troupe
