#include "proxy/session/fan_out.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "protocol/frame_writer.h"
#include "proxy/database.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

// Marks the one request of a fan-out whose ReadyForQuery ends a shard's part.
constexpr std::uint32_t kFanOutTag = 1;

// The client's Bind for the shards' own statement: other name, other result formats (hidden columns
// come in text).
void append_bind_for_shard(std::string& out, const BindView& bind, std::string_view statement,
                           std::string_view result_formats) {
  const std::string_view formats_after = bind.result_formats.raw();
  const std::string_view values =
      bind.after_names.substr(0, bind.after_names.size() - 2 - formats_after.size());
  const std::size_t size =
      bind.portal.size() + 1 + statement.size() + 1 + values.size() + result_formats.size();
  char header[kFrameHeaderSize];
  header[0] = frontend::kBind;
  store_be32(header + 1, static_cast<std::uint32_t>(size + 4));
  out.append(header, sizeof header);
  out.append(bind.portal).push_back('\0');
  out.append(statement).push_back('\0');
  out.append(values).append(result_formats);
}

// Of a RowDescription's body: which tables and columns of theirs the columns are.
void clear_tables(std::string& description) {
  constexpr std::size_t kTableAndColumn = 6;
  constexpr std::size_t kField = 18;  // behind the name
  std::size_t at = 2;
  while (true) {
    const std::size_t end = description.find('\0', at);
    if (end == std::string::npos || description.size() - end <= kField) return;
    description.replace(end + 1, kTableAndColumn, kTableAndColumn, '\0');
    at = end + 1 + kField;
  }
}

// How many rows a shard may be asked for: what the client does not see of them may come from
// others.
std::uint32_t rows_wanted(const FanOutPlan& plan) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const std::int64_t rows = plan.max_rows;
  // A write is done to its end, however few of its rows are asked for.
  if (plan.use == FanOutPlan::Use::kSum) return 0;
  if (rows == 0 || plan.merge.groups || plan.window.offset > kMost - rows) return 0;
  return static_cast<std::uint32_t>(rows + plan.window.offset);
}

}  // namespace

FanOut::FanOut(Session& session, FanOutOwner& owner, std::vector<ServerLink*> links,
               FanOutPlan plan)
    : session_(session), owner_(owner), plan_(std::move(plan)) {
  sources_.resize(links.size());
  for (std::size_t i = 0; i < links.size(); ++i) {
    sources_[i].link = links[i];
    sources_[i].backend = links[i]->backend();
    sources_[i].backend->driver = this;
  }
}

FanOut::~FanOut() {
  for (Source& source : sources_) {
    if (source.backend) source.link->take_over_again();
  }
}

void FanOut::send_query(std::string_view sql) {
  append_query(message_, sql);
  send();
}

void FanOut::send_queries(std::vector<std::string> texts) {
  if (texts.size() == 1) return send_query(texts.front());
  for (std::size_t i = 0; i < sources_.size(); ++i) append_query(sources_[i].message, texts[i]);
  send();
}

void FanOut::send_extended(StatementPtr statement, const BindView& bind) {
  statement_ = std::move(statement);
  append_bind_for_shard(message_, bind, statement_->server_name, *plan_.result_formats);
  append_describe(message_, TargetKind::kPortal, bind.portal);
  append_execute(message_, bind.portal, rows_wanted(plan_));
  append_sync(message_);
  send();
}

void FanOut::send_shares(std::vector<FanOutShare> shares, std::string_view portal) {
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    sources_[i].statement = std::move(shares[i].statement);
    std::string& message = sources_[i].message = std::move(shares[i].bind);
    append_describe(message, TargetKind::kPortal, portal);
    append_execute(message, portal, rows_wanted(plan_));
    if (!plan_.declares.empty()) append_describe(message, TargetKind::kPortal, plan_.declares);
    append_sync(message);
  }
  send();
}

void FanOut::send() {
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    const bool first = i == 0;
    const bool one_by_one = plan_.order == FanOutPlan::Order::kFirstAlone ||
                            plan_.order == FanOutPlan::Order::kAscending;
    const bool first_last = plan_.order == FanOutPlan::Order::kFirstLast && sources_.size() > 1;
    if (first ? first_last : one_by_one) {
      sources_[i].backend->hold();  // its BEGIN goes with its statement
    } else {
      send_to(sources_[i]);
    }
  }
}

void FanOut::send_to(Source& source) {
  Backend& backend = *source.backend;
  source.asked = true;
  const std::string& message = source.message.empty() ? message_ : source.message;
  backend.request_at = session_.worker().loop().now();
  const StatementPtr& statement = source.statement ? source.statement : statement_;
  const bool may_define = plan_.use == FanOutPlan::Use::kAgree;
  if (statement) {
    source.link->note_driven(*statement, may_define);
  } else if (const auto sql = decode_query(std::string_view(message).substr(kFrameHeaderSize))) {
    source.link->note_driven(*sql, may_define);
  }
  if (!statement) {
    backend.tracker.push(RequestKind::kQuery, ReplyUse::kSwallow, kFanOutTag);
    backend.memory.unnamed_tag = 0;
    backend.send(message);
    return;
  }
  std::string parse;
  if (statement->server_name.empty()) {
    backend.tracker.push(RequestKind::kParse, ReplyUse::kSwallow);
    append_parse(parse, {}, statement->text, source.link->server_types(statement->types));
    backend.memory.unnamed_tag = 0;
  } else if (!backend.memory.prepared.use(statement->id)) {
    backend.tracker.push(RequestKind::kParse, ReplyUse::kSwallow,
                         static_cast<std::uint32_t>(statement->id));
    append_parse(parse, statement->server_name, statement->text,
                 source.link->server_types(statement->types));
    backend.memory.prepared.add(statement->id);
  }
  backend.tracker.push(RequestKind::kBind, ReplyUse::kSwallow);
  backend.tracker.push(RequestKind::kDescribePortal, ReplyUse::kSwallow);
  backend.tracker.push(RequestKind::kExecute, ReplyUse::kSwallow);
  if (!plan_.declares.empty()) {
    backend.tracker.push(RequestKind::kDescribePortal, ReplyUse::kSwallow);
  }
  backend.tracker.push(RequestKind::kSync, ReplyUse::kSwallow, kFanOutTag);
  backend.send(parse.append(message));
}

// A shard has finished: whose turn is it now?
void FanOut::send_rest() {
  if (plan_.order == FanOutPlan::Order::kTogether) return;
  const bool ascending = plan_.order == FanOutPlan::Order::kAscending;
  const bool first_alone = plan_.order == FanOutPlan::Order::kFirstAlone;
  for (std::size_t i = 0; i < sources_.size() && !ascending; ++i) {
    const bool before = (i == 0) == first_alone;
    if (before && !sources_[i].finished) return;
  }
  for (Source& source : sources_) {
    if (ascending && !failed_ && source.asked && !source.finished) return;
    if (source.asked || !source.backend) continue;
    if (failed_ && (first_alone || ascending)) {
      // Not to be done any more, but what was said before is to be answered to its end.
      statement_ = source.statement = nullptr;
      source.message.clear();
      append_query(source.message, {});
    }
    send_to(source);
    if (ascending && !failed_) return;
  }
}

FanOut::Source& FanOut::source_of(Backend& backend) {
  return *std::find_if(sources_.begin(), sources_.end(),
                       [&](const Source& source) { return source.backend == &backend; });
}

std::size_t FanOut::on_backend_bytes(Backend& backend, std::string_view bytes) {
  Source& source = source_of(backend);
  std::size_t at = 0;
  std::size_t rows_from = 0;
  bool in_rows = false;
  const auto keep_rows = [&] {
    if (in_rows && at > rows_from && !satisfied_ && !failed_) {
      source.pieces.emplace_back(bytes.substr(rows_from, at - rows_from));
      source.buffered += at - rows_from;
      if (!source.own_types.empty()) translate_rows(source, source.pieces.back());
    }
    in_rows = false;
  };
  while (at < bytes.size() && !done_) {
    const std::string_view rest = bytes.substr(at);
    FrameHeader header;
    const FrameStatus status = read_frame_header(rest, kMaxBodySize, header);
    if (status == FrameStatus::kNeedMore) break;
    if (status == FrameStatus::kComplete && rest.size() < header.frame_size()) break;
    if (status == FrameStatus::kMalformed) {
      on_backend_lost(backend, {sqlstate::kProtocolViolation, "server broke the protocol", {}});
      return bytes.size();
    }
    const std::string_view frame = rest.substr(0, header.frame_size());
    const bool row = header.type == backend::kDataRow && streams() &&
                     backend.tracker.on_message(header.type).outcome == ReplyOutcome::kProgress;
    if (row) {
      if (!in_rows) rows_from = at;
      in_rows = true;
      at += frame.size();
      continue;
    }
    keep_rows();
    at += frame.size();
    if (!on_message(source, header.type, frame)) return bytes.size();
  }
  keep_rows();
  if (done_) return at;
  if (source.buffered > session_.worker().snapshot()->config->scatter_buffer) {
    backend.pause_reading();
  }
  pump();
  return at;
}

// False if the shard's connection was given up.
bool FanOut::on_message(Source& source, char type, std::string_view frame) {
  Backend& backend = *source.backend;
  const std::string_view body = frame.substr(kFrameHeaderSize);
  const Reply reply = backend.tracker.on_message(type);
  if (reply.outcome == ReplyOutcome::kViolation) {
    on_backend_lost(backend, {sqlstate::kProtocolViolation, "server broke the protocol", {}});
    return false;
  }
  if (reply.outcome == ReplyOutcome::kAsync) {
    if (type == backend::kParameterStatus) note_parameter_status(backend, body);
    // Of what all do alike one notice will do.
    const bool own_work = plan_.use == FanOutPlan::Use::kSum;
    if (type == backend::kNoticeResponse && (own_work || &source == &sources_.front())) {
      session_.enqueue(frame);
    }
    return true;
  }
  if (reply.outcome == ReplyOutcome::kError || reply.outcome == ReplyOutcome::kUnsolicited) {
    if (reply.request.kind == RequestKind::kParse) {
      backend.memory.prepared.forget(reply.request.tag);
    }
    const std::string deadlock = session_.error_of_deadlock(body);
    const std::string_view said =
        deadlock.empty() ? body : std::string_view(deadlock).substr(kFrameHeaderSize);
    const auto error = decode_error_response(said);
    if (!failed_) keep_error_fields(said);
    set_failed(error ? error->to_error() : Error{}, &source);
    return true;
  }
  const bool ours = reply.request.tag == kFanOutTag ||
                    reply.request.kind == RequestKind::kExecute ||
                    reply.request.kind == RequestKind::kDescribePortal;
  switch (type) {
    case backend::kRowDescription:
      if (plan_.use == FanOutPlan::Use::kMerge || (plan_.use == FanOutPlan::Use::kSum && ours)) {
        described(source, body);
      }
      break;
    case backend::kReadyForQuery: {
      const auto transaction = decode_ready_for_query(body);
      if (transaction) backend.transaction = *transaction;
      if (reply.request.tag == kFanOutTag) {
        source.rows_ended = source.finished = true;
        if (!failed_) ++shards_done_;
        send_rest();
      }
      break;
    }
    default:
      break;
  }
  if (plan_.use == FanOutPlan::Use::kAgree && ours && &source == &sources_.front() &&
      type != backend::kReadyForQuery) {
    const bool description = type == backend::kRowDescription || type == backend::kNoData;
    if (!description || plan_.describe) reply_.append(frame);
  }
  if (plan_.use == FanOutPlan::Use::kSum && ours) {
    const bool first = &source == &sources_.front();
    if (type == backend::kNoData && plan_.describe && first) reply_.append(frame);
    if (type == backend::kDataRow && !failed_) source.rows.append(frame);
    if (plan_.most_bytes != 0 && source.rows.size() > plan_.most_bytes && !failed_) {
      set_failed({sqlstate::kProgramLimitExceeded,
                  "the rows of this statement are too large to be moved to another shard at once",
                  "Move fewer rows in one statement, or delete and insert them."},
                 &source);
      source.rows.clear();
    }
    if (type == backend::kCommandComplete) {
      // Its number of rows is the last word; "INSERT 0 5" has a zero before it.
      const std::string_view tag = body.substr(0, body.find('\0'));
      const std::size_t blank = tag.rfind(' ');
      std::uint64_t affected = 0;
      if (blank != std::string_view::npos) {
        std::from_chars(tag.data() + blank + 1, tag.data() + tag.size(), affected);
      }
      tag_ = plan_.tag.empty() ? tag.substr(0, blank) : plan_.tag;
      affected_ += affected;
    }
  }
  if ((type == backend::kCommandComplete || type == backend::kPortalSuspended) && ours) {
    source.rows_ended = true;
  }
  return true;
}

void FanOut::described(Source& source, std::string_view body) {
  source.description = body;
  source.has_description = true;
  if (const TypeMap* types = source.link->types().get()) {
    if (types->row_carries_oids(body)) source.own_types = body;
    types->translate_row_description(source.description.data(), source.description.size());
  }
  if (plan_.hides_tables) clear_tables(source.description);
  if (failed_ || merges()) return check_shape(source);
  if (plan_.use == FanOutPlan::Use::kSum) {
    // They come one after the other.
    check_shape(source);
    if (streams()) {
      start_merge();
    } else if (&source == &sources_.front() && plan_.describe) {
      FrameWriter writer(reply_, backend::kRowDescription);
      writer.bytes(source.description);
    }
    return;
  }
  const bool all = std::all_of(sources_.begin(), sources_.end(),
                               [](const Source& s) { return s.has_description; });
  if (!all) return;
  for (const Source& each : sources_) check_shape(each);
  if (!failed_) start_merge();
}

void FanOut::translate_rows(Source& source, std::string& rows) {
  std::size_t at = 0;
  FrameHeader header;
  while (read_frame_header(std::string_view(rows).substr(at), kMaxBodySize, header) ==
         FrameStatus::kComplete) {
    source.link->types()->translate_row(source.own_types, rows.data() + at + kFrameHeaderSize,
                                        header.body_size);
    at += header.frame_size();
  }
}

// Every shard must mean the same by the same column: names, types and formats alike.
void FanOut::check_shape(const Source& source) {
  const auto shape = [](const std::string& description) {
    std::string out;
    if (const auto fields = decode_row_description(description)) {
      for (const FieldDescription& field : *fields) {
        out.append(field.name).push_back('\0');
        out.append(std::to_string(field.type_oid)).push_back(',');
      }
    }
    return out;
  };
  const Source& first = sources_.front();
  if (&source == &first || !first.has_description ||
      shape(source.description) == shape(first.description)) {
    return;
  }
  set_failed({sqlstate::kFeatureNotSupported,
              "shards \"" + first.link->pool().spec().shard + "\" and \"" +
                  source.link->pool().spec().shard + "\" describe this result differently",
              "The tables have drifted apart: compare their columns."},
             nullptr);
}

// The first shard has described its rows, which is what the client is told.
void FanOut::start_merge() {
  FormatList formats;
  if (plan_.result_formats) {
    ByteReader reader(*plan_.result_formats);
    const std::uint16_t count = reader.be16();
    formats = FormatList::read(reader, count);
  }
  RowWindow window = plan_.window;
  if (plan_.max_rows != 0 &&
      (window.limit == RowWindow::kNoLimit || window.limit > plan_.max_rows)) {
    window.limit = plan_.max_rows;
  }
  const std::string& description = sources_.front().description;
  const FormatList* given = plan_.result_formats ? &formats : nullptr;
  const auto keep = [this](auto made, auto& where) {
    if (made) {
      where.emplace(std::move(*made));
      return true;
    }
    unmergeable_ =
        plan_.may_be_unmergeable && !failed_ && made.error().code == sqlstate::kFeatureNotSupported;
    set_failed(made.error(), nullptr);
    return false;
  };
  if (plan_.merge.groups) {
    const Config& config = *session_.worker().snapshot()->config;
    const SortSpace space{config.sort_memory, config.spill_directory};
    auto made =
        GroupMerger::create(plan_.merge, window, description, given, sources_.size(), space);
    if (!keep(std::move(made), groups_)) return;
  } else {
    auto made = RowMerger::create(plan_.merge, window, description, given, sources_.size());
    if (!keep(std::move(made), merger_)) return;
  }
  std::string& out = session_.worker().client_out();
  if (plan_.copy) {
    if (const Status started = start_copy(); !started) return set_failed(started.error(), nullptr);
  }
  out.append(std::exchange(plan_.preface, {}));
  if (copy_) {
    copy_->start(out);
  } else if (plan_.describe) {
    static_cast<void>(cut_row_description(sources_.front().description, visible_columns(), out));
  }
  session_.enqueue(out);
  out.clear();
}

Status FanOut::start_copy() {
  std::vector<std::string> columns;
  const auto fields = decode_row_description(sources_.front().description);
  for (const FieldDescription& field : *fields) {
    if (columns.size() < visible_columns()) columns.emplace_back(field.name);
  }
  std::vector<bool> quoted;
  for (const std::string& column : columns) quoted.push_back(plan_.copy->force_quote.has(column));
  for (const std::string& name : plan_.copy->force_quote.names) {
    if (std::find(columns.begin(), columns.end(), name) == columns.end()) {
      return Error{Sqlstate("42703"), "column \"" + name + "\" does not exist", {}};
    }
  }
  copy_.emplace(plan_.copy->options, std::move(columns), std::move(quoted));
  return Ok{};
}

Status FanOut::forward_row(std::string_view body, std::string& out) {
  return copy_ ? copy_->row(body, out) : cut_data_row(body, visible_columns(), out);
}

void FanOut::append_end(std::string& out) const {
  if (copy_) {
    copy_->finish(out);
    append_command_complete(out, "COPY", rows_);
  } else if (plan_.max_rows != 0 && rows_ == plan_.max_rows) {
    append_portal_suspended(out);  // as PostgreSQL does, which does not look for one row more
  } else {
    append_command_complete(out, "SELECT", rows_);
  }
}

bool FanOut::next_row(Source& source, std::string_view& body) {
  while (!source.pieces.empty() && source.piece_at >= source.pieces.front().size()) {
    source.pieces.pop_front();
    source.piece_at = 0;
  }
  if (source.pieces.empty()) return false;
  FrameHeader header;
  const std::string_view rest = std::string_view(source.pieces.front()).substr(source.piece_at);
  read_frame_header(rest, kMaxBodySize, header);
  body = rest.substr(kFrameHeaderSize, header.body_size);
  return true;
}

void FanOut::drop_row(Source& source) {
  std::string_view body;
  if (!next_row(source, body)) return;
  const std::size_t size = kFrameHeaderSize + body.size();
  source.piece_at += size;
  source.buffered -= size;
  source.head_set = false;
  const std::size_t limit = session_.worker().snapshot()->config->scatter_buffer;
  if (source.backend && source.buffered <= limit / 2) source.backend->resume_reading();
}

std::uint16_t FanOut::visible_columns() const {
  return groups_ ? groups_->visible_columns() : merger_->visible_columns();
}

void FanOut::pump() {
  if (merges() && !failed_ && !satisfied_) {
    std::string& out = session_.worker().client_out();
    const bool sorted = !plan_.merge.keys.empty();
    bool progress = true;
    while (progress && !slow_ && !failed_) {
      if (!sorted) offer_heads();
      if (failed_) break;
      progress = groups_ ? merge_groups(out) : merge_row(out);
      if (out.size() >= 64 * 1024) {
        session_.enqueue(out);
        out.clear();
        session_.flush();  // may call client_slow()
      }
    }
    session_.enqueue(out);
    out.clear();
    session_.flush();
  }
  if (failed_ || satisfied_) {
    for (Source& source : sources_) {
      source.pieces.clear();
      source.piece_at = source.buffered = 0;
      if (source.backend) source.backend->resume_reading();
    }
  }
  finish_if_done();
}

// Rows in any order: whoever has one may go first.
void FanOut::offer_heads() {
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i].head_set) offer_head(i);
  }
}

// False: the shard has no row here.
bool FanOut::offer_head(std::size_t index) {
  Source& source = sources_[index];
  std::string_view body;
  if (!next_row(source, body)) return false;
  const Status set = groups_ ? groups_->set_head(index, body) : merger_->set_head(index, body);
  if (!set) set_failed(set.error(), nullptr);
  source.head_set = true;
  return true;
}

// False: more of the shards' rows have to come first, or there are no more.
bool FanOut::merge_row(std::string& out) {
  const RowMerger::Step step = merger_->next();
  Source& source = sources_[step.source];
  std::string_view body;
  switch (step.kind) {
    case RowMerger::Step::kDone:
      satisfied_ = true;
      return false;
    case RowMerger::Step::kNeed:
      if (offer_head(step.source)) return true;
      if (source.rows_ended) merger_->set_end(step.source);
      return source.rows_ended;
    case RowMerger::Step::kRow:
      next_row(source, body);
      if (const Status sent = forward_row(body, out); !sent) {
        set_failed(sent.error(), nullptr);
        return false;
      }
      ++rows_;
      [[fallthrough]];
    case RowMerger::Step::kSkip:
      merger_->taken();
      drop_row(source);
      return true;
  }
  return false;
}

// The same of groups.
bool FanOut::merge_groups(std::string& out) {
  const auto step = groups_->next();
  if (!step) {
    set_failed(step.error(), nullptr);
    return false;
  }
  Source& source = sources_[step->source];
  switch (step->kind) {
    case GroupMerger::Step::kDone:
      satisfied_ = true;
      return false;
    case GroupMerger::Step::kNeed:
      if (offer_head(step->source)) return true;
      if (source.rows_ended) groups_->set_end(step->source);
      return source.rows_ended;
    case GroupMerger::Step::kTaken:
      drop_row(source);
      return true;
    case GroupMerger::Step::kRow:
      if (const Status sent = forward_row(groups_->take_row(), out); !sent) {
        set_failed(sent.error(), nullptr);
        return false;
      }
      ++rows_;
      return true;
  }
  return false;
}

void FanOut::set_failed(Error error, Source* culprit) {
  if (failed_) return;
  failed_ = true;
  error_ = std::move(error);
  // What the others are still doing is for nothing.
  for (Source& source : sources_) {
    if (&source == culprit || source.finished || !source.asked || !source.backend) continue;
    // A canceled statement would end the transaction; what is left of its rows is passed over.
    if (unmergeable_ && source.backend->transaction != TransactionStatus::kIdle) continue;
    if (plan_.use != FanOutPlan::Use::kCommand) {
      session_.worker().cancel_on_server(*source.backend);
    }
  }
}

// Of an ordinary error. The position is one in the shards' text, which is not always the client's.
void FanOut::keep_error_fields(std::string_view body) {
  constexpr char kSeverity = 'V';
  constexpr char kPosition = 'P';
  std::string fields;
  bool ordinary = false;
  while (!body.empty() && body.front() != '\0') {
    const std::size_t end = body.find('\0');
    if (end == std::string_view::npos) return;
    const std::string_view field = body.substr(0, end + 1);
    ordinary |= field.front() == kSeverity && field.substr(1, end - 1) == "ERROR";
    const bool clients_text =
        plan_.clients_text &&
        (plan_.use == FanOutPlan::Use::kAgree ||
         (plan_.use == FanOutPlan::Use::kSum && sources_.front().message.empty()));
    if (field.front() != kPosition || clients_text) fields.append(field);
    body.remove_prefix(end + 1);
  }
  if (ordinary) error_fields_ = std::move(fields.append(1, '\0'));
}

std::string FanOut::error_response() const {
  std::string out;
  if (error_fields_.empty()) {
    append_error_response(out, Severity::kError, error_);
    return out;
  }
  char header[kFrameHeaderSize];
  header[0] = backend::kErrorResponse;
  store_be32(header + 1, static_cast<std::uint32_t>(error_fields_.size() + 4));
  return out.append(header, sizeof header).append(error_fields_);
}

// kSum: one reply of all.
void FanOut::add_up() {
  if (streams()) {
    if (plan_.max_rows != 0 && rows_ == plan_.max_rows) {
      append_portal_suspended(reply_);
    } else {
      append_command_complete(reply_, tag_, affected_);
    }
    return;
  }
  for (Source& source : sources_) {
    if (!source.own_types.empty()) translate_rows(source, source.rows);
  }
  if (plan_.by_link) {
    append_command_complete(reply_, tag_, affected_);
    return;
  }
  // Rows are in the order of VALUES if each shard has returned one for every row it was given.
  std::vector<std::size_t> given(sources_.size());
  for (const std::uint16_t index : plan_.row_order) ++given[index];
  const auto next_message = [](const std::string& rows, std::size_t at) {
    FrameHeader header;
    read_frame_header(std::string_view(rows).substr(at), kMaxBodySize, header);
    return header.frame_size();
  };
  bool in_order = !plan_.row_order.empty();
  for (std::size_t i = 0; i < sources_.size() && in_order; ++i) {
    std::size_t count = 0;
    const std::string& rows = sources_[i].rows;
    for (std::size_t at = 0; at < rows.size(); at += next_message(rows, at)) ++count;
    in_order = count == given[i];
  }
  const std::uint64_t most = plan_.max_rows == 0 ? ~std::uint64_t{0} : plan_.max_rows;
  std::vector<std::size_t> at(sources_.size());
  const auto take = [&](std::size_t index) {
    const std::string& rows = sources_[index].rows;
    if (rows_ == most || at[index] >= rows.size()) return false;
    const std::size_t size = next_message(rows, at[index]);
    reply_.append(rows, at[index], size);
    at[index] += size;
    ++rows_;
    return true;
  };
  if (in_order) {
    for (const std::uint16_t index : plan_.row_order) take(index);
  } else {
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      while (take(i)) {
      }
    }
  }
  if (rows_ == most) {
    append_portal_suspended(reply_);
  } else {
    append_command_complete(reply_, tag_, affected_);
  }
}

void FanOut::finish_if_done() {
  if (done_) return;
  for (const Source& source : sources_) {
    if (!source.finished) return;
  }
  // A slow client has rows to come yet.
  if (!failed_ && merges() && !satisfied_) return;
  done_ = true;
  if (plan_.use == FanOutPlan::Use::kSum && !failed_) add_up();
  for (Source& source : sources_) {
    if (source.backend) source.link->take_over_again();
    source.backend = nullptr;
  }
  owner_.on_fan_out_done(*this);
}

void FanOut::client_slow(bool slow) {
  slow_ = slow;
  if (!slow) pump();
}

void FanOut::cancel() {
  for (Source& source : sources_) {
    if (source.backend && source.asked && !source.finished) {
      session_.worker().cancel_on_server(*source.backend);
    }
  }
}

void FanOut::on_backend_lost(Backend& backend, const Error& error) {
  Source& source = source_of(backend);
  source.backend = nullptr;
  source.finished = source.rows_ended = true;
  source.link->forget_server(error.message);
  broken_ = true;
  set_failed(error, &source);
  send_rest();
  pump();
}

}  // namespace pgshunt
