#include "troupe/actors/array_operation.hpp"

#include "troupe/actors/array_part.hpp"
#include "troupe/actors/call.hpp"
#include "troupe/actors/call_limits.hpp"
#include "troupe/actors/collectives.hpp"
#include "troupe/actors/kept_value.hpp"
#include "troupe/actors/runtime.hpp"
#include "troupe/actors/scheduler.hpp"
#include "troupe/actors/task.hpp"
#include "troupe/actors/waiter.hpp"
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

} // namespace

array_operation::request array_operation::request::read(frame_view&& f) {
  reader in{f.payload};
  request r;
  r.question = in.get<std::uint64_t>();
  r.array = in.get<std::uint64_t>();
  r.ask = in.get<array_ask>();
  if (r.ask > array_ask::reduce)
    throw codec_error{"an operation " + std::to_string(static_cast<int>(r.ask)) + " on an array"};
  const auto bits = in.get<std::uint8_t>();
  r.hosts = (bits & hosts_bit) != 0;
  r.flat = (bits & flat_bit) != 0;
  r.fold = in.get<std::uint64_t>();
  r.before = in.get<std::uint32_t>();
  troupe::read(in, r.others);
  if (r.before > r.others.size())
    throw codec_error{"an operation on an array with " + std::to_string(r.before) + " of " + std::to_string(r.others.size()) + " processes in front"};
  r.rest = f.payload.last(in.left());
  r.frame = std::move(f);
  return r;
}

void array_operation::arrive(runtime& rt, proc_id from, frame_view& f) {
  auto r = request::read(std::move(f));
  caf::actor_config config;
  auto& system = rt.system();
  const bool heard = r.question != 0;
  const auto made = caf::make_actor<array_operation, caf::strong_actor_ptr>(system.next_actor_id(), system.node(), &system, config, rt, from, std::move(r));
  const auto op = static_cast<array_operation*>(made->get());
  try {
    op->hand_on();
  } catch (...) {
    if (!heard)
      throw;
    op->fail(describe_current_exception());
  }
}

array_operation::array_operation(caf::actor_config& cfg, runtime& rt, proc_id from, request r)
  : caf::monitorable_actor(cfg), runtime_(rt), from_(from), request_(std::move(r)) {
  const std::span<const proc_id> others{request_.others};
  const auto before = others.first(request_.before);
  const auto behind = others.subspan(request_.before);
  if (request_.flat) {
    for (auto id : others)
      branches_.push_back({id});
    before_ = before.size();
    return;
  }
  if (!before.empty() && !behind.empty()) {
    branches_.emplace_back(before.begin(), before.end());
    branches_.emplace_back(behind.begin(), behind.end());
    before_ = 1;
    return;
  }
  add_halves(branches_, others);
  before_ = behind.empty() ? branches_.size() : 0;
}

array_operation::pointer array_operation::self() {
  return pointer{ctrl()};
}

// -- down -----------------------------------------------------------------------------------------------------------------

void array_operation::hand_on() {
  left_ = branches_.size() + (request_.hosts ? 1 : 0);
  if (request_.hosts) {
    part_ = runtime_.elements().find_array(request_.array);
    if (!part_)
      return fail(no_such_array());
    // what comes behind it on this array must not get there before it: not even while this thread waits below
    part_->submit([me = self()] { static_cast<array_operation*>(me->get())->deliver(); });
  }
  if (request_.question != 0)
    while (below_.size() < branches_.size())
      below_.push_back(std::make_shared<answer_state>());
  for (std::size_t i = 0; i < branches_.size(); ++i)
    hand_on(branches_[i], below_.empty() ? nullptr : below_[i]);
}

void array_operation::hand_on(std::span<const proc_id> to, std::shared_ptr<answer_state> waiting) {
  borrowed_builder f{&runtime_.hub()};
  auto& out = f->start(frame_kind::array).out();
  request child;
  child.array = request_.array;
  child.ask = request_.ask;
  child.hosts = true;
  child.fold = request_.fold;
  child.others.assign(to.begin() + 1, to.end());
  write_head(out, child);
  for (auto& r : request_.frame.references)
    out.carry(r);
  {
    writer::referring scope{out, request_.frame.owner};
    out.block(request_.rest.data(), request_.rest.size());
  }
  if (waiting)
    waiting->when_here([me = self(), state = waiting.get()] {
      const auto op = static_cast<array_operation*>(me->get());
      if (const auto why = state->failure())
        op->fail(*why);
      else
        op->one_is_done();
    });
  runtime_.send_array(to.front(), *f, waiting, nullptr, nullptr);
}

caf::message array_operation::decode() const {
  reader in{request_.rest, &runtime_.hub()};
  in.set_references(request_.frame.references);
  in.take(static_cast<std::size_t>(in.get<std::uint64_t>())); // what folds
  caf::message out;
  codec<caf::message>::read(in, out);
  in.expect_end();
  return out;
}

void array_operation::deliver() {
  if (over_)
    return;
  caf::message message;
  try {
    message = decode();
  } catch (const std::exception& e) {
    return fail(make_error_info(error_kind::not_decodable, "a message to " + part_->info()->to_text() + " can't be decoded: " + e.what(), runtime_.id()));
  }
  const auto count = part_->positions().count();
  const bool asks = request_.question != 0;
  if (asks) {
    std::lock_guard guard{mutex_};
    waiting_ = count;
    answered_.resize(count);
    if (request_.ask != array_ask::handle)
      answers_.resize(count);
  }
  if (asks)
    part_->open(*this);
  for (std::size_t own = 0; own < count && !over_; ++own) {
    const auto element = part_->element(own);
    if (!element) {
      if (asks)
        element_failed(own, caf::make_error(caf::sec::request_receiver_down, "it has ended"));
      continue;
    }
    const auto id = asks ? caf::message_id{own + 1}.with_normal_priority() : caf::make_message_id();
    element->enqueue(self(), id, message, nullptr);
  }
  if (over_) // it may have been before it was open
    close();
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
  if (answer.size() == 1 && answer.match_element<caf::error>(0))
    return element_failed(own, answer.get_as<caf::error>(0));
  bool all = false;
  {
    std::lock_guard guard{mutex_};
    if (own >= answered_.size() || answered_[own])
      return;
    answered_[own] = true;
    if (!answers_.empty())
      answers_[own] = std::move(answer);
    all = --waiting_ == 0;
  }
  if (all)
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
  return make_error_info(error_kind::usage, "array " + std::to_string(request_.array) + " has ended on process " + std::to_string(runtime_.id()), runtime_.id());
}

void array_operation::fail(const error_info& why) {
  if (over_.exchange(true))
    return;
  if (request_.question != 0)
    runtime_.send_error(from_, request_.question, why);
  close();
}

void array_operation::abandon() {
  if (!over_.exchange(true))
    close();
}

void array_operation::close() {
  if (part_)
    part_->close(*this);
}

void array_operation::one_is_done() {
  if (left_.fetch_sub(1) == 1)
    finish();
}

void array_operation::finish() {
  if (request_.ask == array_ask::handle) {
    if (over_.exchange(true))
      return;
    runtime_.send_value(from_, request_.question, [](writer&) {});
    return close();
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
  explicit folding_scope(detail::fold_input& in) : outer(std::exchange(folding, &in)) {
  }
  ~folding_scope() {
    folding = outer;
  }
  detail::fold_input* outer;
};

} // namespace

void array_operation::fold() {
  if (over_.exchange(true))
    return;
  const auto task = detail::find_task(request_.fold);
  std::vector<caf::message> nothing;
  const array_positions none;
  const array_info unknown;
  detail::fold_input in{part_ ? *part_->info() : unknown, part_ ? part_->positions() : none, part_ ? answers_ : nothing, {}, {}};
  try {
    if (task == nullptr)
      throw unknown_task{make_error_info(error_kind::unknown_task, "process " + std::to_string(runtime_.id()) + " doesn't have what combines the answers of an array's elements: it runs another program", runtime_.id())};
    if (request_.ask == array_ask::reduce)
      for (std::size_t i = 0; i < below_.size(); ++i)
        (i < before_ ? in.before : in.behind).push_back(below_[i]->content(&runtime_.hub()));
    folding_scope scope{in};
    const auto run = [&](writer& out) {
      reader with{request_.rest, &runtime_.hub()};
      with.set_references(request_.frame.references);
      reader own{with.take(static_cast<std::size_t>(with.get<std::uint64_t>())), &runtime_.hub()};
      own.set_references(request_.frame.references);
      task->run(own, out);
    };
    runtime_.send_value(from_, request_.question, [&](writer& out) {
      if (request_.ask == array_ask::reduce)
        run(out);
      else
        write_collected(out, run);
    });
  } catch (const type_mismatch& e) {
    runtime_.send_error(from_, request_.question, e.info());
  } catch (...) {
    runtime_.send_error(from_, request_.question, runtime_.describe_failure(task == nullptr ? "a fold" : task->label()));
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
  return *folding;
}

void throw_answer_mismatch(const fold_input& in, std::size_t own, const std::string& expected) {
  const auto& answer = in.own[own];
  auto info = make_error_info(error_kind::type_mismatch, "it answered " + (answer.empty() ? "nothing" : caf::to_string(answer)) + " where " + expected + " was expected");
  in.info.put_element(info, in.positions[own]);
  throw_error(std::move(info));
}

std::vector<collected_part> collected_parts(reference_answer_state& answer) {
  std::vector<collected_part> out;
  auto in = answer.content(process_codec());
  for (auto& x : split_elements(in, answer.references())) {
    reader content{x.bytes, process_codec()};
    content.set_references(x.references);
    const auto from = content.get<proc_id>();
    out.push_back({from, content});
  }
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

void begin_array_operation(const array_info& info, array_ask ask, const call_options* options, std::shared_ptr<future_state> waiting, std::uint64_t fold,
                           const std::function<void(writer&)>& write_fold, const caf::message& message) {
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
  rt.send_array(rt.id(), *f, std::move(waiting), limits ? &*limits : nullptr, label_function(ask));
}

void check_may_wait_for(const array_info& info, const char* what) {
  waiter::check_may_block();
  if (const auto id = scheduler::running_actor(); element_id::is(id) && element_id::of(id).array == info.number)
    throw would_block{make_error_info(error_kind::would_block, std::string{what} + " in a handler of an element of " + info.to_text() + " would wait for the handler itself: use step(…).then(…), or ask from a task")};
}

} // namespace detail

} // namespace troupe
