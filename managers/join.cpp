#include "troupe/managers/join.hpp"

#include "troupe/actors/call.hpp"
#include "troupe/transport/codec.hpp"

namespace troupe {

void run_join_function(proc_id here, const join_function& f) {
  const auto failed = [&](const std::string& how) -> usage_error { return usage_error{f.label + ", given to on_join, " + how}; };
  try {
    detail::outgoing_call call{here, f.task, f.flags, [] { return std::string{"a function given to on_join"}; }};
    call.encode([&](writer& out) { out.raw(f.encoded.data(), f.encoded.size()); });
    auto done = std::make_shared<detail::future_state>();
    call.send(done, true);
    done->wait();
    done->throw_if_failed();
  } catch (const remote_error& e) {
    throw failed("threw " + e.type_name() + ": " + e.message());
  } catch (const error& e) {
    throw failed(std::string{"failed: "} + e.what());
  }
}

} // namespace troupe
