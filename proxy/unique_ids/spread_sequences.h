// Sets the sequences of one name on all shards apart: each counts in steps over the others'
// numbers.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "protocol/result.h"
#include "proxy/control_connection.h"
#include "router/topology.h"

namespace pgshunt {

struct ShardSequences {
  std::string shard;       // its name
  std::uint32_t slot = 0;  // another one on each shard
  ControlConnection* connection = nullptr;
};

// Those of sharded tables that give the same numbers on several shards: what has given none yet, or
// (`used`) all.
std::vector<std::string> sequences_to_spread(const Topology& topology, bool used);

// They go on above the highest of them. One that was used is left alone unless `used`: 55000. If it
// fails on one shard it may be done on others; that harms nothing, and may be repeated.
Status spread_sequence(std::span<const ShardSequences> shards, const std::string& sequence,
                       bool used);

}  // namespace pgshunt
