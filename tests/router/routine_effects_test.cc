// What routines do to sessions, read from their code and from the catalog of a real server.
#include "router/routine_effects.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "protocol/backend.h"
#include "router/code_effects.h"
#include "tests/support/pg_client.h"
#include "tests/support/pg_server.h"

namespace pgshunt {
namespace {

struct CodeCase {
  const char* code;
  std::uint32_t effects;
};

TEST(CodeEffects, AreReadFromTheText) {
  constexpr std::uint32_t kUnreadable = kEffectOpaque | kEffectSetConfig;
  const CodeCase cases[] = {
      {"SELECT 1", kEffectNone},
      {"BEGIN RETURN a + 1; END", kEffectNone},
      {"BEGIN SET LOCAL work_mem = '1MB'; UPDATE t SET a = 1; END", kEffectNone},
      {"BEGIN RAISE NOTICE 'set role x'; END", kEffectNone},
      {"BEGIN PERFORM set_config('a.b', x, true); END", kEffectLocalConfig},
      {"BEGIN PERFORM set_config('work_mem', x, false); END", kEffectOpaque},
      {"BEGIN PERFORM set_config('a.b', x, is_local); END", kEffectOpaque},
      {"BEGIN PERFORM set_config(name, x, false); END", kUnreadable},
      {"BEGIN IF a THEN SET ROLE x; END IF; END", kEffectOpaque},
      {"<<here>> BEGIN RESET ALL; END", kEffectOpaque},
      {"BEGIN CREATE TEMP TABLE x (n int); END", kEffectOpaque},
      {"DECLARE temp int; BEGIN temp := 1; hold := temp; END", kEffectNone},
      {"BEGIN PERFORM pg_catalog.pg_advisory_lock(1); END", kEffectOpaque},
      {"BEGIN PERFORM pg_advisory_xact_lock(1); END", kEffectNone},
      {"BEGIN LISTEN x; END", kEffectOpaque},
      {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", kEffectOpaque},
      {"PREPARE p AS SELECT 1", kEffectOpaque},
      {"BEGIN LOAD 'x'; END", kEffectOpaque | kEffectLibrary},
      {"SELECT setseed(0.5)", kEffectOpaque | kEffectRandomSeed},
      {"SELECT dblink_connect('x')", kEffectOpaque | kEffectForeignSession},
      // Text that is run.
      {"BEGIN EXECUTE 'SELECT 1' INTO x; END", kEffectNone},
      {"BEGIN EXECUTE 'SET ROLE x'; END", kEffectOpaque},
      {"BEGIN EXECUTE format('CREATE TABLE %I (n int)', x); END", kEffectOpaque},
      {"BEGIN EXECUTE format('SET %I = 1', x); END", kUnreadable},
      {"BEGIN EXECUTE 'SET ' || x; END", kUnreadable},
      {"DECLARE sql text := 'SELECT ' || x; BEGIN EXECUTE sql; END", kEffectOpaque},
      {"BEGIN sql = 'SET x.' || y; EXECUTE sql; END", kUnreadable},
      {"BEGIN EXECUTE sql; END", kUnreadable},
      {"BEGIN EXECUTE $1; END", kUnreadable},
      {"BEGIN EXECUTE r.command; END", kUnreadable},
      {"BEGIN EXECUTE made(x); END", kUnreadable},
      {"BEGIN GRANT EXECUTE ON FUNCTION f TO x; END", kEffectNone},
      {"CREATE TRIGGER t BEFORE INSERT ON x EXECUTE FUNCTION f()", kEffectNone},
      {"DO $x$ BEGIN LISTEN y; END $x$", kEffectOpaque},
  };
  for (const CodeCase& each : cases) {
    CodeEffects found;
    read_code(each.code, found);
    EXPECT_EQ(found.effects, each.effects) << each.code;
  }
}

TEST(CodeEffects, CustomizedSettingsAreNamed) {
  CodeEffects found;
  read_code(
      "BEGIN SET app.One = 1; PERFORM set_config('App.two', x, false); EXECUTE 'RESET app.three'; "
      "END",
      found);
  EXPECT_EQ(found.settings, (std::vector<std::string>{"app.one", "app.two", "app.three"}));
  EXPECT_EQ(found.effects, std::uint32_t{kEffectOpaque});
}

TEST(CodeEffects, OtherLanguagesMayRunTheirStrings) {
  CodeEffects found;
  read_code("plpy.execute(\"SELECT 1\"); plpy.execute('SET x.y = 1'); spi(\"SET x.z = 2\")", found,
            true);
  EXPECT_EQ(found.effects, std::uint32_t{kEffectOpaque});
  EXPECT_EQ(found.settings, (std::vector<std::string>{"x.y", "x.z"}));
}

TEST(RoutineEffects, UnknownMeansAnything) {
  EXPECT_EQ(RoutineEffects::unknown()->of("SELECT 1"), std::uint32_t{kEffectOpaque});
  EXPECT_FALSE(RoutineEffects::unknown()->empty());
}

TEST(RoutineEffects, DdlThatMatters) {
  EXPECT_TRUE(changes_routines("CREATE OR REPLACE FUNCTION f() ..."));
  EXPECT_TRUE(changes_routines("create trigger t ..."));
  EXPECT_TRUE(changes_routines("CREATE MATERIALIZED VIEW v AS SELECT 1"));
  EXPECT_FALSE(changes_routines("CREATE TABLE \"view\" (n int)"));
  EXPECT_FALSE(changes_routines("CREATE TEMP TABLE t AS SELECT 'function'"));
}

class RoutinesOfAServer : public ::testing::Test {
 protected:
  void SetUp() override {
    PgServer* server = PgServer::shared();
    if (server == nullptr) GTEST_SKIP() << "no PostgreSQL to ask";
    static int made = 0;
    const std::string name = "routines_test_" + std::to_string(++made);
    auto admin = PgClient::connect(server->socket_dir(), server->port(), "postgres");
    ASSERT_TRUE(admin->query("CREATE DATABASE " + name).ok());
    client_ = PgClient::connect(server->socket_dir(), server->port(), name);
    ASSERT_NE(client_, nullptr);
  }

  void make(const std::string& sql) {
    const PgResult made = client_->query(sql);
    ASSERT_TRUE(made.ok()) << made.error;
  }

  std::shared_ptr<const RoutineEffects> read() {
    RoutineReader reader;
    const PgResult found = client_->query(routines_query(fingerprint_));
    EXPECT_TRUE(found.ok()) << found.error;
    rows_ = found.rows.size();
    for (const std::string& body : found.rows) {
      const auto row = decode_data_row(body);
      std::vector<std::string_view> values;
      for (const WireValue& value : *row) values.push_back(value.bytes);
      EXPECT_TRUE(reader.add_row(values));
    }
    fingerprint_ = reader.fingerprint();
    return reader.finish();
  }

  std::unique_ptr<PgClient> client_;
  std::string fingerprint_;
  std::size_t rows_ = 0;
};

TEST_F(RoutinesOfAServer, NoneOrHarmlessOnes) {
  EXPECT_TRUE(read()->empty());
  make(R"(
    CREATE TABLE t (n int);
    CREATE FUNCTION harmless() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM set_config('app.user', 'x', true); RETURN new; END $$;
    CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION harmless();
    CREATE FUNCTION two() RETURNS int LANGUAGE sql RETURN 2;
    CREATE AGGREGATE added(int) (sfunc = int4pl, stype = int, initcond = '0'))");
  EXPECT_TRUE(read()->empty());
}

TEST_F(RoutinesOfAServer, CallersAreFoundByWhatTheyCall) {
  make(R"(
    CREATE FUNCTION sets() RETURNS int LANGUAGE plpgsql AS $$ BEGIN SET work_mem = '5MB'; RETURN 1; END $$;
    CREATE FUNCTION "Calls It"() RETURNS int LANGUAGE sql AS 'SELECT sets()';
    CREATE FUNCTION calls_again() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT "Calls It"(); END;
    CREATE FUNCTION by_default(a int DEFAULT sets()) RETURNS int LANGUAGE sql AS 'SELECT a';
    CREATE FUNCTION quiet() RETURNS int LANGUAGE sql AS 'SELECT 1 AS sets';
    CREATE PROCEDURE proc() LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('app.user', 'x', false); END $$)");
  const auto found = read();
  for (const char* sql : {"SELECT sets()", "select public.SETS ()", "SELECT \"Calls It\"()",
                          "SELECT 1; SELECT calls_again()", "SELECT by_default()", "CALL proc()",
                          "DO $$ BEGIN PERFORM sets(); END $$"}) {
    EXPECT_EQ(found->of(sql), std::uint32_t{kEffectOpaque}) << sql;
  }
  for (const char* sql :
       {"SELECT sets FROM t", "SELECT quiet()", "SELECT 'sets()'", "INSERT INTO t VALUES (1)",
        "SELECT \"SETS\"()", "DO $$ BEGIN PERFORM quiet(); END $$"}) {
    EXPECT_EQ(found->of(sql), std::uint32_t{kEffectNone}) << sql;
  }
  EXPECT_EQ(found->settings(), std::vector<std::string>{"app.user"});
}

TEST_F(RoutinesOfAServer, TriggersMakeWritesMatter) {
  make(R"(
    CREATE TABLE t (n int);
    CREATE FUNCTION locks() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_advisory_lock(1); RETURN new; END $$;
    CREATE FUNCTION writes() RETURNS void LANGUAGE sql AS 'INSERT INTO t VALUES (1)';
    CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION locks())");
  const auto found = read();
  for (const char* sql :
       {"INSERT INTO t VALUES (1)", "with x as (delete from t returning n) select * from x",
        "COPY t FROM stdin", "SELECT writes()"}) {
    EXPECT_EQ(found->of(sql), std::uint32_t{kEffectOpaque}) << sql;
  }
  EXPECT_EQ(found->of("SELECT * FROM t"), std::uint32_t{kEffectNone});
}

TEST_F(RoutinesOfAServer, ViewsPoliciesAndOperators) {
  make(R"(
    CREATE TABLE t (n int);
    CREATE FUNCTION locks(int) RETURNS bool LANGUAGE sql AS 'SELECT pg_try_advisory_lock($1)';
    CREATE VIEW v AS SELECT locks(n) FROM t;
    CREATE VIEW w AS SELECT * FROM v;
    CREATE TABLE guarded (n int);
    CREATE POLICY p ON guarded USING (locks(n)))");
  auto found = read();
  for (const char* sql : {"SELECT * FROM v", "TABLE w", "SELECT * FROM public.guarded"}) {
    EXPECT_EQ(found->of(sql), std::uint32_t{kEffectOpaque}) << sql;
  }
  EXPECT_EQ(found->of("SELECT * FROM t"), std::uint32_t{kEffectNone});
  make("CREATE OPERATOR !!! (rightarg = int, procedure = locks)");
  found = read();
  EXPECT_EQ(found->of("SELECT * FROM t"), std::uint32_t{kEffectOpaque});
}

TEST_F(RoutinesOfAServer, TheFingerprintTellsWhetherAnythingChanged) {
  make("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'");
  read();
  EXPECT_GT(rows_, 1u);
  read();
  EXPECT_EQ(rows_, 1u);
  make("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT setseed(0)::text::int'");
  EXPECT_EQ(read()->of("SELECT f()"), kEffectOpaque | kEffectRandomSeed);
}

}  // namespace
}  // namespace pgshunt
