#include "troupe/actors/named.hpp"

#include "troupe/actors/future.hpp"
#include "troupe/actors/named_values.hpp"
#include "troupe/actors/runtime.hpp"

namespace troupe::detail {

namespace {

[[noreturn]] void throw_not_named(const named_values& all, const std::string& name, proc_id here) {
  auto text = "there is no value named '" + name + "' on process " + std::to_string(here) + "; ";
  const auto names = all.names();
  if (names.empty())
    throw usage_error{text + "none is defined"};
  text += "defined are";
  for (auto& other : names)
    text += (&other == &names.front() ? " '" : ", '") + other + "'";
  throw usage_error{text};
}

} // namespace

named_version& find_named(const std::string& name, const std::string& type) {
  auto& rt = runtime::get();
  auto v = named_pins::find(rt.named(), name);
  if (v == nullptr)
    throw_not_named(rt.named(), name, rt.id());
  if (v->type != type)
    throw_error(make_error_info(error_kind::type_mismatch,
                                "the value named '" + name + "' is of type " + v->type + ", it was asked for as " + type, rt.id()));
  return *v;
}

void throw_named_not_decodable(const named_version& v, const std::exception& e) {
  throw_not_decodable(("the value named '" + v.name + "'").c_str(), e.what());
}

void throw_named_not_serializable(const std::string& name, const std::exception& e) {
  throw_error(
    make_error_info(error_kind::not_serializable, "the value named '" + name + "' can't be encoded: " + e.what(), runtime::get().id()));
}

} // namespace troupe::detail
