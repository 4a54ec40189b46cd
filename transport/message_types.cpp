#include "troupe/transport/message_types.hpp"

#include <caf/all.hpp>
#include <caf/detail/dynamic_message_data.hpp>
#include <caf/make_message.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <typeindex>
#include <unordered_map>

namespace troupe {

namespace {

// Filled before main and by libraries that are loaded later; read by the tables, which are made anew after an addition.
struct type_registry {
  std::mutex mutex;
  std::deque<message_type> all; // addresses stay
  std::map<std::uint64_t, const message_type*> by_hash;
  std::array<const message_type*, caf::type_nrs> by_nr{};
  std::unordered_map<std::type_index, const message_type*> by_rtti;
  std::unordered_map<const message_type*, std::uint16_t> numbers;
  std::vector<const message_type*> ordered;
  bool fixed = false;
};

template <class... Ts>
void register_library_types() {
  (detail::register_message_type<Ts>(false), ...);
}

type_registry& registry() {
  static auto r = new type_registry; // threads may still send while a program ends
  return *r;
}

// What CAF itself sends, and what nobody should have to register.
void register_standard_types() {
  register_library_types<caf::actor, std::vector<caf::actor>, caf::actor_addr, std::vector<caf::actor_addr>, caf::atom_value,
                         std::vector<char>, caf::down_msg, caf::error, caf::exit_msg, std::int16_t, std::int32_t, std::int64_t, std::int8_t,
                         long double, caf::message, caf::message_id, caf::node_id, std::string, std::map<std::string, std::string>,
                         caf::strong_actor_ptr, std::set<std::string>, std::vector<std::string>, caf::timespan, caf::timestamp,
                         std::uint16_t, std::u16string, std::uint32_t, std::u32string, std::uint64_t, std::uint8_t, caf::unit_t, bool,
                         double, float>();
  register_library_types<std::vector<std::int8_t>, std::vector<std::uint8_t>, std::vector<std::int16_t>, std::vector<std::uint16_t>,
                         std::vector<std::int32_t>, std::vector<std::uint32_t>, std::vector<std::int64_t>, std::vector<std::uint64_t>,
                         std::vector<float>, std::vector<double>, std::vector<bool>, std::pair<int, int>, std::vector<std::pair<int, int>>,
                         std::vector<std::vector<double>>, std::map<std::string, double>, std::map<std::string, int>, std::map<int, int>>();
}

const type_registry& fixed_registry() {
  static const bool standard = [] {
    register_standard_types();
    return true;
  }();
  static_cast<void>(standard);
  auto& r = registry();
  std::lock_guard guard{r.mutex};
  if (!r.fixed) {
    r.ordered.clear();
    r.numbers.clear();
    for (auto& [hash, type] : r.by_hash) {
      r.numbers[type] = static_cast<std::uint16_t>(r.ordered.size());
      r.ordered.push_back(type);
    }
    r.fixed = true;
  }
  return r;
}

// Once a link has told of the types, additions would change their numbers: the tables are made once.
const type_registry& tables() {
  static const type_registry& r = fixed_registry();
  return r;
}

std::string name_of(const caf::rtti_pair& rtti) {
  if (rtti.second != nullptr)
    return detail::demangle(rtti.second->name());
  return rtti.first < caf::type_nrs ? caf::numbered_type_names[rtti.first - 1] : "?";
}

const message_type* find_type(const caf::rtti_pair& rtti) {
  auto& r = tables();
  if (rtti.first != 0)
    return rtti.first < r.by_nr.size() ? r.by_nr[rtti.first] : nullptr;
  auto i = r.by_rtti.find(*rtti.second);
  return i == r.by_rtti.end() ? nullptr : i->second;
}

const message_type& require_type(const caf::rtti_pair& rtti) {
  auto type = find_type(rtti);
  if (type == nullptr) {
    auto name = name_of(rtti);
    throw codec_error{"messages with a " + name
                      + " can't be sent to another process: register it before the cluster starts, with app.message_types<" + name + ">()"};
  }
  return *type;
}

} // namespace

namespace detail {

bool add_message_type(message_type type) {
  auto& r = registry();
  std::lock_guard guard{r.mutex};
  if (r.by_hash.contains(type.hash))
    return false;
  auto& added = r.all.emplace_back(std::move(type));
  r.by_hash[added.hash] = &added;
  if (added.rtti.first != 0)
    r.by_nr[added.rtti.first] = &added;
  else
    r.by_rtti[*added.rtti.second] = &added;
  return true;
}

} // namespace detail

caf::message make_message_of(std::vector<caf::type_erased_value_ptr> elements) {
  if (elements.empty())
    return {};
  auto data = caf::make_counted<caf::detail::dynamic_message_data>(std::move(elements));
  return caf::message{caf::message::data_ptr{std::move(data)}};
}

const std::vector<const message_type*>& known_message_types() { return tables().ordered; }

std::vector<std::uint64_t> message_type_hashes() {
  std::vector<std::uint64_t> out;
  for (auto type : known_message_types())
    out.push_back(type->hash);
  return out;
}

std::vector<const message_type*> translate_message_types(const std::vector<std::uint64_t>& hashes) {
  auto& r = tables();
  std::vector<const message_type*> out;
  for (auto hash : hashes) {
    auto i = r.by_hash.find(hash);
    out.push_back(i != r.by_hash.end() && r.numbers.contains(i->second) ? i->second : nullptr);
  }
  return out;
}

void write_elements(writer& out, const caf::type_erased_tuple& elements) {
  auto n = elements.size();
  if (n > UINT16_MAX)
    throw codec_error{"a message with " + std::to_string(n) + " elements; the limit is 65535"};
  out.put(static_cast<std::uint16_t>(n));
  auto& r = tables();
  for (std::size_t i = 0; i < n; ++i) {
    auto number = r.numbers.find(&require_type(elements.type(i)));
    if (number == r.numbers.end())
      throw codec_error{"messages with a " + name_of(elements.type(i)) + " can't be sent: it was registered after the cluster started"};
    out.put(number->second);
  }
  for (std::size_t i = 0; i < n; ++i)
    require_type(elements.type(i)).save(out, elements.get(i));
}

const message_type& message_type_at(std::uint16_t number, const std::vector<const message_type*>& types) {
  if (number >= types.size())
    throw codec_error{"a message element of type " + std::to_string(number) + ", the peer told of " + std::to_string(types.size())};
  if (types[number] == nullptr)
    throw codec_error{"a message element of a type that isn't registered here: call app.message_types for it in every program"};
  return *types[number];
}

bool needs_user_code(reader in, const std::vector<const message_type*>& types) {
  auto n = in.get<std::uint16_t>();
  for (std::uint16_t i = 0; i < n; ++i)
    if (auto number = in.get<std::uint16_t>(); number < types.size() && types[number] && types[number]->user_code)
      return true;
  return false;
}

void codec<caf::message>::write(writer& w, const caf::message& x) {
  w.put(static_cast<std::uint16_t>(x.size()));
  for (std::size_t i = 0; i < x.size(); ++i) {
    auto& type = require_type(x.type(i));
    w.put(type.hash);
    type.save(w, x.get(i));
  }
}

void codec<caf::message>::read(reader& r, caf::message& x) {
  reader::depth_guard guard{r};
  auto n = r.get<std::uint16_t>();
  std::vector<caf::type_erased_value_ptr> elements;
  for (std::uint16_t i = 0; i < n; ++i) {
    auto hash = r.get<std::uint64_t>();
    auto type = tables().by_hash.find(hash);
    if (type == tables().by_hash.end())
      throw codec_error{"a message within a message with an element of a type that isn't registered here"};
    elements.push_back(type->second->load(r));
  }
  x = make_message_of(std::move(elements));
}

void codec<caf::error>::write(writer& w, const caf::error& x) {
  w.put(static_cast<std::uint8_t>(x ? 1 : 0));
  if (!x)
    return;
  w.put(x.code());
  w.put(static_cast<std::uint64_t>(x.category()));
  // a context that can't travel is worth less than the error
  try {
    byte_buffer context;
    writer inner{context, w.actors()};
    codec<caf::message>::write(inner, x.context());
    w.raw(context.data(), context.size());
  } catch (const codec_error&) {
    codec<caf::message>::write(w, caf::message{});
  }
}

void codec<caf::error>::read(reader& r, caf::error& x) {
  x = caf::error{};
  if (r.get<std::uint8_t>() == 0)
    return;
  auto code = r.get<std::uint8_t>();
  auto category = static_cast<caf::atom_value>(r.get<std::uint64_t>());
  caf::message context;
  codec<caf::message>::read(r, context);
  x = caf::error{code, category, std::move(context)};
}

void codec<caf::node_id>::write(writer& w, const caf::node_id& x) { troupe::write(w, x ? to_string(x) : std::string{}); }

void codec<caf::node_id>::read(reader& r, caf::node_id& x) {
  auto text = troupe::read<std::string>(r);
  x = caf::node_id{};
  if (text.empty())
    return;
  auto id = caf::make_uri(text);
  if (id)
    x = caf::make_node_id(*id);
  if (!id || to_string(x) != text) // CAF reads some texts as others
    throw codec_error{"'" + text + "' is no process of this cluster"};
}

void actor_codec::throw_outside() { throw codec_error{"an actor handle means something only within its cluster"}; }

} // namespace troupe
