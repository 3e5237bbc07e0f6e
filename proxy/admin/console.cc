// Requests in, rows out: the console's side of the protocol. What commands mean is in command.h,
// what they show in show.h, what they do in action.h.
#include "proxy/admin/console.h"

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <vector>

#include "protocol/backend.h"
#include "protocol/frontend.h"
#include "proxy/admin/action.h"
#include "proxy/admin/ask_workers.h"
#include "proxy/admin/command.h"
#include "proxy/admin/show.h"
#include "proxy/config/config.h"
#include "proxy/database.h"
#include "proxy/session/session.h"

namespace pgshunt {
namespace {

// A command is a line; what is longer is no command.
constexpr std::size_t kLongestMessage = 64 * 1024;
// Statements and portals a client may keep open.
constexpr std::size_t kMostStatements = 1000;

bool contains(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool may_use_admin_console(const Config& config, std::string_view user) {
  return contains(config.admin_users, user) || contains(config.stats_users, user);
}

class AdminConsole::Impl : public std::enable_shared_from_this<Impl> {
 public:
  explicit Impl(Session& session) : session_(session), worker_(session.worker()) {}

  std::size_t on_client_bytes(std::string_view bytes);
  void on_cancel() {
    if (action_) action_->cancel();
  }
  bool idle() const { return !busy_; }

 private:
  using Formats = std::vector<std::uint16_t>;

  struct Statement {
    AdminCommand command;
  };
  struct Portal {
    AdminCommand command;
    Formats formats;
    std::optional<ResultSet> rows;  // once it was executed
    std::size_t shown = 0;
  };

  void serve(char type, std::string_view body);
  void query(std::string_view body);
  void parse(std::string_view body);
  void bind(std::string_view body);
  void describe(std::string_view body);
  void execute(std::string_view body);
  void close(std::string_view body);

  Status permitted(const AdminCommand& command) const;
  // Carries out a command; `portal` is null for a simple query. The reply may come in a later turn.
  void run(const AdminCommand& command, const std::string* portal, std::uint32_t max_rows);
  void show(const AdminCommand& command, const std::string* portal, std::uint32_t max_rows);
  void act(const AdminCommand& command, bool simple);
  void send_rows(const ResultSet& rows);
  void send_portal_rows(Portal& portal, std::uint32_t max_rows);
  void send_help();
  void complete(std::string_view tag, bool simple);
  void fail(const Error& error, bool simple);
  void ready();
  void send();
  void end_wait();

  Session& session_;
  Worker& worker_;
  std::unordered_map<std::string, Statement> statements_;
  std::unordered_map<std::string, Portal> portals_;
  std::shared_ptr<Action> action_;
  std::string out_;
  TransactionStatus transaction_ = TransactionStatus::kIdle;
  bool busy_ = false;      // a reply is being gathered: nothing else is read
  bool skipping_ = false;  // after an error, to the next Sync
};

// --- requests ------------------------------------------------------------------------------------

std::size_t AdminConsole::Impl::on_client_bytes(std::string_view bytes) {
  std::size_t at = 0;
  while (!busy_ && at < bytes.size()) {
    const std::string_view rest = bytes.substr(at);
    FrameHeader header;
    const FrameStatus status = read_frontend_header(rest, FrontendPhase::kReady, header);
    if (status == FrameStatus::kNeedMore) break;
    if (status == FrameStatus::kMalformed) {
      session_.close_with(frontend_frame_error(rest, FrontendPhase::kReady));
      return at;
    }
    if (header.type == frontend::kTerminate) {
      session_.close("client ended the session");
      return at;
    }
    if (header.frame_size() > kLongestMessage) {
      session_.close_with({sqlstate::kProgramLimitExceeded, "this is too long for a command", {}});
      return at;
    }
    if (rest.size() < header.frame_size()) break;
    serve(header.type, rest.substr(kFrameHeaderSize, header.body_size));
    at += header.frame_size();
  }
  send();
  return at;
}

void AdminConsole::Impl::serve(char type, std::string_view body) {
  if (skipping_ && type != frontend::kSync) return;
  switch (type) {
    case frontend::kQuery:
      return query(body);
    case frontend::kParse:
      return parse(body);
    case frontend::kBind:
      return bind(body);
    case frontend::kDescribe:
      return describe(body);
    case frontend::kExecute:
      return execute(body);
    case frontend::kClose:
      return close(body);
    case frontend::kSync:
      skipping_ = false;
      if (transaction_ == TransactionStatus::kIdle) portals_.clear();
      return ready();
    case frontend::kFunctionCall:
      return fail({sqlstate::kFeatureNotSupported, "the console has no functions", {}}, true);
    default:  // Flush: everything leaves at once anyway. COPY's messages: there is no COPY
      return;
  }
}

void AdminConsole::Impl::query(std::string_view body) {
  const auto text = decode_query(body);
  if (!text) return fail(text.error(), true);
  const auto command = parse_admin_command(*text);
  if (!command) return fail(command.error(), true);
  if (const Status may = permitted(*command); !may) return fail(may.error(), true);
  if (command->verb == AdminVerb::kEmpty) {
    append_empty_query_response(out_);
    return ready();
  }
  run(*command, nullptr, 0);
}

void AdminConsole::Impl::parse(std::string_view body) {
  const auto parse = decode_parse(body);
  if (!parse) return fail(parse.error(), false);
  const auto command = parse_admin_command(parse->sql);
  if (!command) return fail(command.error(), false);
  if (const Status may = permitted(*command); !may) return fail(may.error(), false);
  const std::string name(parse->statement);
  if (!name.empty() && statements_.contains(name)) {
    return fail({sqlstate::kDuplicatePreparedStatement,
                 "prepared statement \"" + name + "\" already exists",
                 {}},
                false);
  }
  if (statements_.size() >= kMostStatements) {
    return fail({sqlstate::kProgramLimitExceeded, "too many prepared statements", {}}, false);
  }
  statements_[name] = {*command};
  append_parse_complete(out_);
}

void AdminConsole::Impl::bind(std::string_view body) {
  const auto bind = decode_bind(body);
  if (!bind) return fail(bind.error(), false);
  const auto statement = statements_.find(std::string(bind->statement));
  if (statement == statements_.end()) {
    return fail({sqlstate::kInvalidStatementName, "there is no such prepared statement", {}},
                false);
  }
  if (!bind->values.empty()) {
    return fail({sqlstate::kProtocolViolation, "commands of the console take no parameters", {}},
                false);
  }
  if (portals_.size() >= kMostStatements) {
    return fail({sqlstate::kProgramLimitExceeded, "too many portals", {}}, false);
  }
  Portal portal;
  portal.command = statement->second.command;
  for (std::size_t i = 0; i < bind->result_formats.size(); ++i) {
    portal.formats.push_back(bind->result_formats.of(i));
  }
  const std::size_t columns =
      portal.command.verb == AdminVerb::kShow ? show_columns(portal.command.topic).size() : 0;
  if (portal.formats.size() > 1 && portal.formats.size() != columns) {
    return fail(
        {sqlstate::kProtocolViolation, "bind message has a wrong number of result formats", {}},
        false);
  }
  portals_.insert_or_assign(std::string(bind->portal), std::move(portal));
  append_bind_complete(out_);
}

void AdminConsole::Impl::describe(std::string_view body) {
  const auto target = decode_describe(body);
  if (!target) return fail(target.error(), false);
  const std::string name(target->name);
  const AdminCommand* command = nullptr;
  Formats formats;
  if (target->kind == TargetKind::kStatement) {
    if (const auto found = statements_.find(name); found != statements_.end()) {
      command = &found->second.command;
      append_parameter_description(out_, {});
    }
  } else if (const auto found = portals_.find(name); found != portals_.end()) {
    command = &found->second.command;
    formats = found->second.formats;
  }
  if (!command) {
    return fail({sqlstate::kInvalidStatementName, "there is no such statement or portal", {}},
                false);
  }
  if (command->verb == AdminVerb::kShow) {
    append_columns(out_, show_columns(command->topic), formats);
  } else {
    append_no_data(out_);
  }
}

void AdminConsole::Impl::execute(std::string_view body) {
  const auto execute = decode_execute(body);
  if (!execute) return fail(execute.error(), false);
  const std::string name(execute->portal);
  const auto found = portals_.find(name);
  if (found == portals_.end()) {
    return fail({Sqlstate("34000"), "there is no such portal", {}}, false);
  }
  Portal& portal = found->second;
  if (portal.rows) return send_portal_rows(portal, execute->max_rows);
  if (portal.command.verb == AdminVerb::kEmpty) return append_empty_query_response(out_);
  run(portal.command, &name, execute->max_rows);
}

void AdminConsole::Impl::close(std::string_view body) {
  const auto target = decode_close(body);
  if (!target) return fail(target.error(), false);
  if (target->kind == TargetKind::kStatement) {
    statements_.erase(std::string(target->name));
  } else {
    portals_.erase(std::string(target->name));
  }
  append_close_complete(out_);
}

// --- carrying out --------------------------------------------------------------------------------

// Asked anew for each command: a RELOAD may have changed who may what.
Status AdminConsole::Impl::permitted(const AdminCommand& command) const {
  const Config& config = *worker_.snapshot()->config;
  const std::string& user = session_.state().user;
  if (contains(config.admin_users, user)) return Ok{};
  if (command.only_shows() && contains(config.stats_users, user)) return Ok{};
  session_.log(LogLevel::kWarning, "console_refused", command.text(),
               sqlstate::kInsufficientPrivilege.view());
  return Error{sqlstate::kInsufficientPrivilege,
               "user \"" + user + "\" may not use " + std::string(command.tag()),
               "That takes a user of admin_users."};
}

void AdminConsole::Impl::run(const AdminCommand& command, const std::string* portal,
                             std::uint32_t max_rows) {
  switch (command.verb) {
    case AdminVerb::kShow:
      return show(command, portal, max_rows);
    case AdminVerb::kHelp:
      send_help();
      return complete(command.tag(), portal == nullptr);
    case AdminVerb::kBegin:
      transaction_ = TransactionStatus::kInTransaction;
      return complete(command.tag(), portal == nullptr);
    case AdminVerb::kCommit:
    case AdminVerb::kRollback:
      transaction_ = TransactionStatus::kIdle;
      return complete(command.tag(), portal == nullptr);
    case AdminVerb::kDeallocate:
      command.name.empty() ? statements_.clear()
                           : static_cast<void>(statements_.erase(command.name));
      return complete(command.tag(), portal == nullptr);
    case AdminVerb::kSetDriverSetting:
      return complete(command.tag(), portal == nullptr);
    default:
      return act(command, portal == nullptr);
  }
}

void AdminConsole::Impl::show(const AdminCommand& command, const std::string* portal,
                              std::uint32_t max_rows) {
  busy_ = true;
  const std::optional<std::string> name = portal ? std::optional(*portal) : std::nullopt;
  ask_workers<WorkerReport>(
      worker_,
      [parts = survey_parts(command.topic)](Worker& there) { return survey(there, parts); },
      [weak = weak_from_this(), topic = command.topic, name,
       max_rows](const std::vector<WorkerReport>& reports) {
        const auto self = weak.lock();
        if (!self) return;
        ResultSet rows = show_rows(topic, self->worker_, reports);
        if (!name) {
          self->send_rows(rows);
        } else if (const auto found = self->portals_.find(*name); found != self->portals_.end()) {
          found->second.rows = std::move(rows);
          self->send_portal_rows(found->second, max_rows);
        }
        self->end_wait();
      });
}

void AdminConsole::Impl::act(const AdminCommand& command, bool simple) {
  session_.log(LogLevel::kInfo, "console_command", command.text());
  busy_ = true;
  action_ = std::make_shared<Action>(
      worker_, command,
      [weak = weak_from_this(), tag = command.tag(), simple](const Result<std::string>& notice) {
        const auto self = weak.lock();
        if (!self) return;
        self->action_.reset();
        if (!notice) {
          self->fail(notice.error(), simple);
        } else {
          if (!notice->empty()) {
            append_notice_response(self->out_, Severity::kNotice, Sqlstate("00000"), *notice);
          }
          self->complete(tag, simple);
        }
        self->end_wait();
      });
  action_->start();
}

// --- replies -------------------------------------------------------------------------------------

void AdminConsole::Impl::send_rows(const ResultSet& rows) {
  append_columns(out_, rows.columns(), {});
  rows.append_rows(out_, 0, rows.rows(), {});
  complete("SHOW", true);
}

void AdminConsole::Impl::send_portal_rows(Portal& portal, std::uint32_t max_rows) {
  const ResultSet& rows = *portal.rows;
  const std::size_t left = rows.rows() - portal.shown;
  const std::size_t count = max_rows == 0 ? left : std::min<std::size_t>(max_rows, left);
  rows.append_rows(out_, portal.shown, count, portal.formats);
  portal.shown += count;
  if (max_rows != 0 && count == max_rows) return append_portal_suspended(out_);
  complete("SHOW", false);
}

// A notice, as in PgBouncer: psql prints its detail.
void AdminConsole::Impl::send_help() {
  append_notice_response(out_, Severity::kNotice, Sqlstate("00000"), "Console usage", admin_help());
}

void AdminConsole::Impl::complete(std::string_view tag, bool simple) {
  append_command_complete(out_, tag);
  if (simple) ready();
}

void AdminConsole::Impl::fail(const Error& error, bool simple) {
  append_error_response(out_, Severity::kError, error);
  if (simple) {
    ready();
  } else {
    skipping_ = true;
  }
}

void AdminConsole::Impl::ready() { append_ready_for_query(out_, transaction_); }

void AdminConsole::Impl::send() {
  if (out_.empty()) return;
  session_.enqueue(out_);
  std::string().swap(out_);
  session_.flush();
}

void AdminConsole::Impl::end_wait() {
  busy_ = false;
  send();
  session_.resume();
}

// --- the conversation ----------------------------------------------------------------------------

AdminConsole::AdminConsole(Session& session) : impl_(std::make_shared<Impl>(session)) {}
AdminConsole::~AdminConsole() = default;

std::size_t AdminConsole::on_client_bytes(std::string_view bytes) {
  // The session may close, and take us with it, while it is being served.
  const auto impl = impl_;
  return impl->on_client_bytes(bytes);
}

void AdminConsole::on_cancel() { impl_->on_cancel(); }
bool AdminConsole::idle() const { return impl_->idle(); }

}  // namespace pgshunt
