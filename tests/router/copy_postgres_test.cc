// COPY through the splitter and the merger beside the same COPY of one server that has all the
// rows: what it refuses, in which words and at which line, and what is stored.

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "protocol/copy_merge.h"
#include "protocol/frame.h"
#include "router/copy_plan.h"
#include "router/copy_split.h"
#include "router/planner.h"
#include "tests/router/topologies.h"
#include "tests/support/pg_client.h"
#include "tests/support/pg_server.h"

namespace pgshunt {
namespace {

constexpr std::size_t kShards = 3;

std::string framed(std::string_view body) {
  std::string out = "d";
  char size[4];
  store_be32(size, static_cast<std::uint32_t>(body.size() + 4));
  out.append(size, 4);
  out += body;
  return out;
}

struct KeyCase {
  ShardKeyType type;
  const char* sql_type;
  std::vector<std::string> values;  // as text, some of them wrong
};

const std::vector<KeyCase>& key_cases() {
  static const std::vector<KeyCase> cases = {
      {ShardKeyType::kInt8,
       "bigint",
       {"1", "2", "-3", "44", "1234567890123456789", " 5", "+6", "007", "5.0", "", "x",
        "9223372036854775808", "-9223372036854775808", "1e3", "0x1F", "1_0"}},
      {ShardKeyType::kInt4, "int", {"1", "-7", "99", "2147483647", "2147483648", "x"}},
      {ShardKeyType::kText,
       "text",
       {"a", "b c", "\xc3\xa4", "it's", "say \"x\"", "tab\there", "line\nend", "back\\slash", "",
        ",", "\\."}},
      {ShardKeyType::kVarchar, "varchar(4)", {"a", "ab", "abcd", "abcde", "ab ", "abcd  "}},
      {ShardKeyType::kUuid,
       "uuid",
       {"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "{A0EEBC999C0B4EF8BB6D6BB9BD380A12}", "nope"}},
      {ShardKeyType::kBytea, "bytea", {"\\x0aff", "\\x", "abc", "a\\\\b", "\\x0"}},
      {ShardKeyType::kNumeric, "numeric", {"1", "1.0", "1.50", "-1e10", "NaN", "x"}},
      {ShardKeyType::kDate, "date", {"2024-02-29", "2023-02-29", "infinity", "01/02/2024", "now"}},
      {ShardKeyType::kTimestamptz,
       "timestamptz",
       {"2024-01-01 10:00:00+02", "2024-01-01 08:00:00Z", "2024-01-01 10:00:00", "today"}},
  };
  return cases;
}

class CopyDifferential : public ::testing::Test {
 protected:
  void SetUp() override {
    PgServer* server = PgServer::shared();
    if (server == nullptr) GTEST_SKIP() << "no PostgreSQL to ask";
    client_ = PgClient::connect(server->socket_dir(), server->port(), "postgres");
    ASSERT_NE(client_, nullptr);
  }

  std::size_t pick(std::size_t n) { return static_cast<std::size_t>(random_() % n); }
  bool chance(std::size_t n) { return pick(n) == 0; }

  void must(const std::string& sql) {
    const PgResult result = client_->query(sql);
    ASSERT_TRUE(result.ok()) << sql << ": " << result.error;
  }

  // One table in schema whole, the same in one schema for each shard.
  void make_tables(const KeyCase& key) {
    std::string sql;
    for (const char* schema : {"whole", "shard0", "shard1", "shard2"}) {
      const std::string name = schema;
      sql += "DROP SCHEMA IF EXISTS " + name + " CASCADE; CREATE SCHEMA " + name +
             "; CREATE TABLE " + name + ".t (a text, k " + key.sql_type + " NOT NULL, b int);";
    }
    must("SET client_min_messages = error; " + sql);
    TopologyBuilder builder;
    for (const char* shard : {"s0", "s1", "s2"}) ASSERT_TRUE(builder.add_shard(shard));
    ASSERT_TRUE(builder.add_keyspace("keys", key.type));
    ASSERT_TRUE(builder.add_sharded_table("public", "t", "keys", "k"));
    Column k = test_column("k", oid_of(key.type));
    if (key.type == ShardKeyType::kVarchar) k.type_modifier = 8;
    builder.set_columns("public", "t",
                        {test_column("a", type_oid::kText), k, test_column("b", type_oid::kInt4)});
    auto topology = builder.build(1);
    ASSERT_TRUE(topology);
    topology_ = *topology;
  }

  // COPY public.t ... of the plan is COPY <schema>.t ... on the server.
  static std::string in_schema(const std::string& schema, const std::string& tail) {
    return "COPY " + schema + ".t " + tail;
  }

  // The whole of a table, in one string.
  std::string contents(const std::string& from) {
    const PgResult rows = client_->query(
        "SELECT md5(coalesce(string_agg(r, '|' ORDER BY r COLLATE "
        "\"C\"), '')), count(*) FROM (SELECT t::text AS r FROM " +
        from + ") x");
    return rows.ok() ? *rows.value(0, 0) + " " + *rows.value(0, 1) : rows.error;
  }
  static std::string all_shards() {
    return "(SELECT * FROM shard0.t UNION ALL SELECT * FROM shard1.t UNION ALL SELECT * FROM "
           "shard2.t) t";
  }

  // The same stream into one table and, split, into three. Returns whether it was accepted.
  bool compare(const std::string& tail, const std::string& stream) {
    const std::string shown = tail + "\n" + ::testing::PrintToString(stream);
    EXPECT_TRUE(client_->query("TRUNCATE whole.t, shard0.t, shard1.t, shard2.t").ok());
    const PgResult whole = client_->copy_in(in_schema("whole", tail), framed(stream));

    const auto data = plan_statement(*topology_, {"COPY public.t " + tail, {}, 0});
    if (!data) {
      EXPECT_FALSE(whole.ok() && data.error().code.view() != "0A000") << shown;
      return false;
    }
    EXPECT_EQ(data->kind, RouteKind::kCopySplit);
    CopySplitter splitter(topology_, data->copy, {});
    std::vector<std::string> outputs(kShards);
    bool good = true;
    for (std::string_view rest = stream; good && !rest.empty();) {
      const std::string chunk(rest.substr(0, 1 + pick(chance(2) ? 10 : 1000)));
      good = splitter.take(chunk, outputs);
      rest.remove_prefix(chunk.size());
    }
    good = good && splitter.finish(outputs);

    // Of all that was refused, what came first in the stream.
    struct Refused {
      std::string message;
      std::string context;
      std::string code;
      std::uint64_t line = 0;
    };
    std::optional<Refused> first;
    const auto note = [&first](Refused refused) {
      const std::size_t at = refused.context.find(", line ");
      refused.line =
          at == std::string::npos ? ~std::uint64_t{0} : std::stoull(refused.context.substr(at + 7));
      if (!first || refused.line < first->line) first = std::move(refused);
    };
    if (!good) {
      const CopyFailure& failure = splitter.failure();
      note({failure.error.message, failure.context, std::string(failure.error.code.view())});
    }
    for (ShardId shard = 0; shard < kShards; ++shard) {
      const PgResult part =
          client_->copy_in(in_schema("shard" + std::to_string(shard), tail), outputs[shard]);
      if (part.ok()) continue;
      note({part.error, splitter.translate_context(shard, part.context), part.sqlstate});
    }
    if (!first) {
      EXPECT_TRUE(whole.ok()) << "accepted, but: " << whole.error << " " << whole.context << "\n"
                              << shown;
      EXPECT_EQ(contents("whole.t"), contents(all_shards())) << shown;
      check_owners(shown);
      return true;
    }
    if (first->code == "0A000") {
      ++refused_;
      return false;
    }
    EXPECT_FALSE(whole.ok()) << "refused: " << first->message << "\n" << shown;
    EXPECT_EQ(line_of(first->context), line_of(whole.context)) << shown;
    // Of a row with faults in two columns the splitter names the key's.
    if (first->context.starts_with("COPY t, line") &&
        column_of(first->context) != column_of(whole.context)) {
      return false;
    }
    // How a bad value is worded is tested with the types; those of integers are in everybody's
    // eyes.
    const bool integers_in_text = is_integer(topology_->keyspaces[0].key_type) &&
                                  data->copy->options.format != CopyFormat::kBinary;
    if (column_of(first->context) == "k" && !integers_in_text) return false;
    EXPECT_EQ(first->code, whole.sqlstate) << first->message << " / " << whole.error << "\n"
                                           << shown;
    if (first->code == "23502") return false;  // in words of its own
    // Long values are cut in messages.
    const std::size_t cut = first->message.find("...\"");
    EXPECT_EQ(first->message.substr(0, cut), whole.error.substr(0, cut)) << shown;
    EXPECT_EQ(first->context, whole.context) << shown;
    return false;
  }

  // "COPY t, line 7" and "k" of "COPY t, line 7, column k: ...".
  static std::string line_of(const std::string& context) {
    return context.substr(0, context.find_first_of(",:", 8));
  }
  static std::string column_of(const std::string& context) {
    const std::string line = line_of(context);
    constexpr std::string_view kColumn = ", column ";
    if (context.compare(line.size(), kColumn.size(), kColumn) != 0) return {};
    const std::size_t from = line.size() + kColumn.size();
    return context.substr(from, context.find(':', from) - from);
  }

  // Every row is where the router would look for it.
  void check_owners(const std::string& shown) {
    for (ShardId shard = 0; shard < kShards; ++shard) {
      const PgResult rows =
          client_->execute("SELECT k FROM shard" + std::to_string(shard) + ".t", {}, 1);
      for (std::size_t i = 0; i < rows.rows.size(); ++i) {
        const std::string key = *rows.value(i, 0);
        KeyInput input;
        input.form = KeyInput::Form::kBinary;
        input.bytes = key;
        const auto hash = hash_key(topology_->keyspaces[0].key_type, {}, input, KeyUse::kCompared);
        ASSERT_TRUE(hash) << shown;
        EXPECT_EQ(topology_->keyspaces[0].hash()->owners[hash->hash & (kBucketCount - 1)], shard)
            << shown;
      }
    }
  }

  struct Dialect {
    std::string tail = "FROM STDIN";
    bool csv = false;
    bool header = false;
    char delimiter = '\t';
    char quote = '"';
    char escape = '"';
    std::string null_text;
  };

  static std::string literal(std::string_view value) {
    std::string out = "E'";
    for (const char c : value) {
      if (c == '\'' || c == '\\') out += '\\';
      out += c;
    }
    return out + "'";
  }

  Dialect random_dialect() {
    Dialect out;
    out.csv = chance(2);
    std::string options = out.csv ? "FORMAT csv" : "FORMAT text";
    out.delimiter = out.csv ? ',' : '\t';
    out.null_text = out.csv ? "" : "\\N";
    if (chance(3)) {
      out.delimiter = ",|;\t"[pick(4)];
      options += ", DELIMITER " + literal({&out.delimiter, 1});
    }
    if (chance(3)) {
      const char* nulls[] = {"", "nil", "\\N", "a"};
      out.null_text = nulls[pick(4)];
      options += ", NULL " + literal(out.null_text);
    }
    out.header = chance(4);
    if (out.header) options += chance(2) ? ", HEADER" : ", HEADER match";
    if (out.csv) {
      if (chance(3)) {
        out.quote = out.escape = '\'';
        options += ", QUOTE " + literal("'");
      }
      if (chance(3)) {
        out.escape = "\\^\""[pick(3)];
        options += ", ESCAPE " + literal({&out.escape, 1});
      }
      if (chance(5)) options += ", FORCE_NULL (a, k)";
      if (chance(5)) options += ", FORCE_NOT_NULL (k)";
    }
    if (chance(3)) {
      out.tail = "(a, k, b) " + out.tail;
    }
    out.tail += " WITH (" + options + ")";
    if (chance(6)) out.tail += " WHERE b > 3";
    return out;
  }

  std::string encode(const Dialect& dialect, const std::string& value) {
    std::string out;
    if (!dialect.csv) {
      for (const char c : value) {
        if (c == '\n' && chance(2)) {
          out += "\\n";
        } else if (c == '\\' || c == dialect.delimiter || c == '\n' || c == '\r') {
          out += '\\';
          out += c;
        } else if (chance(20)) {
          char octal[8];
          std::snprintf(octal, sizeof octal, chance(2) ? "\\%03o" : "\\x%02x",
                        static_cast<unsigned>(static_cast<unsigned char>(c)));
          out += octal;
        } else {
          out += c;
        }
      }
      return out;
    }
    const bool must_quote = value == dialect.null_text || value == "\\." ||
                            value.find_first_of(std::string("\r\n") + dialect.quote +
                                                dialect.delimiter) != std::string::npos;
    if (!must_quote && !chance(4)) return value;
    out += dialect.quote;
    for (const char c : value) {
      if (c == dialect.quote || c == dialect.escape) out += dialect.escape;
      out += c;
    }
    return out + dialect.quote;
  }

  std::string random_stream(const Dialect& dialect, const KeyCase& key, bool mutate) {
    static const std::vector<std::string> texts = {
        "x",      "",         "hello world", "two\nlines", "a,b", "q\"q", "q'q",
        "back\\", "\xc3\xa4", "tab\tx",      "\\.",        "N",   "nil",  std::string(300, 'l')};
    const char* ends[] = {"\n", "\r\n", "\r"};
    const std::string end = ends[chance(3) ? pick(3) : 0];
    // Mostly rows that are good, or nothing is ever stored.
    const bool careful = chance(2);
    std::string out;
    if (dialect.header) {
      out += std::string("a") + dialect.delimiter + (chance(9) ? "K" : "k") + dialect.delimiter +
             "b" + end;
    }
    const std::size_t rows = pick(30);
    for (std::size_t i = 0; i < rows; ++i) {
      const std::string value = key.values[careful ? pick(3) : pick(key.values.size())];
      out += chance(8) ? dialect.null_text : encode(dialect, texts[pick(texts.size())]);
      out += dialect.delimiter;
      out += chance(careful ? 1000 : 40) ? dialect.null_text : encode(dialect, value);
      out += dialect.delimiter;
      out += chance(5) ? dialect.null_text : std::to_string(pick(10));
      if (i + 1 < rows || !chance(4)) out += end;
    }
    if (chance(5)) out += "\\." + end + (chance(2) ? "rubbish" + end : "");
    for (std::size_t n = mutate ? 1 + pick(3) : 0; n > 0 && !out.empty(); --n) {
      static const std::vector<std::string> bits = {
          "\n", "\r", "\\", "\"", "'", "\t", ",", "\\.\n", "\\.", "\r\n", "\\N", "\xc3\xa4"};
      const std::size_t at = pick(out.size());
      // Between two letters of ASCII, so that the encoding stays right.
      if ((static_cast<unsigned char>(out[at]) & 0x80) != 0) continue;
      if (chance(2)) {
        out.erase(at, 1);
      } else {
        out.insert(at, bits[pick(bits.size())]);
      }
    }
    return out;
  }

  std::mt19937_64 random_{7};
  std::unique_ptr<PgClient> client_;
  std::shared_ptr<const Topology> topology_;
  int refused_ = 0;
};

TEST_F(CopyDifferential, TextAndCsv) {
  int accepted = 0;
  int rounds = 0;
  for (const KeyCase& key : key_cases()) {
    make_tables(key);
    for (int round = 0; round < 150 && !HasFailure(); ++round, ++rounds) {
      const Dialect dialect = random_dialect();
      accepted += compare(dialect.tail, random_stream(dialect, key, chance(3))) ? 1 : 0;
    }
  }
  RecordProperty("accepted", accepted);
  RecordProperty("refused_here", refused_);
  EXPECT_GT(accepted, rounds / 8);
  EXPECT_LT(refused_, rounds / 3);
}

TEST_F(CopyDifferential, BinaryAndTheWayBack) {
  for (const KeyCase& key : key_cases()) {
    make_tables(key);
    std::string rows;
    for (std::size_t i = 0; i < 100; ++i) {
      const std::string& value = key.values[pick(3)];
      const PgResult added = client_->execute(
          "INSERT INTO whole.t VALUES ($1, $2, $3)",
          {{0, 0, chance(5) ? std::nullopt : std::optional<std::string>("v\n" + std::to_string(i))},
           {0, 0, value},
           {0, 0, std::to_string(i)}},
          0);
      static_cast<void>(added);  // some values are wrong
    }
    for (const char* options : {"(FORMAT text)", "(FORMAT csv)", "(FORMAT csv, HEADER)",
                                "(FORMAT binary)", "(FORMAT text, HEADER)"}) {
      // Spread the rows as they come from one server ...
      const PgResult out = client_->query(std::string("COPY whole.t TO STDOUT ") + options);
      ASSERT_TRUE(out.ok()) << out.error;
      std::string stream;
      for (const std::string& body : out.copied) stream += body;
      const std::string before = contents("whole.t");
      EXPECT_TRUE(compare(std::string("FROM STDIN ") + options, stream)) << key.sql_type << options;
      ASSERT_EQ(contents("whole.t"), before);
      // ... and read them back as one.
      const auto data =
          plan_statement(*topology_, {std::string("COPY public.t TO STDOUT ") + options, {}, 0});
      ASSERT_TRUE(data);
      ASSERT_EQ(data->kind, RouteKind::kCopyMerge);
      CopyMerger merger(data->copy->options.format, data->copy->options.header, kShards);
      std::string merged;
      for (std::size_t shard = 0; shard < kShards; ++shard) {
        const PgResult part =
            client_->query("COPY shard" + std::to_string(shard) + ".t TO STDOUT " + options);
        for (const std::string& body : part.copied) {
          const auto piece = merger.take(shard, body);
          ASSERT_TRUE(piece) << piece.error().message;
          merged += *piece;
        }
      }
      merged += merger.finish();
      EXPECT_EQ(merged.size(), stream.size());
      must("TRUNCATE whole.t");
      const PgResult back = client_->copy_in(
          in_schema("whole", std::string("FROM STDIN ") + options), framed(merged));
      EXPECT_TRUE(back.ok()) << back.error;
      EXPECT_EQ(contents("whole.t"), before);
    }
    // Binary data that is damaged is refused as one server refuses it.
    const PgResult out = client_->query("COPY whole.t TO STDOUT (FORMAT binary)");
    std::string stream;
    for (const std::string& body : out.copied) stream += body;
    const std::string before = stream;
    for (int round = 0; round < 30 && !HasFailure(); ++round) {
      stream = before;
      switch (pick(4)) {
        case 0:
          stream.resize(pick(stream.size()));
          break;
        case 1:
          stream += "x";
          break;
        case 2:
          stream[pick(25)] = static_cast<char>(random_());
          break;
        default:
          // The count of fields, or a field's length, of the first row.
          stream[19 + pick(6)] = static_cast<char>(random_());
          break;
      }
      compare("FROM STDIN (FORMAT binary)", stream);
    }
  }
}

}  // namespace
}  // namespace pgshunt
