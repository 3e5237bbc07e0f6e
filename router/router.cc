#include "router/router.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "router/bounded_cache.h"
#include "router/fixed_moments.h"
#include "router/hint.h"
#include "router/hint_plan.h"
#include "router/insert_rows.h"
#include "router/insert_select.h"
#include "router/insert_split.h"
#include "router/made_values.h"
#include "router/moment_words.h"
#include "router/parse_tree.h"
#include "router/pg_hash.h"
#include "router/planner.h"
#include "router/refusal.h"
#include "router/route_binding.h"
#include "router/statement_plan.h"
#include "router/template.h"

namespace pgshunt {
namespace {

// Bind's values.
class BoundParameters final : public ParameterValues {
 public:
  explicit BoundParameters(std::span<const BoundValue> values) : values_(values) {}

  Result<std::optional<KeyInput>> value(std::uint16_t parameter) override {
    if (parameter >= values_.size()) return std::optional<KeyInput>();
    const BoundValue& bound = values_[parameter];
    KeyInput input;
    if (!bound.is_null) {
      input.form = bound.binary ? KeyInput::Form::kBinary : KeyInput::Form::kText;
    }
    input.type = bound.type;
    input.bytes = bound.bytes;
    return std::optional<KeyInput>(input);
  }

  bool names_a_moment(const std::vector<bool>& text) const override {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const BoundValue& bound = values_[i];
      if (i < text.size() && text[i]) continue;
      // A text's bytes are the same in binary; it may be cast to a date or time.
      if (!bound.is_null && pgshunt::names_a_moment(bound.bytes)) return true;
    }
    return false;
  }

 private:
  std::span<const BoundValue> values_;
};

// A template's literals. Parameters the client wrote into a simple query have no value.
class LiteralParameters final : public ParameterValues {
 public:
  LiteralParameters(const StatementTemplate& statement, std::string& scratch)
      : statement_(statement), scratch_(scratch) {}

  Result<std::optional<KeyInput>> value(std::uint16_t parameter) override {
    const std::size_t number = std::size_t{parameter} + 1;
    if (number < statement_.first_literal()) return std::optional<KeyInput>();
    const std::size_t index = number - statement_.first_literal();
    if (index >= statement_.literals.size()) return std::optional<KeyInput>();
    const TemplateLiteral& literal = statement_.literals[index];
    if (!decode_literal(literal, scratch_)) {
      return Error{sqlstate::kInvalidTextRepresentation, "invalid escape in a string literal", {}};
    }
    KeyInput input;
    const bool number_literal =
        literal.kind == LiteralKind::kInteger || literal.kind == LiteralKind::kDecimal;
    input.form = number_literal ? KeyInput::Form::kNumber : KeyInput::Form::kString;
    input.bytes = scratch_;
    return std::optional<KeyInput>(input);
  }

  bool names_a_moment(const std::vector<bool>& text) const override {
    std::size_t number = statement_.parameters;
    for (const TemplateLiteral& literal : statement_.literals) {
      const std::size_t index = number++;
      if (index < text.size() && text[index]) continue;
      if (literal.kind == LiteralKind::kInteger || literal.kind == LiteralKind::kDecimal) continue;
      // Quotes around a word do not hide it, but escapes do, and pieces on several lines.
      const bool plain = literal.kind == LiteralKind::kDollarString ||
                         (literal.text.find('\n') == std::string_view::npos &&
                          literal.text.find('\r') == std::string_view::npos &&
                          literal.text.find('\\') == std::string_view::npos);
      if (plain ? pgshunt::names_a_moment(literal.text)
                : !decode_literal(literal, scratch_) || pgshunt::names_a_moment(scratch_)) {
        return true;
      }
    }
    return false;
  }

 private:
  const StatementTemplate& statement_;
  std::string& scratch_;
};

class NoParameters final : public ParameterValues {
 public:
  Result<std::optional<KeyInput>> value(std::uint16_t) override {
    return std::optional<KeyInput>();
  }
  bool names_a_moment(const std::vector<bool>&) const override { return false; }
};

// What is known of a template: how to run it, why not, or that the grammar wants its literals in
// place, so that each statement of this shape has to be planned from its text.
struct CachedTemplate {
  struct NeedsLiterals {};

  std::string text;
  std::string search_path;  // as StatementPlanData::search_path
  bool hinted = false;      // planned to run where any hint says
  std::uint64_t epoch = 0;
  std::variant<StatementPlanData, Error, NeedsLiterals> outcome;
  TemplateRenderer renderer;  // of a plan's shard_text
};

struct CachedStatement {
  std::shared_ptr<const StatementPlan> plan;
};

std::uint64_t hash_of(std::string_view text, std::span<const std::uint32_t> types) {
  const std::string_view bytes(reinterpret_cast<const char*>(types.data()), types.size_bytes());
  return hash_bytes(text) ^ (hash_bytes(bytes) * 3);
}

bool is_syntax_error(const Error& error) { return error.code == sqlstate::kSyntaxError; }

// Our parser takes a backslash in '...' for an ordinary character.
bool has_ambiguous_strings(std::string_view statement, const RouterSession& session) {
  return !session.standard_conforming_strings && statement.find('\\') != std::string_view::npos;
}

// A text that is this long without its literals is mostly a list of them, and the list's next
// length another template: thousands of those would be much memory for little use.
constexpr std::size_t kMaxCachedTemplate = 8 * 1024;

// Tells the plan of a statement with a hint from that without one.
constexpr std::uint64_t kHintedHash = 0x9e3779b97f4a7c15;

// A plan for one shard or several has the text of the latter.
bool runs_shard_text(RouteKind kind) {
  return kind != RouteKind::kOneShard && kind != RouteKind::kAnyShard;
}

Error ambiguous_text() {
  return refusal("the text of this statement is not understood well enough to be changed",
                 "Write it without numbers in place of column names.");
}

Error ambiguous_strings() {
  return refusal("the statement has a backslash while standard_conforming_strings is off",
                 "Set standard_conforming_strings to on, and write E'...' for escapes.");
}

}  // namespace

class Router::Impl {
 public:
  Impl(std::shared_ptr<const Topology> topology, std::size_t cached)
      : topology_(std::move(topology)), templates_(cached), statements_(cached) {}

  void set_topology(std::shared_ptr<const Topology> topology) { topology_ = std::move(topology); }
  const std::shared_ptr<const Topology>& topology() const { return topology_; }
  void set_directory(const KeyDirectory* directory) { context_.directory = directory; }
  void learn(const KeyLookup& lookup, KeyPlace place) {
    context_.learned.learn(topology_->epoch, lookup, place);
  }
  Counters counters() const { return counters_; }

  Result<Route> route(std::string_view statement, const RouterSession& session) {
    context_.hint = nullptr;
    if (may_have_hint(statement) || session.hint != nullptr) {
      if (const Status read = read_hint(statement, session); !read) return read.error();
    }
    const TemplateStatus status =
        normalize_template(statement, template_, session.standard_conforming_strings);
    // What is too large for a template may be many rows, each of which is not.
    const bool may_be_rows = status == TemplateStatus::kRows || status == TemplateStatus::kTooLarge;
    const bool rows = may_be_rows && context_.hint == nullptr &&
                      find_insert_rows(statement, session.standard_conforming_strings, rows_);
    auto route = rows ? route_rows(statement, session) : route_template(statement, status, session);
    if (route && route->kind == RouteKind::kMergeNode) {
      route = with_own_plan(*route, statement, session);
    }
    route = settled(std::move(route));
    if (!route) return route;
    if (route->kind != RouteKind::kInsertSelect) return route;
    return with_own_text(std::move(*route), statement, session);
  }

 private:
  // What was learned for a statement has served once it is routed.
  Result<Route> settled(Result<Route> route) {
    if (!route || route->kind != RouteKind::kLookup) context_.learned.statement_routed();
    return route;
  }

  // What was planned is the template: the statement has literals.
  Result<Route> with_own_plan(Route route, std::string_view statement,
                              const RouterSession& session) {
    if (has_ambiguous_strings(statement, session)) return ambiguous_strings();
    auto data = plan_statement(*topology_, {statement, {}, 0, path_of(session), false});
    if (!data) return data.error();
    // With its literals in place it may show what parameters hide: that two expressions are the
    // same.
    if (data->kind == RouteKind::kScatter || data->several == RouteKind::kScatter) {
      return bind_text(std::move(*data), session);
    }
    if (!data->merge_node) return ambiguous_text();
    route.merge_node = std::move(data->merge_node);
    return route;
  }

  // The same.
  static Result<Route> with_own_text(Route route, std::string_view statement,
                                     const RouterSession& session) {
    if (has_ambiguous_strings(statement, session)) return ambiguous_strings();
    auto cut = read_insert_select(statement);
    if (!cut) return cut.error();
    cut->select_writes = route.insert_select->select_writes;
    cut->in_batches = route.insert_select->in_batches;
    cut->reads_clock = route.insert_select->reads_clock;
    cut->home = route.insert_select->home;
    route.insert_select = std::make_shared<const InsertSelect>(std::move(*cut));
    return route;
  }

  // What says where the statement runs, a comment in it or else the session: context_.hint.
  Status read_hint(std::string_view statement, const RouterSession& session) {
    comment_ = {};
    if (may_have_hint(statement)) {
      const Status read =
          read_comment_hints(statement, session.standard_conforming_strings, comment_);
      if (!read) return read.error();
    }
    if (comment_.places()) {
      context_.hint = &comment_;
    } else if (comment_.keyspace) {
      return Error{sqlstate::kInvalidParameterValue, "the hint has a keyspace but no key",
                   "Add key=value."};
    } else {
      context_.hint = session.hint;
    }
    return Ok{};
  }

  Result<Route> route_template(std::string_view statement, TemplateStatus status,
                               const RouterSession& session) {
    bound_ = nullptr;
    if (status == TemplateStatus::kOk) {
      const CachedTemplate& known = find_or_plan(path_of(session));
      if (const auto* plan = std::get_if<StatementPlanData>(&known.outcome)) {
        auto route = bind_template(*plan, known.renderer, session);
        if (route || !is_moment_refusal(route.error())) return route;
        return route_moment(statement, session);
      }
      if (const auto* error = std::get_if<Error>(&known.outcome)) return *error;
    } else if (status == TemplateStatus::kMultiple) {
      return refusal("several statements cannot be routed as one", "Send them one by one.");
    } else {
      ++counters_.template_misses;
    }
    return route_text(statement, session);
  }

  // Every row is routed as an INSERT of its own, so rows of one shape share a plan however many
  // there are. What the rows of one shard have in common is then sent there as one statement.
  Result<Route> route_rows(std::string_view statement, const RouterSession& session) {
    if (!rows_.same_length) {
      return Error{sqlstate::kSyntaxError, "VALUES lists must all be the same length", {}};
    }
    const std::string_view before = rows_.before(statement);
    const std::string_view behind = rows_.behind(statement);
    row_shards_.clear();
    used_.clear();
    row_lookups_.clear();
    std::optional<Error> refused;
    bool fixes_moment = false;
    for (std::size_t i = 0; i < rows_.rows.size(); ++i) {
      auto route = route_row(before, rows_.row(statement, i), behind, session);
      if (!route) return route.error();
      fixes_moment |= bound_ != nullptr && bound_->fixes_moment;
      if (route->kind == RouteKind::kEveryShard) {
        if (i + 1 < rows_.rows.size()) continue;
        route->sql = {};
        if (!fixes_moment) return route;
        rendered_ = with_fixed_moments(statement, session.standard_conforming_strings);
        route->sql = rendered_;
        route->fixes_moment = true;
        return route;
      }
      if (route->kind == RouteKind::kMakeValues) return route_text(statement, session);
      if (route->kind == RouteKind::kLookup) {
        row_lookups_.add(route->lookups);
        continue;
      }
      if (route->kind != RouteKind::kOneShard || bound_ == nullptr) {
        return route_text(statement, session);
      }
      const ShardId shard = route->shards.front();
      const auto at = std::lower_bound(used_.begin(), used_.end(), shard);
      if (at == used_.end() || *at != shard) used_.insert(at, shard);
      row_shards_.push_back(shard);
      if (!refused) refused = bound_->rows_refusal;
    }
    Route route;
    route.writes = true;
    if (!row_lookups_.empty()) {
      route.kind = RouteKind::kLookup;
      route.lookups = row_lookups_.list();
      return route;
    }
    route.shards = used_;
    route.kind = used_.size() == 1 ? RouteKind::kOneShard : RouteKind::kWriteShards;
    if (route.kind == RouteKind::kOneShard) return route;
    if (refused) return *refused;
    if (const Status same = check_moments(statement, session); !same) return same.error();
    deal_rows(statement);
    if (fixes_moment) {
      for (std::string& text : texts_) {
        text = with_fixed_moments(text, session.standard_conforming_strings);
      }
      route.fixes_moment = true;
    }
    route.texts = texts_;
    route.row_order = row_shards_;
    return route;
  }

  Result<Route> route_row(std::string_view before, std::string_view row, std::string_view behind,
                          const RouterSession& session) {
    row_text_.assign(before).append(row).append(behind);
    const TemplateStatus status =
        normalize_template(row_text_, template_, session.standard_conforming_strings);
    return route_template(row_text_, status, session);
  }

  // Only a statement that has such a word somewhere, or an escape that may hide one, is read again.
  Status check_moments(std::string_view statement, const RouterSession& session) {
    if (!mentions_moment(statement)) return Ok{};
    for (std::size_t i = 0; i < rows_.rows.size(); ++i) {
      row_text_.assign(rows_.before(statement)).append(rows_.row(statement, i));
      row_text_.append(rows_.behind(statement));
      const TemplateStatus status =
          normalize_template(row_text_, template_, session.standard_conforming_strings);
      // What has no template was planned with its literals in place.
      if (status != TemplateStatus::kOk) continue;
      const auto* plan = std::get_if<StatementPlanData>(&find_or_plan(path_of(session)).outcome);
      if (plan == nullptr) continue;
      if (LiteralParameters(template_, literal_).names_a_moment(plan->text_parameters)) {
        return moment_refusal();
      }
    }
    return Ok{};
  }

  // The rows of each shard in a text of its own; row_shards_ becomes indexes into used_.
  void deal_rows(std::string_view statement) {
    texts_.resize(used_.size());
    for (std::string& text : texts_) text.assign(rows_.before(statement));
    std::vector<bool> begun(used_.size());
    for (std::size_t i = 0; i < row_shards_.size(); ++i) {
      const auto at = std::lower_bound(used_.begin(), used_.end(), row_shards_[i]);
      const auto index = static_cast<std::uint16_t>(at - used_.begin());
      row_shards_[i] = index;
      if (begun[index]) texts_[index].append(", ");
      begun[index] = true;
      texts_[index].append(rows_.row(statement, i));
    }
    for (std::string& text : texts_) text.append(rows_.behind(statement));
  }

 public:
  std::string_view with_values(std::span<const std::int64_t> values) {
    std::vector<std::string> numbers;
    for (const std::int64_t value : values) numbers.push_back(std::to_string(value));
    return with_texts(numbers);
  }
  std::string_view with_places(std::size_t count) {
    std::vector<std::string> places;
    for (std::size_t i = 1; i <= count; ++i) places.push_back("made " + std::to_string(i));
    return with_texts(places);
  }

 private:
  std::string_view with_texts(const std::vector<std::string>& numbers) {
    for (const std::string& number : numbers) {
      template_.literals.push_back({LiteralKind::kInteger, 0, number});
    }
    made_by_->render(template_.literals, rendered_);
    template_.literals.clear();
    return rendered_;
  }

 public:
  Result<std::shared_ptr<const StatementPlan>> prepare(std::string_view statement,
                                                       std::span<const std::uint32_t> types,
                                                       const RouterSession& session) {
    if (has_ambiguous_strings(statement, session)) return ambiguous_strings();
    context_.hint = nullptr;
    if (const Status read = read_hint(statement, session); !read) return read.error();
    const bool hinted = context_.hint != nullptr;
    const SearchPath* path = path_of(session);
    const std::uint64_t hash =
        hash_of(statement, types) ^ (path ? path->hash() : 0) ^ (hinted ? kHintedHash : 0);
    const CachedStatement* known = statements_.find(hash, [&](const CachedStatement& cached) {
      const StatementPlan& plan = *cached.plan;
      return is_current(plan, path, session) && plan.text() == statement &&
             std::equal(types.begin(), types.end(), plan.types().begin(), plan.types().end());
    });
    if (known != nullptr) {
      ++counters_.template_hits;
      return known->plan;
    }
    ++counters_.template_misses;
    std::vector<std::uint32_t> type_list(types.begin(), types.end());
    auto data = plan_statement(*topology_, {statement, type_list, 0, path, hinted});
    if (!data) return data.error();
    data->hint_asked = hinted;
    if (comment_.places()) data->comment = comment_;
    auto plan = std::make_shared<const StatementPlan>(std::string(statement), std::move(type_list),
                                                      std::move(*data));
    statements_.insert(hash, {plan});
    return plan;
  }

  bool is_current(const StatementPlan& plan, const RouterSession& session) const {
    return is_current(plan, path_of(session), session);
  }

  std::optional<ShardId> home_of(const StatementPlan& plan, const RouterSession& session) {
    if (!plan.data().hinted) return plan.data().home;
    const RouteHint* hint = hint_of(plan, session);
    if (hint == nullptr) return std::nullopt;
    const auto shard = shard_of_hint(*topology_, *hint, session, context_, false);
    return shard ? *shard : std::nullopt;
  }

  Result<Route> route_to_merge_node(std::string_view statement,
                                    std::span<const std::uint32_t> types, std::string_view why,
                                    const RouterSession& session) {
    if (has_ambiguous_strings(statement, session)) return ambiguous_strings();
    PlanRequest request{statement, {types.begin(), types.end()}, 0, path_of(session), false, why};
    auto data = plan_statement(*topology_, request);
    if (!data) return data.error();
    if (!data->merge_node) return refusal(std::string(why), "Give the shard key.");
    Route route;
    route.kind = RouteKind::kMergeNode;
    route.shards = topology_->all_shards;
    route.merge_node = std::move(data->merge_node);
    return route;
  }

  Result<Route> bind(const StatementPlan& plan, std::span<const BoundValue> values,
                     const RouterSession& session) {
    if (!is_current(plan, session)) {
      return Error{sqlstate::kObjectNotInPrerequisiteState,
                   plan.epoch() == topology_->epoch
                       ? "the settings it was routed by have changed since it was prepared"
                       : "the shard map has changed since the statement was prepared",
                   {}};
    }
    return settled(bind_values(plan, values, session));
  }

 private:
  Result<Route> bind_values(const StatementPlan& plan, std::span<const BoundValue> values,
                            const RouterSession& session) {
    BoundParameters parameters(values);
    context_.hint = hint_of(plan, session);
    auto route = bind_route(*topology_, plan.data(), parameters, session, context_);
    if (route && route->kind == RouteKind::kWriteShards && plan.data().split) {
      const Status bound =
          bind_rows(*topology_, plan.data(), parameters, session, context_, row_shards_);
      if (!bound) return bound.error();
      if (!context_.lookups.empty()) {
        route->kind = RouteKind::kLookup;
        route->shards = {};
        route->lookups = context_.lookups.list();
        return route;
      }
      const std::size_t wanted = std::max(plan.data().split->parameters, plan.types().size());
      if (values.size() != wanted) {
        return Error{sqlstate::kProtocolViolation,
                     "bind message supplies " + std::to_string(values.size()) +
                         " parameters, but prepared statement requires " + std::to_string(wanted),
                     {}};
      }
      route->split = plan.data().split.get();
      route->row_order = row_shards_;
    }
    return route;
  }

  // The session's search path, if it has one of its own: null leaves it to the topology's.
  static const SearchPath* path_of(const RouterSession& session) {
    return session.default_search_path ? nullptr : session.search_path;
  }

  static const RouteHint* hint_of(const StatementPlan& plan, const RouterSession& session) {
    return plan.data().comment ? &*plan.data().comment : session.hint;
  }

  // Made under this map and search path, and with a hint if there is one?
  bool is_current(const StatementPlan& plan, const SearchPath* path,
                  const RouterSession& session) const {
    return plan.epoch() == topology_->epoch &&
           plan.data().hint_asked == (hint_of(plan, session) != nullptr) &&
           plan.data().search_path == (path ? std::string_view(path->text()) : std::string_view());
  }

  const CachedTemplate& find_or_plan(const SearchPath* path) {
    const bool hinted = context_.hint != nullptr;
    const std::uint64_t hash =
        template_.hash ^ (path ? path->hash() : 0) ^ (hinted ? kHintedHash : 0);
    const std::string_view path_text = path ? std::string_view(path->text()) : std::string_view();
    CachedTemplate* known = templates_.find(hash, [&](const CachedTemplate& cached) {
      return cached.text == template_.text && cached.hinted == hinted &&
             cached.search_path == path_text;
    });
    if (known != nullptr && known->epoch == topology_->epoch) {
      ++counters_.template_hits;
      return *known;
    }
    ++counters_.template_misses;
    CachedTemplate fresh{template_.text,   std::string(path_text),          hinted,
                         topology_->epoch, CachedTemplate::NeedsLiterals{}, {}};
    auto data =
        plan_statement(*topology_, {template_.text, {}, template_.first_literal(), path, hinted});
    if (data) {
      const std::string& text = data->made ? data->made->text : data->shard_text;
      fresh.renderer = TemplateRenderer(text, template_.first_literal());
      fresh.outcome = std::move(*data);
    } else if (!is_syntax_error(data.error())) {
      fresh.outcome = data.error();
    }
    if (known == nullptr && fresh.text.size() > kMaxCachedTemplate) {
      large_ = std::move(fresh);
      return large_;
    }
    if (known == nullptr) return templates_.insert(hash, std::move(fresh));
    *known = std::move(fresh);
    return *known;
  }

  // The values of the route before are put in by this.
  void note_made(const Route& route, const TemplateRenderer& renderer, bool with_literals) {
    if (route.kind != RouteKind::kMakeValues) return;
    made_by_ = &renderer;
    if (!with_literals) template_.literals.clear();
  }

  Result<Route> bind_template(const StatementPlanData& plan, const TemplateRenderer& renderer,
                              const RouterSession& session) {
    LiteralParameters parameters(template_, literal_);
    bound_ = &plan;
    auto route = bind_route(*topology_, plan, parameters, session, context_);
    if (route) note_made(*route, renderer, true);
    if (route && !plan.shard_text.empty() && runs_shard_text(route->kind)) {
      renderer.render(template_.literals, rendered_);
      route->sql = rendered_;
    }
    return route;
  }

  // A literal may say "now": with it in place the merge node may be the one clock.
  Result<Route> route_moment(std::string_view statement, const RouterSession& session) {
    auto route = route_text(statement, session);
    if (route && route->kind == RouteKind::kMergeNode) return route;
    return moment_refusal();
  }

  // Without a template: the statement is parsed as it stands.
  Result<Route> route_text(std::string_view statement, const RouterSession& session) {
    if (has_ambiguous_strings(statement, session)) return ambiguous_strings();
    auto data =
        plan_statement(*topology_, {statement, {}, 0, path_of(session), context_.hint != nullptr});
    if (!data) return data.error();
    return bind_text(std::move(*data), session);
  }

  Result<Route> bind_text(StatementPlanData data, const RouterSession& session) {
    text_plan_ = std::move(data);
    bound_ = &text_plan_;
    NoParameters parameters;
    auto route = bind_route(*topology_, text_plan_, parameters, session, context_);
    if (route && text_plan_.made) {
      text_renderer_ = TemplateRenderer(text_plan_.made->text, text_plan_.made->first);
      note_made(*route, text_renderer_, false);
    }
    // The rows of a simple query are told apart before it is parsed, unless they are odd.
    if (route && route->kind == RouteKind::kWriteShards && text_plan_.split) {
      return text_plan_.several_refusal;
    }
    if (route && runs_shard_text(route->kind)) route->sql = text_plan_.shard_text;
    return route;
  }

  std::shared_ptr<const Topology> topology_;
  BoundedCache<CachedTemplate> templates_;
  BoundedCache<CachedStatement> statements_;
  Counters counters_;

  // Buffers that keep their capacity from call to call; results point into them.
  StatementTemplate template_;
  CachedTemplate large_;  // the last one that is not worth keeping
  StatementPlanData text_plan_;
  RouteHint comment_;                          // of the statement being routed
  TemplateRenderer text_renderer_;             // of text_plan_.made
  const TemplateRenderer* made_by_ = nullptr;  // of the last route of kMakeValues
  std::string literal_;
  std::string rendered_;
  BindContext context_;
  const StatementPlanData* bound_ = nullptr;  // of the last route
  InsertRows rows_;
  KeyLookups row_lookups_;
  std::string row_text_;
  std::vector<ShardId> used_;
  std::vector<std::uint16_t> row_shards_;
  std::vector<std::string> texts_;
};

Router::Router(std::shared_ptr<const Topology> topology, std::size_t cached_templates)
    : impl_(std::make_unique<Impl>(std::move(topology), cached_templates)) {}
Router::~Router() = default;

void Router::set_topology(std::shared_ptr<const Topology> topology) {
  impl_->set_topology(std::move(topology));
}
const Topology& Router::topology() const { return *impl_->topology(); }
const std::shared_ptr<const Topology>& Router::shared_topology() const { return impl_->topology(); }
void Router::set_directory(const KeyDirectory* directory) { impl_->set_directory(directory); }
void Router::learn(const KeyLookup& lookup, KeyPlace place) { impl_->learn(lookup, place); }
Router::Counters Router::counters() const { return impl_->counters(); }

Result<Route> Router::route(std::string_view statement, const RouterSession& session) {
  return impl_->route(statement, session);
}

std::string_view Router::with_values(std::span<const std::int64_t> values) {
  return impl_->with_values(values);
}

std::string_view Router::with_places(std::size_t count) { return impl_->with_places(count); }

Result<std::shared_ptr<const StatementPlan>> Router::prepare(std::string_view statement,
                                                             std::span<const std::uint32_t> types,
                                                             const RouterSession& session) {
  return impl_->prepare(statement, types, session);
}

Result<std::shared_ptr<const StatementPlan>> Router::refresh(
    std::shared_ptr<const StatementPlan> plan, const RouterSession& session) {
  if (impl_->is_current(*plan, session)) return plan;
  return impl_->prepare(plan->text(), plan->types(), session);
}

bool Router::is_current(const StatementPlan& plan, const RouterSession& session) const {
  return impl_->is_current(plan, session);
}

Result<Route> Router::bind(const StatementPlan& plan, std::span<const BoundValue> values,
                           const RouterSession& session) {
  return impl_->bind(plan, values, session);
}

Result<Route> Router::route_to_merge_node(std::string_view statement,
                                          std::span<const std::uint32_t> types,
                                          std::string_view why, const RouterSession& session) {
  return impl_->route_to_merge_node(statement, types, why, session);
}

std::optional<ShardId> Router::home_of(const StatementPlan& plan, const RouterSession& session) {
  return impl_->home_of(plan, session);
}

Status Router::check_syntax(std::string_view statement) {
  const auto parsed = parse_statement(statement);
  if (!parsed) return parsed.error();
  return Ok{};
}

}  // namespace pgshunt
