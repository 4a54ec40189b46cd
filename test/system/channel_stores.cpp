#define BOOST_TEST_MODULE channel_stores
#include "system/harness.hpp"

#include <atomic>
#include <map>
#include <optional>

namespace {

using troupe::abstract_channel;
using troupe::remote_channel;
using ints = std::vector<int>;

std::atomic<int> made{0};
std::atomic<int> dropped{0};

// CH-22: the manual's example, a dictionary.
class dictionary final : public abstract_channel<std::string, int> {
public:
  explicit dictionary(std::size_t most = 100) : most_(most) { ++made; }
  ~dictionary() override { ++dropped; }
  bool put(const int& key, std::string& value) override {
    if (value == "bad")
      throw std::invalid_argument{"a bad value"};
    if (values_.size() >= most_)
      return false;
    values_[key] = std::move(value);
    return true;
  }
  std::optional<std::string> take(const int& key) override {
    auto node = values_.extract(key);
    return node ? std::optional{std::move(node.mapped())} : std::nullopt;
  }
  std::optional<std::string> fetch(const int& key) override {
    const auto i = values_.find(key);
    return i == values_.end() ? std::nullopt : std::optional{i->second};
  }
  std::size_t size() const override { return values_.size(); }

private:
  std::size_t most_;
  std::map<int, std::string> values_;
};

// The largest comes first.
template <class T>
class largest_first final : public abstract_channel<T> {
public:
  bool put(T& x) override {
    if (values_.size() >= 5)
      return false;
    values_.push_back(std::move(x));
    std::sort(values_.begin(), values_.end());
    return true;
  }
  std::optional<T> take() override {
    auto out = fetch();
    if (out)
      values_.pop_back();
    return out;
  }
  std::optional<T> fetch() override { return values_.empty() ? std::nullopt : std::optional{values_.back()}; }
  std::size_t size() const override { return values_.size(); }

private:
  std::vector<T> values_;
};

class line_of_channels final : public abstract_channel<remote_channel<int>, std::string> {
public:
  bool put(const std::string&, remote_channel<int>& x) override {
    all_.push_back(std::move(x));
    return true;
  }
  std::optional<remote_channel<int>> take(const std::string&) override {
    if (all_.empty())
      return std::nullopt;
    auto out = all_.front();
    all_.erase(all_.begin());
    return out;
  }
  std::optional<remote_channel<int>> fetch(const std::string&) override {
    return all_.empty() ? std::nullopt : std::optional{all_.front()};
  }
  std::size_t size() const override { return all_.size(); }

private:
  std::vector<remote_channel<int>> all_;
};

int made_on(proc_id p) {
  return here().remotecall_fetch(p, [] { return made.load(); });
}
int dropped_on(proc_id p) {
  return here().remotecall_fetch(p, [] { return dropped.load(); });
}

template <class T>
bool stays_open(const troupe::future<T>& f) {
  return !f.wait_for(50ms);
}

} // namespace

// CH-02, CH-22
BOOST_AUTO_TEST_CASE(a_store_with_keys_backs_a_channel) {
  workers w{2};
  for (auto where : {proc_id{1}, w[0]}) {
    const auto before = made_on(where), dropped_before = dropped_on(where);
    auto ch = remote_channel<std::string>::on(here(), where, [] { return std::make_unique<dictionary>(2); });
    BOOST_TEST(made_on(where) == before + 1);
    ch.put(1, "one").put(2, "two");
    BOOST_TEST(ch.size() == 2u);
    BOOST_TEST(ch.fetch(2) == "two");
    BOOST_TEST(ch.fetch(troupe::call_options{.deadline = 60s}, 2) == "two");
    BOOST_TEST(ch.take(2) == "two");
    const auto take = here().remotecall(w[1], [](const remote_channel<std::string>& c) { return c.take(3); }, ch);
    BOOST_TEST(stays_open(take));
    ch.put(4, "four");
    BOOST_TEST(stays_open(take));
    const auto put = here().remotecall(w[1], [](const remote_channel<std::string>& c) { c.put(3, "three"); }, ch); // there's no room
    BOOST_TEST(stays_open(put));
    BOOST_TEST(ch.take(1) == "one");
    put.wait();
    BOOST_TEST(take.fetch() == "three");
    BOOST_CHECK_THROW(ch.take(), troupe::type_mismatch);
    BOOST_CHECK_THROW(ch.take(std::string{"four"}), troupe::type_mismatch);
    BOOST_CHECK_THROW((remote_channel<int>{here(), ch.id()}.take(4)), troupe::type_mismatch);
    BOOST_TEST(contains(error_of<troupe::error>([&] { ch.put(5, "bad"); }).what(), "a bad value"));
    BOOST_CHECK_THROW(ch.take(troupe::call_options{.deadline = 20ms}, 9), troupe::deadline_exceeded);
    ch.close();
    BOOST_CHECK_THROW(ch.put(5, "five"), troupe::channel_closed);
    BOOST_TEST(ch.take(4) == "four");
    BOOST_CHECK_THROW(ch.take(4), troupe::channel_closed);
    ch = {};
    BOOST_TEST(eventually([&] { return dropped_on(where) == dropped_before + 1; }));
  }
}

BOOST_AUTO_TEST_CASE(a_factory_that_throws_makes_no_channel) {
  workers w{1};
  const auto e = error_of<troupe::remote_error>(
    [&] { remote_channel<std::string>::on(here(), w[0], []() -> std::unique_ptr<dictionary> { throw std::runtime_error{"no paper"}; }); });
  BOOST_TEST(e.message() == "no paper");
  BOOST_CHECK_THROW(remote_channel<std::string>::on(here(), w[0], [] { return std::unique_ptr<dictionary>{}; }), troupe::error);
}

BOOST_AUTO_TEST_CASE(a_store_may_have_an_order_of_its_own) {
  workers w{2};
  const auto ch = remote_channel<int>::on(here(), w[0], [] { return largest_first<int>{}; });
  BOOST_TEST(!ch.try_take());
  ch.put_many({3, 9, 1});
  BOOST_TEST(ch.isready());
  BOOST_TEST(ch.try_fetch().value_or(0) == 9);
  BOOST_TEST((ch.take_many(2) == ints{9, 3}));
  const auto put =
    here().remotecall(w[1], [](const remote_channel<int>& c) { c.put_many({10, 20, 30, 40, 50, 60}); }, ch); // more than there is room for
  BOOST_TEST(eventually([&] { return ch.size() == 5; }));
  BOOST_TEST(!ch.try_put(7));
  ints all;
  for (int i = 0; i < 7; ++i)
    all.push_back(ch.take());
  put.wait();
  std::sort(all.begin(), all.end());
  BOOST_TEST((all == ints{1, 10, 20, 30, 40, 50, 60}));
}

BOOST_AUTO_TEST_CASE(a_loop_that_ends_early_leaves_the_rest_in_the_store) {
  workers w{2};
  const auto ch = remote_channel<int>::on(here(), w[0], [] { return largest_first<int>{}; });
  ch.put_many({1, 2, 3, 4, 5});
  const auto two = here().remotecall_fetch(
    w[1],
    [](const remote_channel<int>& c) {
      ints seen;
      for (int x : c) {
        seen.push_back(x);
        if (seen.size() == 2)
          break;
      }
      static_cast<void>(c.begin()); // looked at by nobody
      return seen;
    },
    ch);
  BOOST_TEST((two == ints{5, 4}));
  BOOST_TEST(eventually([&] { return ch.size() == 3; }));
  ch.close();
  ints rest;
  for (int x : ch)
    rest.push_back(x);
  BOOST_TEST((rest == ints{3, 2, 1}));
}

BOOST_AUTO_TEST_CASE(who_gives_up_neither_puts_nor_takes) {
  workers w{1};
  const auto ch = remote_channel<int>::on(here(), w[0], [] { return largest_first<int>{}; });
  for (int i = 0; i < 20; ++i)
    BOOST_TEST(!ch.try_take(1ms));
  ch.put_many({1, 2, 3, 4, 5});
  for (int i = 0; i < 20; ++i)
    BOOST_TEST(!ch.try_put(100 + i, 1ms));
  BOOST_TEST((ch.take_many(10) == ints{5, 4, 3, 2, 1}));
  BOOST_TEST(!ch.try_take());
}

// CH-25
BOOST_AUTO_TEST_CASE(a_store_forgets_who_is_lost) {
  workers w{2};
  const auto ch = remote_channel<int>::on(here(), w[0], [] { return largest_first<int>{}; });
  const auto lost = here().remotecall(w[1], [](const remote_channel<int>& c) { return c.take(); }, ch);
  BOOST_TEST(stays_open(lost));
  ::kill(static_cast<::pid_t>(here().info(w[1]).os_pid), SIGKILL);
  BOOST_CHECK_THROW(lost.fetch(), troupe::process_exited);
  here().remotecall_wait(w[0], [] {}); // which knows it, too
  ch.put(7);
  BOOST_TEST(ch.take(troupe::call_options{.deadline = 10s}) == 7);
}

BOOST_AUTO_TEST_CASE(a_store_can_hold_channels) {
  workers w{2};
  const auto ch = remote_channel<remote_channel<int>>::on(here(), w[0], [] { return line_of_channels{}; });
  for (int i = 0; i < 3; ++i)
    ch.put("key", remote_channel<int>::on(here(), w[1]));
  for (int i = 0; i < 3; ++i) {
    const auto inner = ch.take("key");
    inner.put(i);
    BOOST_TEST(inner.take() == i);
  }
  BOOST_TEST(eventually([&] { return here().references(w[1]).empty(); }));
}
