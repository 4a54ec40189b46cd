// Writes the seeds that are made of encoded values: fuzz_seeds CORPUS writes CORPUS/<target>/<name>. To be run again when the
// protocol changes; the seeds that were made by hand stay.
#include "fuzz/message_values.hpp"
#include "fuzz/round_trip.hpp"
#include "fuzz/values.hpp"

#include "troupe/actors/array_info.hpp"
#include "troupe/transport/frame.hpp"

#include <caf/all.hpp>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>

using namespace std::string_literals;
using troupe::byte_buffer;
using troupe::frame_kind;

namespace {

std::filesystem::path corpus;

void save(const std::string& target, const std::string& name, std::initializer_list<int> choices, std::span<const std::byte> rest) {
  std::filesystem::create_directories(corpus / target);
  std::ofstream out{corpus / target / name, std::ios::binary};
  for (auto choice : choices)
    out.put(static_cast<char>(choice));
  out.write(reinterpret_cast<const char*>(rest.data()), static_cast<std::streamsize>(rest.size()));
  if (!out.flush())
    throw std::runtime_error{"can't write " + name};
}

// -- codec ------------------------------------------------------------------------------------------------------------

template <class T, std::size_t I = 0>
constexpr int number_of() {
  if constexpr (std::is_same_v<T, std::tuple_element_t<I, fuzz::value_types>>)
    return I;
  else
    return number_of<T, I + 1>();
}

template <class T>
void save_value(const std::string& name, const T& x) {
  save("codec", name, {number_of<T>()}, fuzz::encoded(x));
}

troupe::error_info example_error() {
  auto thrown = troupe::make_error_info(troupe::error_kind::remote, "vector::_M_range_check", 2);
  thrown.type_name = "std::out_of_range";
  thrown.task = "simulate(int)";
  thrown.host = "node-a";
  thrown.stack = {{"simulate(int)", "app", 0x1234, 1}, {"", "libc.so.6", 0x99, 3}};
  auto ended = troupe::make_error_info(troupe::error_kind::process_exited, "Worker 3 is gone", 3);
  ended.cause = {"node-b", -1, 9, "last words\n", ""};
  auto out = troupe::make_error_info(troupe::error_kind::composite, "");
  out.parts = {thrown, ended};
  out.pids = {2, 3};
  out.failures = {{"node-c", troupe::launch_reason::silent, -1, "told no address"}};
  return out;
}

troupe::member example_member(troupe::proc_id id) {
  troupe::member m;
  m.id = id;
  m.where = {"127.0.0.1", 9003};
  m.info.state = troupe::process_state::connected;
  m.info.host = "node-a";
  m.info.address = "127.0.0.1:9003";
  m.info.os_pid = 4711;
  m.info.cpus = 8;
  m.node_actor = 5;
  if (id > 2)
    m.info.cause = troupe::exit_cause{"node-a", 7, 0, "", "was removed"};
  return m;
}

troupe::hello example_hello() { return {0x1122334455667788, 1, 2, "node-a", 4711, "build-id", {1, ~std::uint64_t{0}, 3}}; }

fuzz::tree example_tree() {
  fuzz::tree leaf;
  leaf.name = "leaf";
  fuzz::tree root;
  root.name = "root";
  root.data = {1.5, -0.0};
  root.grid[1][0] = 7;
  root.children = {leaf, leaf};
  return root;
}

template <std::size_t N>
void save_defaults() {
  if constexpr (N > 0) {
    using type = std::tuple_element_t<N - 1, fuzz::value_types>;
    save_value("default_" + std::to_string(N - 1), type{});
    save_defaults<N - 1>();
  }
}

void save_values() {
  save_defaults<std::tuple_size_v<fuzz::value_types>>();
  save_value("string", "text"s);
  save_value("bools", std::vector<bool>{true, false, true});
  save_value("strings", std::vector<std::vector<std::string>>{{"a", "bc"}, {}, {""}});
  save_value("plain", std::vector<fuzz::plain>{{1, 2.5f, 3}, {-1, 0, 7}});
  save_value("optionals", std::optional{std::vector<std::optional<std::int16_t>>{1, {}, 3}});
  using variant = std::tuple_element_t<6, fuzz::value_types>;
  save_value("variant_string", variant{"text"});
  save_value("variant_vector", variant{std::vector<std::variant<int, bool>>{1, true}});
  save_value("map", std::map<std::string, std::vector<std::uint16_t>>{{"a", {1, 2}}, {"b", {}}});
  save_value("nested", std::list<std::deque<std::set<int>>>{{{1, 2}, {}}, {}});
  save_value("nothings", std::vector<std::pair<std::monostate, std::vector<std::nullptr_t>>>{{{}, {nullptr, nullptr}}, {}});
  save_value("tree", example_tree());
  save_value("error", example_error());
  save_value("hello", example_hello());
  save_value("change", troupe::membership_change{3, {example_member(2)}, {4}, {{3, example_error()}}});
  save_value("join", troupe::join_request{{troupe::topology::custom, true},
                                          {4, {5, 6}},
                                          {example_member(2), example_member(3)},
                                          {3},
                                          {{"--threads", {"4"}}, {"-v", {}}},
                                          {{"mesh", 7}},
                                          {{99, 1, "lambda #1 in main", {std::byte{5}}}}});
  save_value("joined", troupe::join_answer{example_member(2), "it has another --size"});
  save_value("named", troupe::named_header{7, "mesh", "std::vector<double>", {4, 5, 6}});
}

// -- frames -----------------------------------------------------------------------------------------------------------

// A frame with what a link puts into its header.
template <class... Ts>
void append_frame(byte_buffer& out, frame_kind kind, std::uint64_t number, const Ts&... xs) {
  troupe::frame_builder f;
  f.start(kind);
  (write(f.out(), xs), ...);
  auto& frame = f.finish();
  troupe::frame_header h;
  std::memcpy(&h, frame.data(), sizeof h);
  h.number = number;
  troupe::seal(h);
  std::memcpy(frame.data(), &h, sizeof h);
  out.insert(out.end(), frame.begin(), frame.end());
}

template <class... Ts>
byte_buffer frame(frame_kind kind, std::uint64_t number, const Ts&... xs) {
  byte_buffer out;
  append_frame(out, kind, number, xs...);
  return out;
}

void save_introductions() {
  auto hello = frame(frame_kind::hello, 0, example_hello());
  save("connection", "hello_to_dialler", {0, 0, 0, 0}, hello);
  save("connection", "hello_to_acceptor", {1, 0, 0, 0}, hello);
  save("connection", "not_welcome", {3, 7, 1, 0}, hello);
  save("connection", "slow_writes", {5, 1, 1, 1}, hello);
  save("connection", "refusal", {0, 0, 0, 0}, frame(frame_kind::refusal, 0, "this is process 2, not 5"s));
  save("connection", "another_kind", {1, 0, 0, 0}, frame(frame_kind::call, 0, example_hello()));
  save("connection", "cut_short", {1, 0, 0, 0}, std::span{hello}.first(hello.size() - 1));
  auto more = hello;
  append_frame(more, frame_kind::dial, 1, troupe::proc_id{3}, troupe::proc_id{2});
  save("connection", "leftover", {1, 0, 0, 0}, more);
  save("connection", "leftover_in_pieces", {1, 200, 3, 50}, more);
  auto large = hello;
  large[2] = std::byte{5}; // claims 256 KiB and more
  save("connection", "large", {1, 0, 0, 0}, large);
}

void append_chunk(byte_buffer& out, std::uint64_t number, std::uint16_t flags, std::uint64_t whole, std::size_t part) {
  troupe::frame_header h;
  const bool first = (flags & troupe::frame_flags::first_chunk) != 0;
  h.size = part + (first ? sizeof whole : 0);
  h.number = number;
  h.kind = frame_kind::reply;
  h.in_lane = troupe::lane::bulk;
  h.flags = flags;
  troupe::seal(h);
  troupe::writer to{out};
  to.put(h);
  if (first)
    to.put(whole);
  out.resize(out.size() + part, std::byte{0});
}

// Values in chunks, and what is wrong with some.
void save_chunks() {
  using namespace troupe::frame_flags;
  byte_buffer chunks;
  append_chunk(chunks, 1, first_chunk | more_chunks, 300, 100);
  append_chunk(chunks, 2, later_chunk | more_chunks, 0, 100);
  append_frame(chunks, frame_kind::reply, 1, std::uint64_t{1}, std::uint8_t{0}, 42);
  append_chunk(chunks, 2, later_chunk | more_chunks, 0, 100); // again
  append_chunk(chunks, 3, later_chunk, 0, 100);
  append_chunk(chunks, 4, first_chunk, 50, 50);
  save("frames", "chunks", {0, 0, 0}, chunks);
  save("frames", "chunks_in_pieces", {1, 90, 60}, chunks);
  byte_buffer no_first, too_long, twice;
  append_chunk(no_first, 1, later_chunk, 0, 100);
  save("frames", "chunk_without_first", {0, 0, 0}, no_first);
  append_chunk(too_long, 1, first_chunk, 50, 51);
  save("frames", "chunk_too_long", {0, 0, 0}, too_long);
  append_chunk(twice, 1, first_chunk | more_chunks, 300, 100);
  append_chunk(twice, 2, first_chunk | more_chunks, 300, 100);
  save("frames", "chunk_first_twice", {0, 0, 0}, twice);
}

void save_frames() {
  byte_buffer many;
  append_frame(many, frame_kind::call, 1, std::uint64_t{1}, std::uint64_t{0x77}, std::uint8_t{0}, "arguments"s);
  append_frame(many, frame_kind::members_seen, 1, std::uint64_t{2});
  append_frame(many, frame_kind::reply, 2, std::uint64_t{1}, std::uint8_t{0}, 42);
  append_frame(many, frame_kind::dial, 2, troupe::proc_id{3}, troupe::proc_id{2});
  append_frame(many, frame_kind::leave, 3);
  append_frame(many, frame_kind::message, 3, std::string(300, 'x'));
  save("frames", "lanes", {0, 0, 0}, many);
  save("frames", "lanes_in_pieces", {1, 31, 60}, many);
  save("frames", "cut_short", {50, 50, 0}, std::span{many}.first(many.size() - 200));
  save("frames", "number_missing", {0, 0, 0}, frame(frame_kind::call, 2, 1));
  save("frames", "unreadable", {0, 0, 0}, frame(frame_kind::dial, 1, troupe::proc_id{3}));
  for (auto [name, at] : {std::pair{"lane", 25}, {"flags", 26}, {"checksum", 28}, {"size", 6}}) {
    auto wrong = frame(frame_kind::leave, 1);
    wrong[static_cast<std::size_t>(at)] = std::byte{3};
    save("frames", "wrong_"s + name, {0, 0, 0}, wrong);
  }
}

// -- messages ---------------------------------------------------------------------------------------------------------

void save_messages() {
  fuzz::no_actors actors;
  auto put = [&](const std::string& name, int choice, const auto& x) { save("message", name, {choice}, fuzz::encoded(x, &actors)); };
  auto add = caf::atom("add");
  auto error = caf::make_error(caf::sec::runtime_error, "text");
  auto simple = caf::make_message(add, 1, 2.5, "text"s, std::vector<double>{1, 2});
  auto inner = caf::make_message(simple, error, caf::unit);
  put("empty", 0, fuzz::elements{});
  put("simple", 0, fuzz::elements{simple});
  put("nested", 0, fuzz::elements{inner});
  put("containers", 0,
      fuzz::elements{caf::make_message(std::vector<std::pair<int, int>>{{1, 2}}, std::map<std::string, double>{{"a", 1}},
                                       std::vector<bool>{true, false}, std::u16string{u"text"})});
  put("handles", 0, fuzz::elements{caf::make_message(caf::strong_actor_ptr{}, std::vector<caf::actor_addr>(2), caf::actor_addr{})});
  put("exit", 0, fuzz::elements{caf::make_message(caf::exit_msg{{}, error}, caf::down_msg{{}, caf::exit_reason::kill})});
  put("within", 1, inner);
  put("within_empty", 1, caf::message{});
  put("error", 2, error);
  put("no_error", 2, caf::error{});
  auto uri = caf::make_uri("troupe:/77/3");
  put("node", 3, caf::make_node_id(*uri));
  put("no_node", 3, caf::node_id{});
}

// -- arrays of actors ---------------------------------------------------------------------------------------------------

troupe::array_info array_of(const troupe::array_extents& n, const troupe::placement& where, std::vector<troupe::proc_id> workers) {
  troupe::array_info out;
  out.number = 3;
  out.label = "cell";
  out.type = 0x1234;
  out.layout = {n, where, std::move(workers), [](troupe::proc_id) {}};
  return out;
}

void save_arrays() {
  save("arrays", "line", {0}, fuzz::encoded(array_of(10, troupe::placement::block, {2, 3, 4})));
  save("arrays", "plane", {0}, fuzz::encoded(array_of({3, 4}, troupe::placement::cyclic, {2, 3})));
  save("arrays", "custom", {0},
       fuzz::encoded(array_of({2, 2, 2}, troupe::placement::custom([](std::size_t i) { return i < 5 ? 2 : 7; }), {})));
  const auto frame = [](std::uint64_t question, std::uint8_t what, std::uint32_t before, const std::vector<troupe::proc_id>& others) {
    fuzz::no_actors actors;
    byte_buffer out;
    troupe::writer w{out, &actors};
    w.put(question);
    w.put(std::uint64_t{3});
    w.put(what);
    w.put(std::uint8_t{1});
    w.put(std::uint64_t{0x77});
    w.put(before);
    write(w, others);
    w.put(std::uint64_t{0});
    write(w, caf::make_message(caf::atom("add"), 1));
    return out;
  };
  save("arrays", "broadcast", {1}, frame(0, 0, 0, {3, 4, 5}));
  save("arrays", "step", {2}, frame(9, 1, 1, {3, 4}));
  save("arrays", "collect", {1}, frame(9, 2, 0, {}));
  save("arrays", "reduce", {1}, frame(9, 3, 0, {3}));
  save("arrays", "too_many_in_front", {2}, frame(9, 3, 2, {3}));
  save("arrays", "end", {1}, frame(9, 4, 0, {3}));
  save("arrays", "unknown", {1}, frame(9, 5, 0, {3}));
  save("arrays", "twice", {1}, frame(9, 1, 0, {3, 4, 3}));
}

} // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: fuzz_seeds CORPUS\n");
    return 2;
  }
  corpus = argv[1];
  save_values();
  save_introductions();
  save_frames();
  save_chunks();
  save_messages();
  save_arrays();
  return 0;
}
