// A session's hold on one server: leases it, brings it to the session's state, passes requests in
// and replies out, and gives it back as soon as nothing ties the two together.
//
//   client frame --> request() --> [rename, remember] --> server
//   client       <-- [forward or swallow, learn]      <-- server
//
// Owned by a conversation, on its worker's thread. One link speaks to one server at a time; over
// its life it may use many.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "protocol/frontend.h"
#include "proxy/pool/pool.h"
#include "proxy/session/session_state.h"
#include "router/type_map.h"

namespace pgshunt {

class Session;
class ServerLink;

// What a conversation learns from its link.
class LinkOwner {
 public:
  // The link got its server and is ready for requests.
  virtual void on_link_ready(ServerLink& link) = 0;
  // No server could be had; nothing was sent.
  virtual void on_link_refused(ServerLink& link, const Error& error) = 0;
  // The server went away with requests or state of ours. `in_transaction`: work was lost with it.
  virtual void on_link_broken(ServerLink& link, const Error& error, bool in_transaction) = 0;
  // A ReadyForQuery answered one of the client's requests. It was forwarded unless the link
  // withholds them. The link may have given its server back.
  virtual void on_link_request_done(ServerLink& link) = 0;
  // The server's queue has room again.
  virtual void on_link_drained(ServerLink& link) = 0;
  // DISCARD ALL was done there.
  virtual void on_link_discarded(ServerLink&) {}
  // The link is about to wait for a server.
  virtual Urgency urgency_of(const ServerLink&) { return 0; }

 protected:
  ~LinkOwner() = default;
};

class ServerLink final : public LeaseWaiter, public BackendDriver {
 public:
  enum class Take : std::uint8_t {
    kDone,     // the frame was taken
    kWait,     // not taken: show it again after on_link_ready()
    kInvalid,  // not taken: the client broke the protocol, error() says how
  };

  ServerLink(Session& session, LinkOwner& owner, Pool& pool);
  ~ServerLink();
  ServerLink(const ServerLink&) = delete;
  ServerLink& operator=(const ServerLink&) = delete;

  // True if a server stands ready in the session's state; otherwise asks for one, and
  // on_link_ready() or on_link_refused() follows in a later turn.
  bool acquire();
  bool held() const { return backend_ != nullptr; }
  // Requests can be taken (those behind a probe wait for its answer on the server).
  bool ready() const { return stage_ == Stage::kReady || stage_ == Stage::kProbing; }
  bool waiting() const { return waiting_in() != nullptr; }
  // If it waits: for one more than there may be.
  void wait_beyond_limits() {
    if (waiting()) pool_.serve_beyond_limits(*this);
  }
  // The server has been asked what the session has left there: the session is resumed when it has
  // answered.
  bool waits_for_probe() {
    request_waits_ |= stage_ == Stage::kProbing;
    return stage_ == Stage::kProbing;
  }
  // The same, if the answer may change the session's settings.
  bool waits_for_state() { return server_state_ != nullptr && waits_for_probe(); }
  Backend* backend() const { return backend_; }
  Pool& pool() const { return pool_; }

  // One complete message of the client, any type but Terminate and the login's. `frame` is the
  // whole message and stays valid until flush(). `only`: what has been read of it, if it is a query
  // of one statement and has been read already.
  Take request(const FrameHeader& header, std::string_view frame,
               const StatementEffects* only = nullptr);
  // A LISTEN is passed on only once notifications reach us: from its completion on the client
  // counts on them.
  Take hear_channel(std::string_view channel);
  // A CopyData frame that is too large to wait for comes in pieces. The server is ours until the
  // last of them, whatever it answers meanwhile: to it, what comes next is the rest of the frame.
  void begin_pass(std::size_t frame_size) { passing_in_ = frame_size; }
  void pass(std::string_view bytes);
  // Answers a request with an error in its place in the pipeline: what follows is skipped, what
  // went before is undone with the pipeline. Only when link is busy(). kInvalid if that cannot be
  // done (a simple query behind a pipeline without its Sync).
  Take refuse(const Error& error, bool simple);
  // Makes the open transaction block fail.
  void fail_transaction();
  void stop_waiting();
  // What the client waited for when the link broke, and whether it has been told of an error since
  // its last ReadyForQuery.
  const ResponseTracker::Owed& owed() const { return owed_; }
  bool told() const { return told_; }
  // Sends what request() gathered. Before the frames' memory goes away.
  void flush();
  const Error& error() const { return error_; }

  // A query of the proxy's own whose replies the client never sees.
  void inject(std::string_view sql);

  // The client is gone: gives the server back clean or closes it, so that nothing of ours reaches
  // the next client.
  void abandon();
  // A transaction that the client knows nothing of is rolled back, with the cursors it has left,
  // and the server goes to its pool.
  void end_own_transaction();
  // Gives the server back if nothing ties it to us.
  void release_if_free();
  // The client's output has room again, or has none.
  void pause_replies();
  void resume_replies();

  TransactionStatus transaction() const {
    return backend_ ? backend_->transaction : TransactionStatus::kIdle;
  }
  bool busy() const { return backend_ && (!backend_->tracker.empty() || !out_.empty()); }
  // Messages of a pipeline have been taken whose Sync is still to come.
  bool pipeline_open() const { return backend_ && backend_->tracker.pipeline_open(); }
  void cancel_request();

  // Ends a part of a pipeline with a Sync the client has not sent; its ReadyForQuery is swallowed.
  void sync_silently();
  // Has a request failed since the last ReadyForQuery the client saw? Asked once.
  bool take_failure() { return std::exchange(failed_, false); }
  // A FanOut is about to run a statement of the client's here: what the routines it calls leave
  // behind is looked for when the server is to be given back. `may_define`: it may change routines.
  void note_driven(std::string_view sql, bool may_define);
  void note_driven(const Statement& statement, bool may_define);
  // Since the last probe something has run here that may have changed the session's settings
  // unseen.
  bool may_have_set() const { return (pin_candidates_ & kEffectOpaque) != 0; }
  // It has driven this link's server: back to normal.
  void take_over_again();
  // ... and has lost it.
  void forget_server(std::string_view why);
  // Replays what the session has set since this link got its server (on another shard).
  bool catch_up_settings();
  // What the server has of this setting is not known: it is told anew when it catches up.
  void doubt_setting(std::string_view name);

  // The server's types have other OIDs than the client knows: requests and replies are translated.
  // Null: they have not.
  void set_types(const std::shared_ptr<const TypeMap>& types) {
    if (types_ != types) types_ = types;
  }
  const std::shared_ptr<const TypeMap>& types() const { return types_; }
  // Declared types of parameters, as the server knows them. Valid until the next call.
  std::span<const std::uint32_t> server_types(const std::vector<std::uint32_t>& types);

  // Sharded sessions answer ReadyForQuery themselves, once for all shards.
  void withhold_ready(bool on) { withhold_ready_ = on; }

  // LeaseWaiter
  void on_lease(Backend& backend) override;
  void on_lease_failed(const Error& error) override;
  const NameValuesPtr& wanted_settings() const override;
  Urgency urgency() override { return owner_.urgency_of(*this); }
  // BackendDriver
  std::size_t on_backend_bytes(Backend& backend, std::string_view bytes) override;
  void on_backend_lost(Backend& backend, const Error& error) override;
  void on_backend_drained(Backend& backend) override;
  void on_cancels_settled(Backend& backend) override;

 private:
  enum class Stage : std::uint8_t {
    kNone,       // no server
    kPreparing,  // replaying the session's settings
    kReady,
    kProbing,  // asking the server what still ties it to the session
  };

  // What a request's completions do, in order; matched to its replies by tag.
  struct EffectGroup {
    std::uint32_t tag = 0;
    std::size_t next = 0;
    std::vector<CompletionEffect> effects;
  };

  // A statement that is being made on the server, or closed there, and the segment of the client's
  // pipeline that this is part of: until it is answered, other segments cannot count on it.
  struct Preparing {
    std::uint64_t id = 0;
    std::uint64_t segment = 0;
    bool closes = false;
  };
  // Where do preparations of ours go: into the client's pipeline, or before it with a Sync of their
  // own?
  enum class Place : std::uint8_t { kInPipeline, kBefore };

  // requests, server_link_requests.cc
  Take request_unchanged(char type, std::string_view frame);
  Take request_query(std::string_view frame, std::string_view body, const StatementEffects* only);
  Take request_special_query(std::string_view sql, std::size_t count);
  bool answer_locally(const StatementEffects& only);
  Take invalid(const Error& error);
  Take wait();
  bool fences(Verb verb) const;
  bool in_pipeline() const;
  bool returns_to_startup(char type, std::string_view body) const;
  Take request_in_session_mode(char type, std::string_view frame, std::string_view body);
  Take execute_return(std::string_view frame, CompletionEffect effect);
  bool fence_passed();
  bool may_proceed(std::uint32_t effects);
  bool may_pin(std::uint32_t effects);
  bool may_begin(Verb verb);
  void note_effects(Verb verb, std::uint32_t effects);
  std::uint32_t next_group_tag();
  void answer_due_locals();
  void append_verbatim(std::string_view bytes);
  std::string& rewritten();  // where to append a message that replaces the client's

  // the extended protocol, server_link_extended.cc
  Take request_parse(std::string_view frame, std::string_view body);
  Take request_parse_unnamed(std::string_view frame, const ParseView& parse);
  Take request_bind(std::string_view frame, std::string_view body);
  Take request_describe(std::string_view frame, std::string_view body);
  Take request_execute(std::string_view frame, std::string_view body);
  Take request_close(std::string_view frame, std::string_view body);
  Take need_statement(std::string_view name, const Statement*& statement,
                      const CompletionEffect*& effect);
  void note_result_formats(const FormatList& formats);
  const Statement* look_up_again(const Statement& statement);
  void look_up_unnamed_again();
  void remember_portal(std::string_view portal, const CompletionEffect& effect);

  // prepared statements, server_link_statements.cc
  bool unanswered(const Statement& statement) const;
  void ensure_prepared(const Statement& statement, Place place, std::size_t keep = 0);
  void change_settings(const NameValues& from, const NameValues& to, std::uint32_t ahead);
  void set_local_strings(bool conforming, std::uint32_t ahead);
  void run_silently(std::string_view sql, std::uint32_t tag);
  void parse_again(const Statement& statement, ChangeTag change);
  void close_own_statement();
  void make_room_for_statement(std::size_t keep = 0);
  void begin_preparing(std::uint64_t id);
  std::uint64_t end_preparing(std::uint64_t id, bool closes = false);
  std::uint64_t unnamed_key() const;
  void begin_unnamed();
  void ensure_unnamed();
  Status change_name(CompletionEffect& effect, std::size_t keep = 0);
  void undo_request(const Request& request);
  void undo_change(ChangeTag change);
  void undo_group(std::uint32_t tag);
  void forget_requests();

  // replies, server_link_replies.cc
  void translate_reply(char type, std::string_view body, std::uint32_t hidden, bool& forward);
  bool handle_reply(char type, std::string_view body, bool& forward);
  void on_ready_for_query(std::string_view body, const Reply& reply, bool& forward);
  void on_command_complete(std::string_view body, const Reply& reply, bool& forward);
  void roll_back_settings();
  void on_request_error(std::string_view body, const Reply& reply, bool& forward);
  void replace_error(std::string_view body, const Reply& reply, bool& forward);
  std::string renamed_error(std::string_view body) const;
  void apply(const CompletionEffect& effect);
  void drop_group(std::uint32_t tag);
  void on_completed(const Request& request);
  void append_due_local();
  void settle_transaction();
  bool may_leave_traces() const;
  void lose_pins();
  void probe();
  void read_probe_row(std::string_view body);

  // routines, server_link_routines.cc
  std::uint32_t effects_of_query(std::string_view sql, std::uint32_t effects);
  std::uint32_t effects_of_statement(const Statement& statement);
  std::uint32_t effects_of_unnamed();
  std::uint32_t known_effects(std::uint32_t effects, const RoutineEffects* routines) const;
  void note_ddl(Verb verb, std::string_view sql);
  std::string state_query() const;
  void read_state_row(const std::vector<std::string_view>& row);
  void adopt_state();

  void take(Backend& backend);
  void prepare_backend();
  void become_ready();
  void tell_parameters();
  void give_up_backend();

  // Tags of requests, by kind:
  //   kLocal           a change of name << 2, and which of these two replies
  static constexpr std::uint32_t kLocalParseComplete = 1;
  static constexpr std::uint32_t kLocalCloseComplete = 2;
  //   kParse           forwarded: its change of name; of the unnamed statement: kUnnamed | its tag
  static constexpr std::uint32_t kUnnamed = 1u << 31;
  //   kParse, kExecute, kClose    swallowed: the statement's id, and kAhead if a Sync of ours
  //   follows
  static constexpr std::uint32_t kAhead = 1u << 31;
  //   kExecute         swallowed: a SET of ours instead of a statement's id
  static constexpr std::uint32_t kStep = (1u << 31) - 1;
  //   kQuery, kExecute  forwarded: the group of effects, or a refusal of ours
  static constexpr std::uint32_t kLocalRefusal = 1;
  static constexpr std::uint32_t kFirstGroup = 2;

  std::shared_ptr<const TypeMap> types_;
  std::vector<std::uint32_t> server_types_;
  // Of the rows that follow, if they have OIDs inside; as the server sent it.
  std::string row_description_;
  bool binary_results_ = false;  // a Bind since this server was taken has asked for some

  Session& session_;
  SessionState& state_;
  LinkOwner& owner_;
  Pool& pool_;
  Backend* backend_ = nullptr;
  Stage stage_ = Stage::kNone;
  Error error_;

  // Requests gathered in this turn: rewritten bytes, then a verbatim range of the client's.
  std::string& out_;
  std::string_view verbatim_;

  std::deque<EffectGroup> groups_;
  // Portals whose execution changes the session.
  std::unordered_map<std::string, CompletionEffect> portals_;
  // Session mode: statements that return to the startup packet's values.
  std::unordered_map<std::string, CompletionEffect> returns_;
  // What the server had prepared before the DISCARD ALL that is under way in a pipeline.
  std::unique_ptr<PreparedOnServer> discarded_;
  std::uint32_t last_tag_ = kFirstGroup;
  std::uint64_t segment_ = 0;         // counts the client's Syncs and queries
  std::vector<Preparing> preparing_;  // oldest first
  // Parses of the unnamed statement that are unanswered, and the segment of the last one.
  std::uint32_t unnamed_unanswered_ = 0;
  std::uint64_t unnamed_segment_ = 0;
  std::string substitute_;            // an error of ours in the name of the query behind it
  std::uint32_t pin_candidates_ = 0;  // effects of requests since the last idle moment
  // Of the session's pins those that stand on this server, which is not given back with them: a
  // hint may leave some on any shard.
  std::uint32_t pins_here_ = 0;
  Error refusal_;             // answered when its turn comes
  bool replacement_ = false;  // client_out() holds a reply that replaces the last one
  ResponseTracker::Owed owed_;
  bool told_ = false;
  // A query with DISCARD ALL is under way. What follows waits for its answer, since the startup
  // packet's values have to be set again.
  bool fence_ = false;
  std::size_t passing_in_ = 0;  // of the frame that comes in pieces, what is missing still
  bool request_waits_ = false;
  bool withhold_ready_ = false;
  bool failed_ = false;  // an error since the last ReadyForQuery
  bool ddl_ = false;     // routines or their triggers may have changed in this transaction
  // The probe under way asks for the session's whole state, and what it has said so far.
  struct ServerState {
    struct Setting {
      std::string name;
      std::string statement;  // empty: its default holds
    };
    std::vector<Setting> settings;
    std::vector<std::string> channels;
    std::uint32_t pins = 0;
    bool statements_gone = false;
  };
  std::unique_ptr<ServerState> server_state_;
  Error preparing_error_;  // why the settings could not be replayed
};

}  // namespace pgshunt
