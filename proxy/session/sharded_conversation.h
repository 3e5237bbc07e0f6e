// A client of a sharded database: every statement is routed first, then runs on the one shard, or
// fans out.
//
// The client's requests are served strictly one after the other, in units: a simple query, or the
// messages of the extended protocol up to a Sync or Flush. A unit that needs servers which are not
// free yet is left unconsumed and looked at again when they are, so a unit has no state of its own
// while it waits.
//
// Transactions are lazy: BEGIN is answered here and reaches a shard with the first statement that
// runs there. The shards of a transaction end it together.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "proxy/auth/credentials.h"
#include "proxy/session/commit_coordinator.h"
#include "proxy/session/conversation.h"
#include "proxy/session/copy_in.h"
#include "proxy/session/cursor_run.h"
#include "proxy/session/explain_route.h"
#include "proxy/session/fan_out.h"
#include "proxy/session/insert_select_run.h"
#include "proxy/session/key_inquiry.h"
#include "proxy/session/merge_run.h"
#include "proxy/session/open_cursors.h"
#include "proxy/session/server_link.h"
#include "proxy/session/session_hints.h"
#include "proxy/session/shard_transaction.h"
#include "proxy/session/tracked_search_path.h"
#include "router/router.h"

namespace pgshunt {

struct CursorCommand;
struct ExplainRequest;

class ShardedConversation final : public Conversation,
                                  public LinkOwner,
                                  public FanOutOwner,
                                  public CopyInOwner,
                                  public CommitOwner,
                                  public StatementPlanner {
 public:
  ShardedConversation(Session& session, const ServerCredentials& credentials);
  ~ShardedConversation() override;

  std::size_t on_client_bytes(std::string_view bytes) override;
  void on_client_slow(bool slow) override;
  void deliver(std::string_view message) override;
  void on_cancel() override;
  bool idle() const override;
  bool idle_in_transaction() const override;
  TimePoint waiting_since() const override;
  TimePoint request_since() const override;
  void give_up_waiting(const Error& error) override;
  void describe_locks(SessionLocks& out) const override;
  void wait_beyond_limits() override;
  std::string server_address() const override;

  void on_link_ready(ServerLink& link) override;
  void on_link_refused(ServerLink& link, const Error& error) override;
  void on_link_broken(ServerLink& link, const Error& error, bool in_transaction) override;
  void on_link_request_done(ServerLink& link) override;
  void on_link_drained(ServerLink& link) override;
  void on_link_discarded(ServerLink& link) override;
  Urgency urgency_of(const ServerLink& waiting) override;
  void on_fan_out_done(FanOut& fan_out) override;
  void on_keys_found(std::uint64_t question, std::vector<FoundKey> keys) override;
  void on_unique_ids_installed(const Status& installed) override;
  void on_copy_in_started() override;
  void on_copy_wants_keys(CopyIn& copy) override;
  Result<bool> on_copy_wants_values(const std::string& source, std::size_t count, bool more,
                                    std::vector<std::int64_t>& out) override;
  void on_copy_done(CopyFanOut& copy) override;
  void on_commit_done(CommitCoordinator& coordinator) override;

  Result<std::shared_ptr<const StatementPlan>> plan(const Statement& statement) override;
  Status rewrite(Statement& statement) override;
  bool values_are_current(const Statement& statement) override;

 private:
  // kTaken: served or under way. kWait: not consumed, show it again. kEnd: the session is over.
  enum class Verdict : std::uint8_t { kTaken, kWait, kEnd };

  Verdict serve_query(const FrameHeader& header, std::string_view frame);
  Verdict serve_routed(const FrameHeader& header, std::string_view frame, std::string_view sql,
                       const StatementEffects& statement);
  Verdict serve_several(const FrameHeader& header, std::string_view frame, std::string_view sql,
                        std::uint32_t effects);
  // `only`: what has been read of the frame, if it is a query of one statement.
  Verdict run_on_shard(ShardId shard, const FrameHeader& header, std::string_view frame,
                       const StatementEffects* only = nullptr);
  // `statement`: as the client wrote it.
  Verdict run_everywhere(const Route& route, std::string_view sql, std::string_view statement,
                         std::uint32_t effects);
  Verdict control_transaction(const StatementEffects& statement);
  bool no_late_cancels();
  Verdict tell_transaction(std::string_view sql, std::string_view tag);
  Verdict say_to_transaction(const StatementEffects& statement);
  bool can_be_said();
  void note_local_strings();
  Verdict end_transaction(bool commit, bool chain);
  void settle_session(bool commit);
  void finish_transaction(bool failed, bool committed);
  Verdict end_implicit_transaction();
  Verdict sync();
  Verdict refuse(const Error& error);
  std::size_t flush_copy(std::size_t consumed);

  // COPY over several shards, sharded_copy.cc.
  Verdict run_copy(const Route& route, std::string_view sql);
  Verdict copy_query(const Route& route, std::string_view sql, std::uint32_t effects,
                     std::string preface);
  void begin_copy(const Route& route, std::span<const ShardId> shards, std::string_view sql);
  std::size_t serve_copy(std::string_view bytes);

  Verdict serve_statement(const FrameHeader& header, std::string_view frame, std::string_view sql,
                          const StatementEffects& statement);

  Verdict serve_plain(const FrameHeader& header, std::string_view frame, std::string_view sql,
                      const StatementEffects& statement);

  // PREPARE and its kin, sharded_prepared.cc.
  std::optional<Verdict> serve_prepared(const FrameHeader& header, std::string_view frame,
                                        const StatementEffects& statement);
  Verdict execute_prepared(const StatementEffects& execute);

  // EXPLAIN (PGSHUNT), sharded_explain.cc.
  // What it is by the extended protocol: a portal, which has its rows once it has run.
  struct ExplainPortal {
    StatementPtr statement;
    std::string bind;  // the body of the Bind
    std::optional<std::vector<std::string>> rows;
    std::size_t next_row = 0;
  };
  // One Execute of it.
  struct ExplainExecution {
    const Statement& prepared;
    BindView bind;
    ExecuteView execute;
  };
  // ANALYZE: its shards are at it.
  struct Analysis {
    ExplainedRoute explained;
    TimePoint since{};
    std::optional<std::string> portal;  // nothing: a simple query
    std::uint32_t max_rows = 0;
  };
  Result<std::shared_ptr<const StatementPlan>> plan_explain(const Statement& statement,
                                                            const ExplainRequest& explain);
  bool rewrite_explain(Statement& statement);
  Verdict explain_statement(const ExplainRequest& request, std::uint32_t effects);
  Verdict explain_by_server(std::string_view sql);
  Verdict execute_explain(const ExecuteView& execute);
  // `execution`: null for a simple query.
  Verdict explain(const ExplainRequest& request, const Route& route, std::uint32_t effects,
                  const ExplainExecution* execution);
  Verdict analyze(const ExplainRequest& request, ExplainedRoute explained, const Route& route,
                  std::span<const ShardId> route_shards, const ExplainExecution* execution);
  Verdict analyze_merge(const ExplainRequest& request, ExplainedRoute explained, const Route& route,
                        std::uint32_t effects, const ExplainExecution* execution);
  static void append_portion(std::string& out, ExplainPortal& portal, std::uint32_t max_rows);
  std::string analyzed_reply(const FanOut& fan_out);

  // Messages of several statements, sharded_script.cc.
  struct Script {
    std::vector<std::string> statements;
    std::size_t next = 0;
    bool failed = false;
  };
  Verdict begin_script(std::string_view sql);
  Verdict continue_script();
  void script_step_done(bool failed);
  Verdict end_script();

  // Commands on all shards, sharded_commands.cc.
  bool out_of_place(Alike alike) const;
  Verdict command_on_shards(const Route& route, const FrameHeader& header, std::string_view frame,
                            std::string_view sql);
  void end_one_by_one(const Error& error, std::string_view reply, std::size_t done);
  void catalog_changed();

  // Writes of several shards, sharded_writes.cc.
  std::optional<Verdict> hold_writes(std::span<const ShardId> shards);
  Verdict write_on_shards(std::vector<ShardId> shards, bool fixes_moment,
                          std::vector<std::string> texts, FanOutPlan plan);
  // The same up to a fan_out_ that has not been given anything to send; none if it was refused.
  Verdict begin_write(std::vector<ShardId> shards, bool fixes_moment, FanOutPlan plan);
  void end_write(bool failed, std::string reply);
  FixedMoments moments() const;
  static void tell_moments(std::span<ServerLink* const> links, const FixedMoments& moments);
  void tell_moment(std::span<ServerLink* const> links) const { tell_moments(links, moments()); }
  // `prefix`: what goes before the text of each.
  std::vector<FanOutShare> shares_of(const Route& route, const BindView& bind,
                                     const Statement& prepared, std::string_view result_formats,
                                     std::string_view prefix = {});

  // Updates of shard keys, sharded_moves.cc.
  struct Move {
    enum class Step : std::uint8_t { kUpdate, kDelete, kInsert };
    Step step = Step::kUpdate;
    std::shared_ptr<const MovePlan> plan;
    ShardId from = 0;
    ShardId to = 0;
    bool alone = false;  // outside of any transaction
    FanOutPlan insert;   // what of the INSERT's reply the client wants
    std::string insert_sql;
    std::uint64_t rows = 0;
  };
  std::optional<Verdict> begin_move(const Route& route);
  // May rows be read here and be written elsewhere under the session's settings?
  Status check_rows_read_as_written() const;
  FanOutPlan plan_of_move() const;
  Verdict move_rows(const Route& route, std::string_view update);
  void continue_move(bool failed, std::string reply, std::uint64_t affected);
  void fail_move(std::string_view what);
  void end_move(bool failed, std::string reply);

  // INSERT ... SELECT whose rows go through the proxy, sharded_inserts.cc.
  // The client's Bind; null: a simple query.
  std::optional<Verdict> begin_insert_select(const Route& route, std::uint32_t effects,
                                             const BindView* bind, const Statement* prepared);
  Result<Route> route_select(const InsertSelect& statement, const BindView* bind,
                             const Statement* prepared);
  Verdict insert_selected(const Route& route, std::uint32_t effects);
  void open_select(FanOutPlan asked);
  void selected_at_merge_node();
  void continue_insert_select();
  void insert_select_step_done(FanOut& fan_out, const std::string& complaint);
  void fetch_selected();
  bool name_types();
  void take_type_names(std::string_view rows);
  Status prepare_insert();
  bool fill_batch();
  bool place_batch();
  void store_batch();
  void store_nothing();
  void send_inserts(std::vector<ServerLink*> links, std::vector<std::string> texts,
                    FanOutPlan plan);
  void take_stored(const FanOut& fan_out);
  void end_insert_select(bool failed, std::string reply);

  // SELECTs that the merge node runs, sharded_merges.cc.
  ShardId merge_shard() const;
  ServerLink& merge_link();
  std::optional<Verdict> prepare_merge(const Route& route, std::uint32_t effects,
                                       const BindView* bind, const Statement* prepared);
  bool may_be_by_groups(const MergeNodePlan& plan, const BindView* bind, const Statement* prepared);
  Verdict select_at_merge_node(const Route& route, std::uint32_t effects);
  bool merge_instead();
  void begin_merge(FanOutPlan asked);
  void ask_for_shapes();
  void make_tables();
  void bring_rows();
  void rows_brought(CopyFanOut& feed);
  void note_brought(const std::vector<std::uint64_t>& rows);
  void run_at_merge_node();
  void declare_at_merge_node(const std::string& query);
  void merge_step_done(FanOut& fan_out, const std::string& complaint);
  void end_merge(bool failed, std::string reply);

  // Cursors and portals that stay open, sharded_cursors.cc and sharded_portals.cc.
  // Servers of the merge node that are kept for one have numbers behind those of all shards.
  static constexpr ShardId kKeptServers = 0x8000;
  // What a FETCH by the extended protocol is answered with.
  struct FetchWanted {
    bool describe = true;
    FormatList formats;
  };
  ShardId keep_merge_server();
  void release_kept_servers();
  bool is_kept(const ServerLink& link) const;
  void kept_server_failed(const ServerLink& link);
  std::vector<ServerLink*> servers_to_hold();
  void hold_cursors(std::vector<ServerLink*> links);
  void cursors_held(const std::string& complaint);
  Result<Route> route_inside(std::string_view query, const BindView* bind,
                             const Statement* prepared);
  static Status check_no_parameters(std::string_view query);
  Status may_declare(const CursorCommand& command);
  Status free_cursor_name(std::string_view name);
  std::string next_cursor_name();
  Verdict declare_cursor(std::string_view text, std::uint32_t effects, const BindView* bind,
                         const Statement* prepared, std::string_view preface);
  void open_on_shards(CursorOpening opening, std::string_view shard_text, const BindView* bind,
                      const std::vector<std::uint32_t>& types);
  void declare_on(std::vector<ServerLink*> links, std::string cursor, std::string text,
                  const BindView* bind, const std::vector<std::uint32_t>& types);
  void cursor_step_done(FanOut& fan_out, const std::string& complaint);
  void cursor_opened_at_merge_node(const std::string& description);
  void cursor_is_open();
  void note_declared(std::string_view text, ShardId server);
  OpenCursor* cursor_of(const Statement& statement);
  Status check_view_of_cursors(std::string_view text);
  std::string output_settings() const;
  Status check_looks(const OpenCursor& cursor) const;
  bool closes_all(const Statement& statement) const;
  bool is_taken_cursor(const Statement& statement);
  std::optional<Verdict> serve_cursor_command(const FrameHeader& header, std::string_view frame,
                                              const StatementEffects& statement);
  Verdict run_cursor_command(const CursorCommand& command, std::string_view preface,
                             const FetchWanted* asked);
  Status fetch_in(MergedCursor& cursor, const std::string& formats);
  void continue_fetch();
  void fetch_portion();
  void drop_cursor(std::string_view name);
  Verdict close_cursor(std::string_view name, std::string_view preface);
  Verdict close_all_cursors(std::string_view preface);

  // Values made for INSERTs, sharded_ids.cc.
  // What the messages at the front of the client's bytes have become with their values; empty: they
  // have none, or have not been looked at.
  struct GivenMessages {
    std::string bytes;
    std::vector<std::pair<std::size_t, std::size_t>> ends;  // of each message: here, the client's

    bool empty() const { return bytes.empty(); }
    // Drops so many of these bytes; returns how many of the client's that are.
    std::size_t consume(std::size_t size);
  };
  std::function<void()> resuming();
  Result<bool> draw_ids(std::span<const std::string> sources, std::vector<std::int64_t>& out);
  Status want_unique_id_function();
  Status place_values(Statement& statement);
  bool lacks_unique_id_function(const Statement& statement);
  void stop_waiting_for_ids();
  Verdict make_values(const Route& route, std::string_view before, std::string_view behind);
  Verdict serve_given_query();
  Result<StatementPtr> with_current_values(std::string_view name, const StatementPtr& statement);
  std::optional<Status> give_values_to_batch(std::string_view batch);

  // Extended protocol, sharded_batch.cc. A batch (the messages up to a Sync or Flush) is served in
  // parts: runs of messages that go the same way.
  struct Part;
  Verdict serve_batch(std::string_view batch, std::size_t& taken);
  Verdict serve_messages(std::string_view batch, std::size_t& taken);
  Result<Part> next_part(std::string_view batch);
  StatementPtr find_statement(std::string_view name) const;
  StatementPtr statement_in(const Part& part, std::string_view name) const;
  static Status check_parsed_now(const Route& route, const Part& part,
                                 const StatementPtr& statement);
  std::optional<ShardId> home_of(const StatementPtr& statement);
  StatementPtr under_search_path(std::string_view name, StatementPtr statement);
  Status remember_statement(const ParseView& parse);
  void close_statement(std::string_view body);
  Result<Route> route_bind(const BindView& bind, const Statement& statement);
  Verdict serve_part(const Part& part, std::string_view messages);
  Verdict part_on_shard(const Part& part, std::string_view messages);
  Verdict part_everywhere(const Part& part, std::string_view messages);
  Verdict part_of_control(const Part& part, std::string_view messages);
  // Portals of several servers, sharded_portals.cc.
  void note_bound(const Part& part, const BindView& bind, ShardId server);
  void note_portal(std::string_view name, OpenCursor::Place place, ShardId server);
  Status check_parses(std::string_view messages);
  Result<std::string> serve_parses(std::string_view messages);
  Verdict open_portal(const Part& part, std::string_view messages);
  Verdict part_of_portal(std::string_view messages);
  Verdict execute_portal(std::string_view name, std::uint32_t max_rows);
  Verdict part_of_declare(const BindView& bind, const Statement& prepared,
                          std::string_view messages, const FanOutPlan& plan);
  Verdict part_of_cursor(const Part& part, std::string_view messages);
  void describe_cursor_command(const CursorCommand& command, std::string& out);
  void gather_lookups(std::string_view rest, Part& part);
  Status look_at_explain(std::string_view portal, Part& part);
  void note_explain_portals(const Part& part, std::string_view messages);
  Verdict refuse_batch(const Error& error, std::string_view batch, std::size_t& taken);

  // What a statement needs before it runs, sharded_servers.cc.
  // Catalogs: is what is known of them enough to route by, and to run on `shard`? False: the unit
  // waits, as it would for a server.
  bool catalog_ready();
  bool catalog_ready(ShardId shard);
  bool wait_for_catalog();
  // DDL is being served: the next statement waits until what it did is known.
  void note_ddl() { ddl_ = true; }
  void settle_ddl(bool failed);
  const std::string& catalog_name() const;

  // The links to `shards`, ready and inside the session's transaction; false while any of them
  // has to be waited for.
  bool acquire(std::span<const ShardId> shards);
  ServerLink& link(ShardId shard);
  ShardId home_shard() const { return 0; }
  ShardId any_shard(std::uint32_t effects) const;
  ShardId shard_of(const Route& route, std::uint32_t effects) const;

  // Keys of directory keyspaces, sharded_keys.cc.
  Result<Route> route(std::string_view sql, const RouterSession& session);
  Status want_keys(std::span<const KeyLookup> lookups);
  Verdict look_up_keys(std::span<const KeyLookup> lookups);
  void give_up_keys(const Error& error);

  // Writes on several shards, sharded_commit.cc.
  // Nothing: the open transaction may write on these shards. Otherwise what has become of the unit.
  std::optional<Verdict> hold_write(std::span<const ShardId> shards);
  void note_write(ShardId shard, bool writes);
  bool in_two_phases() const;
  void begin_commit(const std::vector<ServerLink*>& links, bool all_wrote, bool first_last);

  // A statement begins that is several, one after the other, on its servers: what the session and
  // the configuration say of its time is about all of them.
  void begin_steps();
  void end_steps();
  Error canceled() const;
  // The same in place of what a server says that has been canceled.
  std::string why_failed(std::string complaint) const;

  // Servers are at work for the client, or will be again before it is its turn.
  bool under_way() const {
    return running_ || fan_out_ || copy_ || commit_ || insert_select_ || merge_instead_ || fetch_;
  }
  std::vector<ServerLink*> enlisted_links();
  // Good until the next call.
  const RouterSession& router_session();
  RouterSession read_router_session();
  // May a statement about the session's settings, SHOW among them, be served?
  Status check_setting(std::string_view name, Verb verb, std::string_view statement);
  // A statement about a setting of the proxy's own (session_hints.h) may say what it says.
  Status check_hint_setting(std::string_view name, Verb verb, std::string_view statement);
  void end_locals(std::string_view name, Verb verb, std::string_view value);
  // What all shards of the transaction have of these is not known.
  void doubt_settings(const std::set<std::string, std::less<>>& names);
  TransactionStatus status() const;
  void reply(std::string_view tag);
  void begin_write_everywhere(const std::vector<ServerLink*>& links, std::int64_t lock);
  void begin_fan_out(std::vector<ServerLink*> links, FanOutPlan plan, std::string_view sql);
  void release_all();
  void unit_done(bool failed);
  void fail_waiting(const Error& error);

  Session& session_;
  Worker& worker_;
  ServerCredentials credentials_;
  Router& router_;
  std::vector<std::unique_ptr<ServerLink>> links_;  // by shard, made on first use
  std::unique_ptr<ServerLink> merge_link_;  // made on first use, beside that of the same shard
  std::vector<std::unique_ptr<ServerLink>> kept_links_;  // those that nothing needs hold no server
  // It has waited for a shard's server while it held a later one's.
  bool out_of_order_ = false;
  KeyInquiry keys_;
  ShardTransaction transaction_;
  TrackedSearchPath search_path_;
  SessionHints hints_;
  // What the last statement was routed under and what that was read from: mostly it is the next
  // one's too.
  struct RoutedUnder {
    NameValuesPtr known;  // null: not to be used again, the transaction says otherwise
    NameValuesPtr settings;
    std::shared_ptr<const Topology> topology;
    RouterSession session;
  };
  RoutedUnder routed_under_;

  std::optional<Script> script_;  // the message being served
  std::optional<Move> move_;      // the rows fan_out_ is about
  std::unique_ptr<InsertSelectRun> insert_select_;
  std::unique_ptr<MergeRun> merge_run_;
  std::optional<MergeInstead> merge_instead_;
  std::optional<CursorOpening> opening_;
  std::optional<CursorFetch> fetch_;
  TimePoint steps_since_{};
  std::unique_ptr<Timer> steps_timer_;  // made on first use
  bool timed_out_ = false;
  std::optional<Analysis> analysis_;
  ServerLink* running_ = nullptr;              // serves the unit under way
  std::unique_ptr<FanOut> fan_out_;            // or this does
  std::unique_ptr<CopyFanOut> copy_;           // or this
  CopyIn* copy_in_ = nullptr;                  // the same, if the client sends rows
  std::unique_ptr<CommitCoordinator> commit_;  // or this
  enum class After : std::uint8_t {
    kReply,
    kEndWrite,
    kMove,
    kInsertSelect,
    kMergeNode,
    kCursor,
    kHold,
    kOneByOne,
    kCommit,
    kCommitted,
    kReport,
    kEndTransaction,
  };
  After after_ = After::kReply;
  std::string pending_reply_;  // to be sent when what follows has succeeded
  std::string pending_error_;  // the same, as a message
  std::string end_reply_;      // what a silent end is followed by, if it succeeds
  bool ready_owed_ = true;     // the unit ends in ReadyForQuery
  bool forget_servers_ = false;
  TimePoint fitness_since_{};  // waits for what is to be known of a shard
  bool silent_end_ = false;    // a Sync ends it, not a command
  bool chain_ = false;         // the transaction that is ending is followed by another
  bool skipping_ = false;      // to the next Sync
  // Right behind the COPY FROM under way is a Sync, which COPY ignores once it has begun.
  bool sync_behind_copy_ = false;
  bool ignore_sync_ = false;
  std::size_t passing_ = 0;  // rest of a large CopyData message
  ServerLink* passing_to_ = nullptr;

  GivenMessages given_;
  TimePoint ids_since_{};                // waits for ids, or for the function
  std::optional<Status> ids_installed_;  // the function; not looked at yet
  bool ids_read_ = false;                // the catalogs have been read since, for this unit

  TimePoint catalog_wait_{};           // since when
  std::uint64_t catalog_awaited_ = 0;  // a generation, see CatalogReport; 0: none
  bool ddl_ = false;                   // not known to be committed yet

  std::unordered_map<std::string, ExplainPortal> explain_portals_;
  bool synced_ = false;  // since then nothing has come: portals outside of transactions are gone

  StatementPtr unnamed_;
  OpenCursors cursors_;
  std::uint64_t cursors_made_ = 0;
  std::string declaring_;           // a cursor that a server has been told to declare
  std::vector<BoundValue> values_;  // of the Bind being routed
  std::string held_;                // notifications
};

}  // namespace pgshunt
