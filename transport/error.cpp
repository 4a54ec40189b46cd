#include "troupe/transport/error.hpp"

#include "troupe/transport/names.hpp"

#include <any>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <functional>
#include <ios>
#include <memory>
#include <new>
#include <sstream>
#include <system_error>
#include <typeinfo>
#include <variant>

namespace troupe {

namespace {

constexpr std::string_view kind_names[] = {
  "remote_error",  "process_exited",  "composite_error", "timeout_error", "deadline_exceeded",    "cancelled",     "interrupted",
  "not_connected", "unknown_process", "channel_closed",  "already_set",   "not_serializable",     "not_decodable", "unknown_task",
  "type_mismatch", "no_workers",      "empty_range",     "launch_error",  "authentication_error", "would_block",   "usage_error",
};

constexpr std::string_view reason_names[] = {"no_address", "silent", "noise", "died", "refused", "unreachable"};

std::atomic<proc_id> reader{0};

void append_indented(std::string& out, std::string_view text, std::string_view indent) {
  while (!text.empty()) {
    auto end = text.find('\n');
    out.append(indent).append(text.substr(0, end));
    if (end == std::string_view::npos)
      return;
    out += '\n';
    text.remove_prefix(end + 1);
  }
}

void append_stack(std::string& out, const std::vector<stack_frame>& stack) {
  int n = 0;
  for (auto& f : stack) {
    std::ostringstream line;
    line << "\n  #" << n++ << ' ' << (f.function.empty() ? "?" : f.function) << " in " << f.module << "+0x" << std::hex << f.offset;
    if (f.count > 1)
      line << std::dec << " (" << f.count << " times)";
    out += line.str();
  }
}

std::string describe(const error_info& x);

// Says only where an error came from that is a part of it: one hop, or one of our own errors that left a task.
bool is_wrapper(const error_info& x) {
  return x.kind == error_kind::remote && x.message.empty() && x.type_name.empty() && x.parts.size() == 1;
}

std::string describe_remote(const error_info& x) {
  std::string out;
  if (x.pid != 0 && x.pid != reader)
    out = x.pid == master_id ? "On the master:\n" : "On worker " + std::to_string(x.pid) + ":\n";
  if (is_wrapper(x))
    return out + describe(x.parts.front());
  out += x.message;
  if (!x.type_name.empty())
    out += " (" + x.type_name + (x.task.empty() ? ")" : ", in " + x.task + ")");
  append_stack(out, x.stack);
  for (auto& cause : x.parts) {
    out += "\ncaused by:\n";
    append_indented(out, describe(cause), "  ");
  }
  return out;
}

std::string describe_composite(const error_info& x) {
  if (x.parts.empty())
    return x.message.empty() ? "composite_error" : x.message;
  auto out = describe(x.parts.front());
  if (x.parts.size() > 1)
    out += "\n...and " + std::to_string(x.parts.size() - 1) + (x.parts.size() == 2 ? " more exception" : " more exceptions");
  return out;
}

std::string describe(const error_info& x) {
  auto out = x.kind == error_kind::remote ? describe_remote(x) : x.kind == error_kind::composite ? describe_composite(x) : x.message;
  if (x.item != error_info::no_item)
    out += "\nat " + (x.item_name.empty() ? "element " + std::to_string(x.item) + " of a map" : x.item_name);
  return out;
}

// The innermost error of a chain of hops: what was thrown first.
const error_info& origin(const error_info& x) {
  auto* p = &x;
  while (is_wrapper(*p))
    p = &p->parts.front();
  return *p;
}

using maker = std::exception_ptr (*)(const std::string&);

template <class E>
std::exception_ptr make_standard(const std::string& text) {
  if constexpr (std::is_constructible_v<E, const std::string&>)
    return std::make_exception_ptr(E{text});
  else
    return std::make_exception_ptr(E{});
}

struct standard_type {
  std::string_view name;
  maker make;
};

// Types whose what() is fixed, such as std::bad_alloc, are rebuilt without their text: it is the same anywhere.
constexpr standard_type standard_types[] = {
  {"std::runtime_error", make_standard<std::runtime_error>},
  {"std::logic_error", make_standard<std::logic_error>},
  {"std::domain_error", make_standard<std::domain_error>},
  {"std::invalid_argument", make_standard<std::invalid_argument>},
  {"std::length_error", make_standard<std::length_error>},
  {"std::out_of_range", make_standard<std::out_of_range>},
  {"std::range_error", make_standard<std::range_error>},
  {"std::overflow_error", make_standard<std::overflow_error>},
  {"std::underflow_error", make_standard<std::underflow_error>},
  {"std::bad_alloc", make_standard<std::bad_alloc>},
  {"std::bad_array_new_length", make_standard<std::bad_array_new_length>},
  {"std::bad_cast", make_standard<std::bad_cast>},
  {"std::bad_any_cast", make_standard<std::bad_any_cast>},
  {"std::bad_typeid", make_standard<std::bad_typeid>},
  {"std::bad_exception", make_standard<std::bad_exception>},
  {"std::bad_weak_ptr", make_standard<std::bad_weak_ptr>},
  {"std::bad_function_call", make_standard<std::bad_function_call>},
  {"std::bad_variant_access", make_standard<std::bad_variant_access>},
  {"std::bad_optional_access", make_standard<std::bad_optional_access>},
  {"std::exception", make_standard<std::exception>},
};

error_info describe_exception(const std::exception& e) {
  auto info = make_error_info(error_kind::remote, e.what());
  info.type_name = detail::demangle(typeid(e).name());
  if (auto nested = dynamic_cast<const std::nested_exception*>(&e); nested != nullptr && nested->nested_ptr()) {
    // throw_with_nested throws a class of its own that derives from the user's: tell that one's name
    constexpr std::string_view wrapper = "std::_Nested_exception<";
    if (info.type_name.starts_with(wrapper)) {
      info.type_name = info.type_name.substr(wrapper.size());
      info.type_name.pop_back();
    }
    try {
      nested->rethrow_nested();
    } catch (...) {
      info.parts.push_back(describe_current_exception());
    }
  }
  return info;
}

} // namespace

std::string_view to_string(error_kind kind) {
  auto i = static_cast<std::size_t>(kind);
  return i < std::size(kind_names) ? kind_names[i] : "error";
}

std::string_view to_string(launch_reason reason) {
  auto i = static_cast<std::size_t>(reason);
  return i < std::size(reason_names) ? reason_names[i] : "died";
}

std::string exit_cause::to_text() const {
  if (signal != 0) {
    auto name = sigdescr_np(signal);
    return "was killed by signal " + std::to_string(signal) + (name ? " (" + std::string{name} + ")" : "");
  }
  if (status >= 0)
    return "exited with status " + std::to_string(status);
  return reason.empty() ? "was lost" : reason;
}

error::error(error_info info) : std::runtime_error(describe(info)), info_(std::make_shared<const error_info>(std::move(info))) {}

const std::string& error::type_name() const noexcept { return origin(info()).type_name; }

const std::string& error::message() const noexcept { return origin(info()).message; }

const std::vector<stack_frame>& error::stack() const noexcept {
  auto& first = origin(info());
  return first.stack.empty() ? info().stack : first.stack;
}

std::size_t error::item() const {
  if (info().item == error_info::no_item)
    throw usage_error{"this error isn't about an element of a map or an array: " + std::string{what()}};
  return static_cast<std::size_t>(info().item);
}

std::exception_ptr remote_error::nested() const {
  auto& x = info();
  if (is_wrapper(x))
    return make_exception(x.parts.front());
  for (auto& type : standard_types)
    if (type.name == x.type_name)
      return type.make(x.message);
  return nullptr;
}

void remote_error::rethrow_nested() const {
  if (auto p = nested())
    std::rethrow_exception(p);
  throw *this;
}

const exit_cause& process_exited::cause() const noexcept { return info().cause; }

std::vector<std::exception_ptr> composite_error::exceptions() const {
  std::vector<std::exception_ptr> out;
  for (auto& x : info().parts)
    out.push_back(make_exception(x));
  return out;
}

std::vector<error> composite_error::errors() const {
  std::vector<error> out;
  for (auto& x : info().parts)
    out.emplace_back(x);
  return out;
}

const std::vector<proc_id>& timeout_error::pids() const noexcept { return info().pids; }

proc_id not_connected::from() const noexcept { return info().pids.empty() ? 0 : info().pids.front(); }

proc_id not_connected::to() const noexcept { return info().pid; }

const std::vector<launch_failure>& launch_error::failures() const noexcept { return info().failures; }

const std::vector<proc_id>& launch_error::joined() const noexcept { return info().pids; }

usage_error::usage_error(std::string text) : error(make_error_info(error_kind::usage, std::move(text))) {}

namespace {

// Calls f with an object of the class that stands for the kind.
template <class F>
void visit_error(const error_info& x, F f) {
  switch (x.kind) {
    case error_kind::remote:
      return f(remote_error{x});
    case error_kind::process_exited:
      return f(process_exited{x});
    case error_kind::composite:
      return f(composite_error{x});
    case error_kind::timeout:
      return f(timeout_error{x});
    case error_kind::deadline_exceeded:
      return f(deadline_exceeded{x});
    case error_kind::cancelled:
      return f(cancelled{x});
    case error_kind::interrupted:
      return f(interrupted{x});
    case error_kind::not_connected:
      return f(not_connected{x});
    case error_kind::unknown_process:
      return f(unknown_process{x});
    case error_kind::channel_closed:
      return f(channel_closed{x});
    case error_kind::already_set:
      return f(already_set{x});
    case error_kind::not_serializable:
      return f(not_serializable{x});
    case error_kind::not_decodable:
      return f(not_decodable{x});
    case error_kind::unknown_task:
      return f(unknown_task{x});
    case error_kind::type_mismatch:
      return f(type_mismatch{x});
    case error_kind::no_workers:
      return f(no_workers{x});
    case error_kind::empty_range:
      return f(empty_range{x});
    case error_kind::launch:
      return f(launch_error{x});
    case error_kind::authentication:
      return f(authentication_error{x});
    case error_kind::would_block:
      return f(would_block{x});
    case error_kind::usage:
      return f(usage_error{x});
  }
  f(error{x}); // a kind that a newer peer knows and we don't
}

} // namespace

void throw_error(error_info info) {
  visit_error(info, [](auto&& e) { throw e; });
  std::abort(); // not reached: every case above throws
}

std::exception_ptr make_exception(const error_info& info) {
  std::exception_ptr out;
  visit_error(info, [&](auto&& e) { out = std::make_exception_ptr(e); });
  return out;
}

void detail::set_reader_of_errors(proc_id id) { reader.store(id, std::memory_order_relaxed); }

error_info make_error_info(error_kind kind, std::string message, proc_id pid) {
  error_info info;
  info.kind = kind;
  info.message = std::move(message);
  info.pid = pid;
  return info;
}

error_info describe_current_exception() {
  try {
    throw;
  } catch (const error& e) {
    return e.info();
  } catch (const std::exception& e) {
    return describe_exception(e);
  } catch (const std::string& text) {
    auto info = make_error_info(error_kind::remote, text);
    info.type_name = "std::string";
    return info;
  } catch (const char* text) {
    auto info = make_error_info(error_kind::remote, text ? text : "");
    info.type_name = "char const*";
    return info;
  } catch (...) {
    auto info = make_error_info(error_kind::remote, "an exception that is not derived from std::exception");
    if (auto type = abi::__cxa_current_exception_type())
      info.type_name = detail::demangle(type->name());
    return info;
  }
}

} // namespace troupe
