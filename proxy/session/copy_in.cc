#include "proxy/session/copy_in.h"

#include <algorithm>
#include <charconv>
#include <limits>

#include "protocol/frontend.h"
#include "proxy/database.h"
#include "proxy/session/session.h"
#include "proxy/worker.h"

namespace pgshunt {
namespace {

// How much is gathered before it is sent: a few system calls a megabyte.
constexpr std::size_t kSendAt = std::size_t{64} << 10;
constexpr std::uint64_t kNoLine = std::numeric_limits<std::uint64_t>::max();
// The reason in our CopyFail, by which the error that comes of it is known in any language.
constexpr std::string_view kGivenUp = "pgshunt: given up";

// Version 18 is stricter about "\.".
bool is_18_or_later(const Backend& backend) {
  const std::string* version = backend.memory.reported->find("server_version");
  int number = 0;
  if (version) std::from_chars(version->data(), version->data() + version->size(), number);
  return number >= 18;
}

// The error `body`, with another CONTEXT (or none).
std::string with_context(std::string_view body, std::string_view context) {
  std::string out(1, backend::kErrorResponse);
  out.append(4, '\0');
  while (!body.empty() && body.front() != '\0') {
    const std::size_t end = body.find('\0');
    if (end == std::string_view::npos) break;
    if (body.front() != error_field::kWhere) {
      out.append(body.substr(0, end + 1));
    } else if (!context.empty()) {
      out.append(1, error_field::kWhere).append(context).append(1, '\0');
    }
    body.remove_prefix(end + 1);
  }
  out.append(1, '\0');
  store_be32(out.data() + 1, static_cast<std::uint32_t>(out.size() - 1));
  return out;
}

}  // namespace

CopyIn::CopyIn(Session& session, CopyInOwner& owner, CopyShards shards,
               std::shared_ptr<const Topology> topology, std::shared_ptr<const CopyPlan> plan,
               const RouterSession& router_session, const KeyDirectory* directory)
    : CopyFanOut(session, owner, std::move(shards)),
      in_owner_(owner),
      plan_(plan),
      splitter_(topology, std::move(plan), router_session,
                is_18_or_later(*sources_.front().backend), directory),
      outputs_(topology->shards.size()),
      last_bytes_(topology->shards.size(), '\0') {
  for (Source& source : sources_) {
    ask(source, sql_);
    // Writers of a reference table meet on its first shard, where they wait for each other.
    if (plan_->every_shard) break;
  }
}

std::uint64_t CopyIn::rows() const {
  if (plan_->every_shard) return sources_.front().rows;
  std::uint64_t sum = 0;
  for (const Source& source : sources_) sum += source.rows;
  return sum;
}

bool CopyIn::forwards_notices(const Source& source) const {
  return !plan_->every_shard || &source == &sources_.front();
}

void CopyIn::on_started(Source& source) {
  if (source.backend->transaction == TransactionStatus::kIdle) {
    // Its rows would be there for good. (What was to begin the transaction did not.)
    std::string message;
    append_error_response(
        message, Severity::kError,
        {sqlstate::kInternalError, "a shard takes no part in the transaction", {}});
    offer_error(std::move(message), 0);
    end(false);
  }
  if (stage_ == Stage::kEnding) {
    end_on(source);
    return;
  }
  for (Source& other : sources_) {
    if (!other.asked) ask(other, sql_);
  }
  if (!all_started()) return;
  if (!responses_agree()) {
    end(false);
    return;
  }
  stage_ = Stage::kCopying;
  session_.enqueue(source.response);
  session_.flush();
  in_owner_.on_copy_in_started();
  session_.resume();
}

// --- the client's rows ---

bool CopyIn::has_values(std::string_view part, std::string_view ahead) {
  if (!copying() || plan_->made.empty()) return true;
  const std::size_t wanted = splitter_.values_wanted(part);
  for (std::size_t field = 0; field < plan_->made.size(); ++field) {
    const std::size_t left = splitter_.values_left(field);
    if (left >= wanted) continue;
    const std::size_t all = std::max(wanted, splitter_.values_wanted(ahead));
    std::vector<std::int64_t> values;
    const auto drawn =
        in_owner_.on_copy_wants_values(plan_->made[field].source, all - left, drew_values_, values);
    if (!drawn) {
      give_up(drawn.error());
      return true;
    }
    if (!*drawn) {
      session_.pause_reading();
      return false;
    }
    splitter_.add_values(field, values);
  }
  drew_values_ = true;
  return true;
}

void CopyIn::data(std::string_view part) {
  if (!copying()) return;
  if (!splitter_.take(part, outputs_)) {
    refuse(splitter_.failure());
    return;
  }
  gathered_ += part.size();
  if (gathered_ >= kSendAt) flush();
}

void CopyIn::flush() {
  gathered_ = 0;
  for (Source& source : sources_) {
    std::string& output = outputs_[source.shard];
    if (output.empty()) continue;
    if (source.backend && !source.failed) source.backend->send(output);
    last_bytes_[source.shard] = output.back();
    output.clear();
  }
  if (!copying()) return;
  ask_for_keys();
  if (!copying() || !over_limit()) return;
  full_ = true;
  session_.pause_reading();
}

// --- keys of a directory keyspace ---

// One question for all that has come of the client's rows: they are many, a commit is slow.
void CopyIn::ask_for_keys() {
  if (wants_keys_ || splitter_.lookups().empty()) return;
  wants_keys_ = true;
  session_.pause_reading();
  in_owner_.on_copy_wants_keys(*this);
}

void CopyIn::keys_found(const std::vector<FoundKey>& keys) {
  wants_keys_ = false;
  if (!copying()) return;
  for (const FoundKey& found : keys) splitter_.learn(found.lookup, found.place);
  if (!splitter_.go_on(outputs_)) {
    refuse(splitter_.failure());
    return;
  }
  if (ends_with_keys_) {
    end(true);
    return;
  }
  flush();
  session_.resume();
}

void CopyIn::give_up(const Error& error) {
  wants_keys_ = false;
  if (copying()) refuse({error, {}});
}

bool CopyIn::over_limit() const {
  const std::size_t limit = session_.worker().snapshot()->config->client_output_limit;
  return std::any_of(sources_.begin(), sources_.end(), [limit](const Source& source) {
    return source.backend && source.backend->stream().queued() > limit;
  });
}

void CopyIn::on_backend_drained(Backend&) {
  if (!full_ || over_limit()) return;
  full_ = false;
  session_.resume();
}

void CopyIn::done() {
  if (!copying()) return;
  if (!splitter_.finish(outputs_)) {
    refuse(splitter_.failure());
  } else if (splitter_.lookups().empty()) {
    end(true);
  } else {
    ends_with_keys_ = true;
    flush();
  }
}

void CopyIn::fail(std::string_view reason) {
  if (!copying()) return;
  refuse({{sqlstate::kQueryCanceled, "COPY from stdin failed: " + std::string(reason), {}},
          "COPY " + plan_->table + ", line " + std::to_string(splitter_.lines_read() + 1)});
}

// --- the end ---

void CopyIn::refuse(const CopyFailure& failure) {
  std::string message;
  append_error_response(message, Severity::kError, failure.error, failure.context);
  const auto line = CopyLines::find_line(plan_->table, failure.context);
  offer_error(std::move(message), line ? line->number : 0);
  end(false);
}

void CopyIn::on_shard_error(Source& source, std::string_view body) {
  const auto error = decode_error_response(body);
  const bool ours = error->message().find(kGivenUp) != std::string_view::npos;
  if (!ours) {
    const std::string_view context = error->field(error_field::kWhere);
    const std::string translated = splitter_.translate_context(source.shard, context);
    // One that is not about a line comes when all lines were read, or before any was.
    std::uint64_t line = kNoLine;
    if (const auto known = CopyLines::find_line(plan_->table, translated)) {
      line = known->number;
    } else if (!source.started || CopyLines::find_line(plan_->table, context)) {
      line = 0;
    }
    offer_error(with_context(body, translated), line);
  }
  end(false);
}

void CopyIn::on_shard_lost(Source&) { end(false); }

void CopyIn::end(bool good) {
  if (stage_ == Stage::kEnding) return;
  stage_ = Stage::kEnding;
  flush();
  good_end_ = good;
  for (Source& source : sources_) {
    if (source.started) {
      end_on(source);
    } else if (source.asked) {
      cancel_on_server(source);  // it may be waiting for a lock
    } else {
      ask(source, {});  // what it was told before is to be answered to its end
    }
  }
  full_ = false;
  session_.resume();
}

void CopyIn::end_on(Source& source) {
  if (!source.backend || source.failed || source.finished) return;
  std::string message;
  // Lines that end in a carriage return: whether a line feed follows is open, and so is the last
  // row, which CopyFail would leave unread. (It is rolled back all the same.)
  if (good_end_ || last_bytes_[source.shard] == '\r') {
    append_copy_done(message);
  } else {
    append_copy_fail(message, kGivenUp);
  }
  source.backend->tracker.push(RequestKind::kCopyEnd, ReplyUse::kSwallow);
  source.backend->send(message);
}

}  // namespace pgshunt
