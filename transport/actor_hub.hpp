#pragma once

#include "troupe/transport/actor_codec.hpp"
#include "troupe/transport/element_id.hpp"
#include "troupe/transport/ended_actors.hpp"
#include "troupe/transport/mesh.hpp"
#include "troupe/transport/message_types.hpp"
#include "troupe/transport/open_requests.hpp"

#include <caf/actor_proxy.hpp>
#include <caf/actor_system.hpp>
#include <caf/proxy_registry.hpp>

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <vector>

namespace troupe {

class actor_hub;

/// An actor of another process. What is sent to it is encoded in the sender's thread.
class remote_proxy final : public caf::actor_proxy {
public:
  remote_proxy(caf::actor_config& cfg, actor_hub& hub, proc_id where);

  using caf::abstract_actor::enqueue;
  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit* host) override;
  bool add_backlink(caf::abstract_actor* other) override;
  bool remove_backlink(caf::abstract_actor* other) override;
  void kill_proxy(caf::execution_unit* host, caf::error reason) override;

  proc_id where() const { return where_; }

private:
  actor_hub& hub_;
  const proc_id where_;
};

/// Carries messages, monitors and links between the actors of this process and those of others.
///
/// `handle` and the functions about peers are called on the loop's thread. What senders use may be called from any.
class actor_hub final : public caf::proxy_registry::backend, public actor_codec {
public:
  /// Runs a function soon, on a thread where users' code may run, in no particular order.
  using runner = std::function<void(std::function<void()>)>;

  /// Sends as mesh::send does, once there is room where the calling thread may wait for it.
  using sender = std::function<std::optional<error_info>(proc_id to, frame_builder& f, urgency u, flow of)>;

  actor_hub(caf::actor_system& system, loop& l, mesh& m, runner elsewhere, sender send);
  ~actor_hub() override;

  /// The name of a process of this cluster in CAF's terms. The same on every process.
  static caf::node_id node_of(std::uint64_t cluster, proc_id id);

  /// Takes a frame of one of the kinds from `message` on. Throws codec_error for one that can't be read.
  void handle(proc_id from, frame_view& f);

  void peer_up(proc_id id, const hello& h);
  /// Ends the proxies of a process, and answers what its actors were asked.
  void peer_lost(proc_id id, const error_info& why);
  /// Answers what was asked of a process that can't be reached; its proxies stay.
  void peer_unreachable(proc_id id, const error_info& why);

  /// Makes an actor of this process known to others, and keeps it until it ends.
  void publish(const caf::strong_actor_ptr& local);

  /// Where the elements of arrays are to be found that live here; must outlive the hub. Before the first message.
  void set_elements(own_elements* elements) { elements_ = elements; }

  /// A handle of an actor on another process (or this one) by its id.
  caf::strong_actor_ptr actor_at(proc_id where, caf::actor_id id);

  /// The process of an actor. The handle must not be null.
  proc_id where_is(const caf::strong_actor_ptr& handle) const;

  /// From here on nothing is sent. Ends all proxies.
  void close();

  caf::proxy_registry& proxies() { return proxies_; }

  // actor_codec
  void write(writer& out, const caf::strong_actor_ptr& handle) override;
  caf::strong_actor_ptr read(reader& in) override;

  // caf::proxy_registry::backend
  caf::strong_actor_ptr make_proxy(caf::node_id node, caf::actor_id id) override;
  void set_last_hop(caf::node_id*) override {}

private:
  friend class remote_proxy;

  struct address {
    proc_id where = 0;
    caf::actor_id id = 0;
  };

  // What is known of a process, and what it has sent that waits to be read where users' code may run.
  struct peer {
    std::vector<const message_type*> types; // loop thread writes before the first frame is handled
    std::mutex mutex;
    std::deque<frame_view> inbox;
    bool reading = false;
    // where its messages are read
    caf::strong_actor_ptr last_sender;
  };
  using peer_ptr = std::shared_ptr<peer>;

  peer_ptr peer_of(proc_id id);
  const caf::node_id& node(proc_id id);

  void send_message(remote_proxy& to, caf::mailbox_element& what);
  void encode(frame_builder& f, remote_proxy& to, caf::mailbox_element& what);
  void note_request(remote_proxy& to, const caf::mailbox_element& what);
  void send_control(frame_kind kind, proc_id to, caf::actor_id a, caf::actor_id b);

  static bool runs_user_code(const frame_view& f, const peer& p);
  void read_inbox(proc_id from, const peer_ptr& p);
  void read_frame(proc_id from, peer& p, frame_view& f);
  caf::strong_actor_ptr sender_of(proc_id from, peer& p, address a);
  void read_message(proc_id from, peer& p, reader in, credit paid);
  void read_watch(proc_id from, reader in);
  void read_down(proc_id from, peer& p, reader in);
  void read_link(proc_id from, reader in, bool on);
  void read_moved(reader in);
  void announce_end(proc_id to, caf::actor_id id, const caf::error& reason);
  void answer_open_requests(proc_id id, const caf::error& reason);
  address read_address(reader& in);
  caf::strong_actor_ptr resolve(address a);
  caf::strong_actor_ptr own(caf::actor_id id) const;
  std::optional<caf::error> reason_of(caf::actor_id id) const;

  static std::atomic<std::uint64_t> last_serial_;

  const std::uint64_t serial_ = ++last_serial_; // of the hubs of this process
  caf::actor_system& system_;
  loop& loop_;
  mesh& mesh_;
  runner elsewhere_;
  sender send_;
  caf::proxy_registry proxies_;
  own_elements* elements_ = nullptr;
  open_requests open_requests_;
  ended_actors ended_;
  std::shared_mutex peers_mutex_; // guards peers_, nodes_ and ids_; nothing else is locked while it is held
  std::map<proc_id, peer_ptr> peers_;
  std::map<proc_id, caf::node_id> nodes_;
  std::unordered_map<caf::node_id, proc_id> ids_; // the other way round
  std::atomic<bool> closed_{false};
};

/// The reason that monitors of actors on a lost process see: exit_reason::remote_link_unreachable, with the story as context.
caf::error lost_reason(const error_info& why);

} // namespace troupe
