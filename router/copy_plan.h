// COPY of a table that lives on several shards: what its options say of the bytes, and whose are
// the rows of a COPY FROM. Made by the planner, immutable, carried out by router/copy_split.h and
// protocol/copy_merge.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/copy_format.h"
#include "protocol/result.h"
#include "router/copy_options.h"
#include "router/key_value.h"
#include "router/router.h"
#include "router/sql_tree.h"
#include "router/statement_analysis.h"
#include "router/topology.h"

namespace pgshunt {

// A column that the client leaves out and the proxy fills: the shard key, which decides where the
// row goes, and what must be the same in all copies of a reference table.
struct MadeField {
  std::string column;
  std::string source;  // as MadeValues::sources
  std::uint32_t type_oid = 0;
};

struct CopyPlan {
  CopyOptions options;
  bool encoding_given = false;  // ENCODING: the client's bytes may be in any

  // COPY TO only: columns whose values are always quoted.
  CopyColumnChoice force_quote;

  // COPY FROM only.
  std::string table;                 // without its schema, as in a server's CONTEXT
  std::vector<std::string> columns;  // the fields of a row
  std::vector<MadeField> made;       // what each is given before those
  bool header_match = false;         // the shards compare the header's names with the columns'
  bool every_shard = false;          // a reference table: every row goes to every shard
  bool filtered = false;             // WHERE: a row may be dropped by its server
  // Fields that may be dates and times: "now" in one would be each server's own. Ascending.
  std::vector<std::size_t> moment_fields;
  // Of a sharded table.
  std::optional<ShardId> only_shard;  // a hint says so: a row of another is an error
  std::size_t key_field = 0;
  std::optional<std::size_t> made_key;  // it is one of `made`: key_field says nothing
  std::uint16_t keyspace = 0;
  ShardKeyType key_type = ShardKeyType::kInt8;
  KeyUse key_use = KeyUse::kStored;
  bool force_null = false;      // FORCE_NULL names the key
  bool force_not_null = false;  // FORCE_NOT_NULL does

  // The statement to send for the client's.
  std::string shard_text(std::string_view sql, bool standard_conforming_strings) const;
  const std::string& key_column() const {
    return made_key ? made[*made_key].column : columns[key_field];
  }
};

// `facts`: of the statement's WHERE. Options that are not known are refused, and those that servers
// refuse, in their words.
Result<CopyPlan> plan_copy_from(const Topology& topology, const SqlStatement& statement,
                                const Table& table, const StatementFacts& facts);
Result<CopyPlan> plan_copy_to(const SqlStatement& statement);
// The query of a COPY (query) TO, as it stands in its text; empty: it is not found.
std::string_view query_of_copy(std::string_view text);

// Can the rows be told apart in the session's client_encoding?
Status check_copy_encoding(const CopyPlan& plan, const RouterSession& session);
// Of the encodings a client may use: does it have letters of several bytes in which a byte looks
// like ASCII, a backslash for example? (SJIS, BIG5, GBK, UHC, GB18030, JOHAB.)
bool encoding_embeds_ascii(std::string_view name);

}  // namespace pgshunt
