// What SHOW can show: its topics, their columns, and the rows made of what the workers reported.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "proxy/admin/result_set.h"
#include "proxy/admin/survey.h"

namespace pgshunt {

class Worker;

enum class ShowTopic : std::uint8_t {
  kPools,
  kClients,
  kServers,
  kSockets,
  kActiveSockets,
  kStats,
  kStatsTotals,
  kStatsAverages,
  kTotals,
  kDatabases,
  kUsers,
  kLists,
  kConfig,
  kMem,
  kVersion,
  kState,
  kDnsHosts,
  kDnsZones,
  kPins,
  kShards,
  kKeyspaces,
  kTables,
  kDrift,
  kTransactions,
};

// "POOLS"; the names are in the order of the enumeration.
std::span<const std::string_view> show_topic_names();
// Fixed for each topic, so that a statement can be described before it runs.
std::span<const AdminColumn> show_columns(ShowTopic topic);
// What has to be asked of the workers for it.
SurveyParts survey_parts(ShowTopic topic);
// The rows, on the thread of the worker that serves the console.
ResultSet show_rows(ShowTopic topic, Worker& worker, const std::vector<WorkerReport>& reports);

}  // namespace pgshunt
