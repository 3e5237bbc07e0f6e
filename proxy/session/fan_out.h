// One statement on several shards at once: sends it, reads every shard's replies, and makes one
// reply of them. Rows are merged as they stream, in bounded memory; a shard that is ahead waits.
//
// The links are borrowed from a conversation, which must keep them until on_fan_out_done(). All
// shards are always read to their ReadyForQuery, also after an error or a satisfied LIMIT, so that
// every server is clean afterwards.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/copy_writer.h"
#include "protocol/frontend.h"
#include "proxy/session/server_link.h"
#include "router/copy_plan.h"
#include "router/group_merger.h"
#include "router/merge_spec.h"
#include "router/row_merger.h"

namespace pgshunt {

class FanOut;

class FanOutOwner {
 public:
  // Every shard is ready again. error(): the first that went wrong, if any.
  virtual void on_fan_out_done(FanOut& fan_out) = 0;

 protected:
  ~FanOutOwner() = default;
};

struct FanOutPlan {
  enum class Use : std::uint8_t {
    kMerge,    // rows of all shards become one result, sent to the client as they come
    kAgree,    // a write every shard must do alike: the first shard's reply is kept in reply()
    kSum,      // a write of every shard to its own rows: reply() has one tag of all, and their rows
    kCommand,  // of the proxy's own (COMMIT, ROLLBACK): replies tell only whether it worked
  };
  Use use = Use::kCommand;
  // Two clients that write the same rows on all shards must meet on one of them first: no server
  // sees that one waits here and the other there.
  enum class Order : std::uint8_t {
    kTogether,
    kFirstAlone,  // the other shards hear of it when the first has done it
    kFirstLast,   // the first hears of it when the others have done it
    kAscending,   // each hears of it when those before have done it
  };
  Order order = Order::kTogether;
  MergeSpec merge;
  RowWindow window;
  // Positions in the shards' errors are the client's: all of them run its own text.
  bool clients_text = true;
  // Extended protocol: what the client is owed before the rows, and whether it asked for their
  // description.
  std::string preface;
  bool describe = true;
  // kSum: rows of RETURNING go to the client as they come, link by link, and are not in reply().
  bool streams = false;
  // kSum that does not stream: which link each row of RETURNING is from, in order; empty: link by
  // link.
  std::vector<std::uint16_t> row_order;
  // Result formats of the Bind, as sent to the shards; nothing for a simple query.
  std::optional<std::string> result_formats;
  // kSum that does not stream: rows stay where take_rows() finds them, and are not in reply().
  bool by_link = false;
  // kSum that does not stream: more of RETURNING than that is an error; 0: no limit.
  std::size_t most_bytes = 0;
  // kMerge: columns are of no table (those of the merge node are nobody's business).
  bool hides_tables = false;
  // kMerge: if rows turn out to be unmergeable(), shards in a transaction are not disturbed.
  bool may_be_unmergeable = false;
  // kSum: the reply's command; empty: the servers' own.
  std::string_view tag;
  // The client's Execute asks for no more rows than that; 0: for all.
  std::uint32_t max_rows = 0;
  // kMerge: rows go to the client as those of a COPY TO, in its format; result_formats say it too.
  std::shared_ptr<const CopyPlan> copy;
  // kSum, send_shares(): the statement declares this cursor, whose description is wanted.
  std::string declares;
};

// What one shard is to run of a statement that is another on each.
struct FanOutShare {
  StatementPtr statement;  // without a server_name it is not worth keeping there
  std::string bind;        // the Bind message
};

class FanOut final : public BackendDriver {
 public:
  // `links`: each ready, by ascending shard.
  FanOut(Session& session, FanOutOwner& owner, std::vector<ServerLink*> links, FanOutPlan plan);
  ~FanOut();
  FanOut(const FanOut&) = delete;
  FanOut& operator=(const FanOut&) = delete;

  void send_query(std::string_view sql);
  // The same with a text for each link, or one for all.
  void send_queries(std::vector<std::string> texts);
  // Parse (where `statement` is missing), Bind, Describe, Execute, Sync.
  void send_extended(StatementPtr statement, const BindView& bind);
  // The same with a statement for each link.
  void send_shares(std::vector<FanOutShare> shares, std::string_view portal);

  // The client's queue is full, or has room again.
  void client_slow(bool slow);
  void cancel();

  const Error& error() const { return error_; }
  // The same as a message for the client: with all that the shard said, such as the constraint.
  std::string error_response() const;
  bool failed() const { return failed_; }
  // It failed because nothing here knows the order of its rows; the client has been told nothing.
  bool unmergeable() const { return unmergeable_; }
  // The connection to a shard is gone: a transaction there is lost.
  bool broken() const { return broken_; }
  std::uint64_t rows() const { return rows_; }
  // kMerge that has not failed: what the client reads behind the rows.
  void append_end(std::string& out) const;
  // kSum: what the tags say together.
  std::uint64_t affected() const { return affected_; }
  // How many shards have done it before the first that failed.
  std::size_t shards_done() const { return shards_done_; }
  // kAgree: the first shard's messages up to and with CommandComplete. kSum: the same of all, but
  // for what has been streamed.
  const std::string& reply() const { return reply_; }
  // kSum that does not stream: the DataRow messages of one link's shard.
  std::string_view rows_from(std::size_t link) const { return sources_[link].rows; }
  std::string take_rows(std::size_t link) { return std::move(sources_[link].rows); }
  const FanOutPlan& plan() const { return plan_; }
  // The body of the first shard's RowDescription, hidden columns included.
  const std::string& description() const { return sources_.front().description; }

  std::size_t on_backend_bytes(Backend& backend, std::string_view bytes) override;
  void on_backend_lost(Backend& backend, const Error& error) override;
  void on_backend_drained(Backend&) override {}

 private:
  struct Source {
    ServerLink* link = nullptr;
    Backend* backend = nullptr;
    // Rows not taken yet: DataRow messages, whole, in pieces as they came. Pieces never move, so
    // that a row the merger looks at stays where it is.
    std::deque<std::string> pieces;
    std::size_t piece_at = 0;  // in the first piece: its next row
    std::size_t buffered = 0;
    std::string message;      // what this shard is sent; empty: the same as all
    StatementPtr statement;   // the same
    std::string rows;         // kSum that does not stream: its DataRow messages
    std::string description;  // RowDescription body, with the first shard's types
    std::string own_types;    // the same as the shard sent it, if rows have OIDs inside
    bool has_description = false;
    bool asked = false;     // the statement was sent
    bool head_set = false;  // the merger looks at the first row
    bool rows_ended = false;
    bool finished = false;  // ReadyForQuery
  };

  void send();
  void send_to(Source& source);
  void send_rest();
  Source& source_of(Backend& backend);
  bool on_message(Source& source, char type, std::string_view frame);
  bool streams() const { return plan_.use == FanOutPlan::Use::kMerge || plan_.streams; }
  static void translate_rows(Source& source, std::string& rows);
  void described(Source& source, std::string_view body);
  void check_shape(const Source& source);
  void start_merge();
  bool merges() const { return merger_ || groups_; }
  std::uint16_t visible_columns() const;
  Status start_copy();
  Status forward_row(std::string_view body, std::string& out);
  void pump();
  void offer_heads();
  bool offer_head(std::size_t index);
  bool merge_row(std::string& out);
  bool merge_groups(std::string& out);
  bool next_row(Source& source, std::string_view& body);
  void drop_row(Source& source);
  void set_failed(Error error, Source* culprit);
  void keep_error_fields(std::string_view body);
  void add_up();
  void finish_if_done();

  Session& session_;
  FanOutOwner& owner_;
  FanOutPlan plan_;
  std::vector<Source> sources_;
  StatementPtr statement_;             // of the extended protocol; null for a simple query
  std::string message_;                // what every shard is sent, but for the Parse it may need
  std::optional<RowMerger> merger_;    // the one
  std::optional<GroupMerger> groups_;  // or the other
  std::optional<CopyWriter> copy_;
  bool satisfied_ = false;  // the merge is complete: further rows are dropped
  bool slow_ = false;
  bool failed_ = false;
  bool broken_ = false;
  bool unmergeable_ = false;
  bool done_ = false;
  Error error_;
  std::string error_fields_;  // as error_'s shard sent them; empty if it is our own
  std::uint64_t rows_ = 0;
  std::size_t shards_done_ = 0;
  std::string reply_;
  std::string tag_;  // kSum: "INSERT 0", "UPDATE"
  std::uint64_t affected_ = 0;
};

}  // namespace pgshunt
