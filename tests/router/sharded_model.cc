#include "tests/router/sharded_model.h"

#include <gtest/gtest.h>

#include <random>

#include "protocol/backend.h"
#include "router/group_merger.h"
#include "router/insert_select.h"
#include "router/row_merger.h"
#include "tests/router/read_catalog.h"
#include "tests/support/pg_server.h"

namespace pgshunt {
namespace {

using Answer = ShardedModel::Answer;

constexpr const char* kSchema = R"(
CREATE TABLE users (
  id bigint PRIMARY KEY, name text COLLATE "C", nick varchar, country text, score numeric,
  born date, seen timestamptz, tag uuid, active bool, data bytea, rating float8, weight real,
  small int2, medium int4, alarm time, noted timestamp, status text DEFAULT 'new');
CREATE TABLE posts (
  user_id bigint NOT NULL, id int NOT NULL, body text, likes int, posted timestamp DEFAULT now(),
  PRIMARY KEY (user_id, id));
CREATE TABLE comments (
  user_id bigint NOT NULL, post_id int, id int NOT NULL, text text, PRIMARY KEY (user_id, id));
CREATE TABLE accounts (login text PRIMARY KEY, balance numeric);
CREATE TABLE countries (code text PRIMARY KEY, name text, population int DEFAULT 0,
  added timestamptz DEFAULT now());
CREATE TABLE notes (id int, text text);
)";

std::string literal(const std::optional<std::string>& text) {
  if (!text) return "NULL";
  std::string out = "'";
  for (const char c : *text) {
    if (c == '\'') out += c;
    out += c;
  }
  return out + "'";
}

// Values with many ties, NULLs and the odd corner.
std::string random_user(std::mt19937_64& random, int id) {
  const auto pick = [&random](std::initializer_list<const char*> values) -> std::string {
    const char* value = *(values.begin() + random() % values.size());
    return value == nullptr ? "NULL" : value;
  };
  std::string sql = std::to_string(id) + ", ";
  sql += pick({"'ann'", "'Bob'", "'\xc3\xa4rger'", "''", "'bob'", nullptr, "'Zoe'"}) + ", ";
  sql += pick({"'x'", "'X '", nullptr, "'y'"}) + ", ";
  sql += pick({"'de'", "'fr'", "'xx'", nullptr}) + ", ";
  sql += pick({"1.5", "1.50", "-3", "'NaN'", "1e20", "0.00001", "'Infinity'", "'-Infinity'",
               nullptr, "100", "99.999"}) +
         ", ";
  sql += pick({"'2000-01-01'", "'0044-03-15 BC'", "'infinity'", "'-infinity'", nullptr,
               "'1999-12-31'"}) +
         ", ";
  sql += pick({"'2000-01-01 00:00:00+00'", "'2000-01-01 01:00:00.5+02'", "'infinity'", nullptr,
               "'0044-03-15 12:00:00+00 BC'"}) +
         ", ";
  sql += pick({"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'00000000-0000-0000-0000-000000000001'",
               nullptr, "'ffffffff-9c0b-4ef8-bb6d-6bb9bd380a11'"}) +
         ", ";
  sql += pick({"true", "false", nullptr}) + ", ";
  sql += pick({"'\\x'", "'\\x00'", "'\\xff'", "'\\x00ff'", nullptr}) + ", ";
  sql += pick({"'NaN'", "0", "'-0'", "1.5", "-1e300", "'Infinity'", "'-Infinity'", nullptr,
               "3.14159"}) +
         ", ";
  sql += pick({"'NaN'", "0", "1.5", "-1e30", nullptr, "0.1"}) + ", ";
  sql += pick({"-32768", "0", "7", nullptr}) + ", ";
  sql += pick({"-2147483648", "0", "70000", nullptr, "12"}) + ", ";
  sql += pick({"'00:00:00'", "'24:00:00'", "'12:34:56.789'", nullptr}) + ", ";
  sql += pick({"'2000-01-01 00:00:00'", "'1999-12-31 23:59:59.999999'", "'-infinity'", nullptr});
  return sql;
}

std::vector<std::uint32_t> types_of(const PgResult& result) {
  std::vector<std::uint32_t> out;
  const auto fields = decode_row_description(result.row_description);
  for (const FieldDescription& field : *fields) out.push_back(field.type_oid);
  return out;
}

Answer from_result(const PgResult& result) {
  Answer out;
  out.error = result.error;
  out.sqlstate = result.sqlstate;
  out.tag = result.tag;
  if (!result.row_description.empty()) {
    out.columns = load_be16(result.row_description.data());
    out.types = types_of(result);
  }
  for (std::size_t i = 0; i < result.rows.size(); ++i) {
    auto& row = out.rows.emplace_back();
    for (std::size_t k = 0; k < load_be16(result.rows[i].data()); ++k) {
      row.push_back(result.value(i, k));
    }
  }
  return out;
}

Answer refused(const Error& error) {
  Answer out;
  out.refused = true;
  out.error = error.message;
  out.sqlstate = error.code.view();
  return out;
}

void must(const Status& status) {
  if (!status) ADD_FAILURE() << status.error().message;
}

std::unique_ptr<ShardedModel> make() {
  auto model = std::make_unique<ShardedModel>();
  return model;
}

}  // namespace

ShardedModel* ShardedModel::shared() {
  static const std::unique_ptr<ShardedModel> model = []() -> std::unique_ptr<ShardedModel> {
    PgServer* server = PgServer::shared();
    if (server == nullptr) return nullptr;
    auto out = make();
    const auto connect = [server](const std::string& database) {
      return PgClient::connect(server->socket_dir(), server->port(), database);
    };
    auto admin = connect("postgres");
    TopologyBuilder builder;
    for (std::size_t i = 0; i < kShards; ++i) {
      const std::string name = "model_s" + std::to_string(i);
      EXPECT_TRUE(admin->query("CREATE DATABASE " + name).ok());
      out->shards_.push_back(connect(name));
      EXPECT_TRUE(builder.add_shard(name));
    }
    EXPECT_TRUE(admin->query("CREATE DATABASE model_whole").ok());
    out->whole_ = connect("model_whole");
    out->everywhere(kSchema);

    must(builder.add_keyspace("users", ShardKeyType::kInt8));
    must(builder.add_keyspace("logins", ShardKeyType::kText));
    must(builder.add_sharded_table("public", "users", "users", "id"));
    must(builder.add_sharded_table("public", "posts", "users", "user_id"));
    must(builder.add_sharded_table("public", "comments", "users", "user_id"));
    must(builder.add_sharded_table("public", "accounts", "logins", "login"));
    must(builder.add_reference_table("public", "countries"));
    must(builder.add_unsharded_table("public", "notes", "model_s1"));
    ShardCatalog catalog = read_catalog(*out->whole_);
    catalog.functions.clear();
    catalog.opaque.clear();
    const ShardCatalog* const catalogs[] = {&catalog};
    describe_catalogs(builder, catalogs);
    auto topology = builder.build(1);
    EXPECT_TRUE(topology) << topology.error().message;
    out->topology_ = *topology;
    out->router_ = std::make_unique<Router>(out->topology_);

    // Filled through the router, so that every row is where INSERT puts it.
    std::mt19937_64 random(1);
    const auto both = [&out](const std::string& sql) {
      const Answer whole = out->run_whole(sql);
      EXPECT_EQ(whole.error, "") << sql;
      const Answer sharded = out->run(sql);
      EXPECT_EQ(sharded.error, "") << sql;
      EXPECT_EQ(sharded.tag, whole.tag) << sql;
    };
    for (int id = -10; id < 110; ++id) {
      both("INSERT INTO users VALUES (" + random_user(random, id) + ")");
      for (int post = 0; post < static_cast<int>(random() % 4); ++post) {
        both("INSERT INTO posts (id, user_id, body, likes, posted) VALUES (" +
             std::to_string(post) + ", " + std::to_string(id) + ", 'body " +
             std::to_string(random() % 7) + "', " + std::to_string(random() % 5) +
             ", '2001-02-03 04:05:06')");
        if (random() % 2 == 0) {
          both("INSERT INTO comments (user_id, post_id, id, text) VALUES (" + std::to_string(id) +
               ", " + std::to_string(post) + ", " + std::to_string(post * 10) + ", 'c')");
        }
      }
    }
    for (const char* login : {"ann", "bob", "\xc3\xa4rger", "", "zoe "}) {
      both("INSERT INTO accounts (login, balance) VALUES (" + literal(login) + ", 10)");
    }
    for (const char* code : {"de", "fr", "it"}) {
      both("INSERT INTO countries (code, name, added) VALUES (" + literal(code) +
           ", 'n', '2020-01-01 00:00:00+00')");
    }
    both("INSERT INTO notes (id, text) VALUES (1, 'one'), (2, 'two')");
    return out;
  }();
  return model.get();
}

void ShardedModel::everywhere(const std::string& sql) {
  const PgResult whole = whole_->query(sql);
  EXPECT_TRUE(whole.ok()) << whole.error;
  for (const auto& shard : shards_) {
    const PgResult result = shard->query(sql);
    EXPECT_TRUE(result.ok()) << result.error;
  }
}

Answer ShardedModel::run_whole(const std::string& sql) { return from_result(whole_->query(sql)); }

Answer ShardedModel::run_whole_prepared(const std::string& sql,
                                        const std::vector<PgClient::Parameter>& parameters,
                                        std::uint16_t result_format) {
  return from_result(whole_->execute(sql, parameters, result_format));
}

Answer ShardedModel::run(const std::string& sql) {
  const auto route = router_->route(sql);
  if (!route) return refused(route.error());
  if (route->kind == RouteKind::kInsertSelect) {
    const std::shared_ptr<const InsertSelect> statement = route->insert_select;
    return insert_selected(*statement);
  }
  const std::string text = route->sql.empty() ? sql : std::string(route->sql);
  return carry_out(*route, route->merge == nullptr ? 0 : route->merge->hidden_columns, 0,
                   [&](PgClient& client) {
                     // Of an INSERT's rows each shard has its own.
                     for (std::size_t i = 0; i < route->texts.size(); ++i) {
                       if (shards_[route->shards[i]].get() == &client) {
                         return client.query(route->texts[i]);
                       }
                     }
                     return client.query(text);
                   });
}

Answer ShardedModel::run_prepared(const std::string& sql,
                                  const std::vector<PgClient::Parameter>& parameters,
                                  std::uint16_t result_format) {
  std::vector<std::uint32_t> types;
  std::vector<BoundValue> values;
  for (const PgClient::Parameter& parameter : parameters) {
    types.push_back(parameter.type);
    BoundValue value;
    value.is_null = !parameter.value;
    value.binary = parameter.format == 1;
    value.type = parameter.type;
    if (parameter.value) value.bytes = *parameter.value;
    values.push_back(value);
  }
  const auto plan = router_->prepare(sql, types);
  if (!plan) return refused(plan.error());
  const auto route = router_->bind(**plan, values);
  if (!route) return refused(route.error());
  const std::string text((*plan)->shard_text());
  return carry_out(*route, (*plan)->hidden_columns(), result_format, [&](PgClient& client) {
    return client.execute(text, parameters, result_format);
  });
}

Answer ShardedModel::insert_selected(const InsertSelect& statement) {
  const Answer selected = run(statement.select);
  if (selected.refused || !selected.error.empty()) return selected;
  const std::string text = one_row_insert(statement, selected.columns, 1);
  Answer out;
  out.kind = RouteKind::kInsertSelect;
  for (const auto& row : selected.rows) {
    std::vector<PgClient::Parameter> values;
    for (std::size_t k = 0; k < row.size(); ++k) values.push_back({selected.types[k], 0, row[k]});
    Answer stored = run_prepared(text, values, 0);
    if (stored.refused || !stored.error.empty()) return stored;
    out.columns = stored.columns;
    std::move(stored.rows.begin(), stored.rows.end(), std::back_inserter(out.rows));
  }
  out.tag = "INSERT 0 " + std::to_string(selected.rows.size());
  return out;
}

template <class Execute>
Answer ShardedModel::carry_out(const Route& route, std::uint16_t hidden,
                               std::uint16_t result_format, Execute execute) {
  // Several statements of the proxy's: what they do is seen in integration/.
  if (route.kind == RouteKind::kInsertSelect || route.kind == RouteKind::kMergeNode) {
    return refused({});
  }
  Answer out;
  out.kind = route.kind;
  if (route.kind == RouteKind::kScatter) {
    std::vector<PgResult> results;
    for (const ShardId shard : route.shards) results.push_back(execute(*shards_[shard]));
    for (const PgResult& result : results) {
      if (result.ok()) continue;
      out.error = result.error;
      out.sqlstate = result.sqlstate;
      return out;
    }
    EXPECT_EQ(hidden, route.merge->hidden_columns);
    merge(route, results, result_format, out);
    return out;
  }
  if (route.kind == RouteKind::kWriteShards) {
    std::size_t affected = 0;
    for (const ShardId shard : route.shards) {
      Answer answer = from_result(execute(*shards_[shard]));
      if (!answer.error.empty()) return answer;
      const std::size_t blank = answer.tag.rfind(' ');
      affected += std::stoul(answer.tag.substr(blank));
      out.tag = answer.tag.substr(0, blank + 1) + std::to_string(affected);
      out.columns = answer.columns;
      std::move(answer.rows.begin(), answer.rows.end(), std::back_inserter(out.rows));
    }
  } else if (route.kind == RouteKind::kEveryShard) {
    for (const ShardId shard : route.shards) {
      const Answer answer = from_result(execute(*shards_[shard]));
      if (shard == 0) out = answer;
      EXPECT_EQ(answer.error, out.error);
      EXPECT_EQ(answer.tag, out.tag);
    }
  } else {
    // Any shard: another each time, so that a wrong "any" shows.
    const bool any = route.kind == RouteKind::kAnyShard;
    if (!any && route.shards.size() != 1) {
      ADD_FAILURE() << "the model does not know how to run this";
      return refused({sqlstate::kFeatureNotSupported, "not by the model", {}});
    }
    static std::size_t turn = 0;
    const std::size_t shard = any ? ++turn % kShards : route.shards[0];
    out = from_result(execute(*shards_[shard]));
  }
  out.kind = route.kind;
  return out;
}

void ShardedModel::merge(const Route& route, std::vector<PgResult>& results,
                         std::uint16_t result_format, Answer& out) {
  char code[2];
  store_be16(code, result_format);
  ByteReader reader({code, 2});
  const FormatList formats = FormatList::read(reader, 1);
  if (route.merge->groups) return merge_groups(route, results, formats, out);
  auto merger = RowMerger::create(*route.merge, route.window, results[0].row_description, &formats,
                                  results.size());
  if (!merger) {
    out = refused(merger.error());
    return;
  }
  out.columns = merger->visible_columns();
  out.types = types_of(results[0]);
  std::vector<std::size_t> next(results.size(), 0);
  for (;;) {
    const RowMerger::Step step = merger->next();
    PgResult& source = results[step.source];
    std::size_t& at = next[step.source];
    if (step.kind == RowMerger::Step::kDone) break;
    if (step.kind == RowMerger::Step::kNeed) {
      if (at == source.rows.size()) {
        merger->set_end(step.source);
      } else if (const Status set = merger->set_head(step.source, source.rows[at]); !set) {
        out = refused(set.error());
        return;
      }
      continue;
    }
    if (step.kind == RowMerger::Step::kRow) {
      auto& row = out.rows.emplace_back();
      for (std::size_t k = 0; k < out.columns; ++k) row.push_back(source.value(at, k));
    }
    ++at;
    merger->taken();
  }
  out.tag = "SELECT " + std::to_string(out.rows.size());
}

void ShardedModel::merge_groups(const Route& route, std::vector<PgResult>& results,
                                const FormatList& formats, Answer& out) {
  // Little memory, so that sorting goes through a file.
  auto merger = GroupMerger::create(*route.merge, route.window, results[0].row_description,
                                    &formats, results.size(), {.memory = 2000, .directory = {}});
  if (!merger) {
    out = refused(merger.error());
    return;
  }
  out.grouped = true;
  out.columns = merger->visible_columns();
  out.types = types_of(results[0]);
  out.types.resize(out.columns);
  std::vector<std::size_t> next(results.size(), 0);
  for (;;) {
    const auto step = merger->next();
    if (!step) {
      out.rows.clear();
      out.error = step.error().message;
      out.sqlstate = step.error().code.view();
      return;
    }
    if (step->kind == GroupMerger::Step::kDone) break;
    PgResult& source = results[step->source];
    std::size_t& at = next[step->source];
    switch (step->kind) {
      case GroupMerger::Step::kNeed:
        if (at == source.rows.size()) {
          merger->set_end(step->source);
        } else if (const Status set = merger->set_head(step->source, source.rows[at]); !set) {
          out = refused(set.error());
          return;
        }
        break;
      case GroupMerger::Step::kTaken:
        source.rows[at].assign(source.rows[at].size(), 'x');  // nobody looks at it any more
        ++at;
        break;
      default: {
        PgResult finished;
        finished.rows.emplace_back(merger->take_row());
        auto& row = out.rows.emplace_back();
        for (std::size_t k = 0; k < out.columns; ++k) row.push_back(finished.value(0, k));
      }
    }
  }
  out.tag = "SELECT " + std::to_string(out.rows.size());
}

}  // namespace pgshunt
