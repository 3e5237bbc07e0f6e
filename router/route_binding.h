// From a plan and the values of its parameters to a route.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "protocol/result.h"
#include "router/hint.h"
#include "router/key_directory.h"
#include "router/key_value.h"
#include "router/router.h"
#include "router/statement_plan.h"
#include "router/topology.h"

namespace pgshunt {

// Where a statement's parameters come from: a Bind message, or the literals of a template.
class ParameterValues {
 public:
  virtual ~ParameterValues() = default;
  // The value of a parameter (from 0), good until the next call; nothing if there is no such
  // parameter. An Error for a literal the server would refuse.
  virtual Result<std::optional<KeyInput>> value(std::uint16_t parameter) = 0;
  // Some value is text that means a different moment on every server ("now"), but for those of
  // `text`, by number from 0, which are not read as a time.
  virtual bool names_a_moment(const std::vector<bool>& text) const = 0;
};

// What binding asks besides the map, and where it keeps what routes point to. One of each router.
struct BindContext {
  const KeyDirectory* directory = nullptr;
  LearnedKeys learned{4096};
  std::vector<ShardId> chosen;       // that values name, ascending
  std::vector<ShardId> some_shards;  // within bounds, ascending
  KeyLookups lookups;
  std::string key;                  // scratch
  const RouteHint* hint = nullptr;  // of a hinted plan: where it is to run
};

// Allocates nothing once the context's buffers have grown, unless a key is a long numeric or bytea.
Result<Route> bind_route(const Topology& topology, const StatementPlanData& plan,
                         ParameterValues& values, const RouterSession& session,
                         BindContext& context);

// The shards of a pin whose value is a constant, added to `context.chosen` and `context.lookups`.
Status add_constant(const Topology& topology, const Pin& pin, const RouterSession& session,
                    BindContext& context);

// Of a plan with `split`: for each pin its index in `context.chosen`, which bind_route() has
// filled. If the directory has to be asked again, `context.lookups` is not empty afterwards.
Status bind_rows(const Topology& topology, const StatementPlanData& plan, ParameterValues& values,
                 const RouterSession& session, BindContext& context,
                 std::vector<std::uint16_t>& row_order);

}  // namespace pgshunt
