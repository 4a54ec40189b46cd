#include "troupe/actors/task.hpp"

#include "troupe/actors/loaded_module.hpp"
#include "troupe/transport/names.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace troupe::detail {

namespace {

// Filled before main, and by libraries that are loaded later. The numbers of new entries are found when one is first asked for:
// where code lies is known only once it is loaded.
struct task_registry {
  std::mutex mutex;
  std::vector<task_entry> added;
  std::map<std::string, task_entry, std::less<>> named;
  std::map<task_function, std::string> names;
  std::unordered_map<std::uint64_t, task_entry> by_id;
};

task_registry& registry() {
  static auto r = new task_registry; // libraries may outlive the static objects of the program
  return *r;
}

std::uint64_t mix(std::uint64_t x) {
  // finalizer of MurmurHash3 (Appleby, public domain): spreads offsets over all bits
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
  return x ^ (x >> 33);
}

// The lowest bit tells numbers of names from numbers of places, so that they can't meet.
std::uint64_t id_of(const task_registry& r, task_function run) {
  if (auto named = r.names.find(run); named != r.names.end())
    return mix(hash_name(named->second)) | 1;
  auto where = locate(reinterpret_cast<const void*>(run));
  return mix(where.module ^ mix(where.offset)) & ~std::uint64_t{1};
}

// Needs the registry's mutex.
void index_added(task_registry& r) {
  for (auto& entry : r.added)
    r.by_id[id_of(r, entry.run)] = entry;
  r.added.clear();
}

} // namespace

bool add_task(task_entry entry) {
  auto& r = registry();
  std::lock_guard guard{r.mutex};
  r.added.push_back(entry);
  return true;
}

bool add_named_task(task_entry entry, const char* name) {
  auto& r = registry();
  std::lock_guard guard{r.mutex};
  auto [i, first] = r.named.try_emplace(name, entry);
  if (!first && i->second.run != entry.run) {
    std::fprintf(stderr, "troupe: two functions are named '%s' by TROUPE_TASK: %s and %s. Give one of them another name.\n", name,
                 i->second.label().c_str(), entry.label().c_str());
    std::_Exit(1);
  }
  r.names[entry.run] = name;
  r.added.push_back(entry);
  return true;
}

std::uint64_t task_id(task_function run) {
  auto& r = registry();
  std::lock_guard guard{r.mutex};
  return id_of(r, run);
}

const task_entry* find_task(std::uint64_t id) {
  auto& r = registry();
  std::lock_guard guard{r.mutex};
  index_added(r);
  auto i = r.by_id.find(id);
  return i == r.by_id.end() ? nullptr : &i->second; // elements of an unordered_map stay where they are
}

// "std::string troupe::detail::label_of_function() [with auto F = simulate; std::string = …]"
std::string function_label(const char* pretty) {
  std::string_view text{pretty};
  auto begin = text.find("F = ");
  if (begin == std::string_view::npos)
    return std::string{text};
  text.remove_prefix(begin + 4);
  text = text.substr(0, text.find_first_of(";]"));
  if (text.starts_with("&"))
    text.remove_prefix(1);
  return std::string{text};
}

// "lambda #2 in main" for main::{lambda(troupe::cluster&)#1}::operator()(troupe::cluster&) const::{lambda(int)#2}
std::string type_text(const std::type_info& type) {
  auto text = demangle(type.name());
  constexpr std::string_view clang_lambda = "'lambda", gcc_lambda = "{lambda(";
  auto first = std::min(text.find(gcc_lambda), text.find(clang_lambda));
  if (first == std::string::npos)
    return text;
  auto number = text.rfind('#');
  auto where = text.substr(0, first);
  while (where.ends_with(':'))
    where.pop_back();
  auto digits =
    number == std::string::npos ? std::string{} : text.substr(number, text.find_first_not_of("0123456789", number + 1) - number);
  return "lambda" + (digits.empty() ? "" : " " + digits) + (where.empty() ? "" : " in " + where);
}

void throw_pointer_in_capture(const found_pointer& found, const std::string& function) {
  throw codec_error{"byte " + std::to_string(found.offset) + " of the captures of " + function + " is an address of this process (in its "
                    + found.region
                    + "), which means nothing elsewhere. Capture by value what is small; send containers and strings with "
                      "troupe::with(values…, f); if it is no address, use troupe::bytes(f)"};
}

void throw_function_not_serializable(const std::string& label, const std::exception& e) {
  auto info = make_error_info(error_kind::not_serializable, label + " can't be sent: " + e.what());
  info.task = label;
  throw_error(std::move(info));
}

void throw_arguments_not_decodable(const std::string& label, const std::exception& e) {
  auto info = make_error_info(error_kind::not_decodable, "the arguments of " + label + " can't be decoded: " + e.what());
  info.task = label;
  throw_error(std::move(info));
}

void throw_result_not_serializable(const std::string& label, const std::exception& e) {
  auto info = make_error_info(error_kind::not_serializable, "the result of " + label + " can't be encoded: " + e.what());
  info.task = label;
  throw_error(std::move(info));
}

} // namespace troupe::detail
