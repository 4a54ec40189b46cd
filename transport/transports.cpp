#include "troupe/transport/transports.hpp"

#include "troupe/transport/error.hpp"

#include <algorithm>
#include <cctype>
#include <mutex>
#include <utility>

namespace troupe {

namespace {

struct registry {
  std::mutex mutex; // guards the map
  std::map<std::string, transports::factory> all;
};

registry& registered() {
  static registry r;
  return r;
}

} // namespace

void transports::add(const std::string& scheme, factory make) {
  const auto fits = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; };
  if (scheme.empty() || !std::all_of(scheme.begin(), scheme.end(), fits))
    throw usage_error{"'" + scheme + "' can't stand for a transport: letters, digits and dashes can"};
  auto& r = registered();
  std::lock_guard guard{r.mutex};
  if (!r.all.emplace(scheme, std::move(make)).second)
    throw usage_error{"a transport is registered by '" + scheme + "' already"};
}

transport& transports::serving(const endpoint& where) {
  const auto scheme = where.scheme();
  if (scheme.empty())
    return *own_;
  auto& out = made_[scheme];
  if (!out) {
    auto& r = registered();
    std::lock_guard guard{r.mutex};
    const auto found = r.all.find(scheme);
    if (found == r.all.end())
      throw usage_error{"'" + where.address + "': this process has no transport '" + scheme
                        + "'; register it before app::run, see app::transport"};
    out = found->second();
  }
  return *out;
}

endpoint transports::listen(loop& l, const endpoint& at, acceptor on_accept) { return serving(at).listen(l, at, std::move(on_accept)); }

void transports::dial(loop& l, const endpoint& to, std::chrono::milliseconds limit, dial_handler done) {
  transport* by = nullptr;
  try {
    by = &serving(to);
  } catch (const usage_error& e) {
    l.post([done = std::move(done), why = std::string{e.what()}] { done({nullptr, why, false}); });
    return;
  }
  by->dial(l, to, limit, std::move(done));
}

} // namespace troupe
