#include "router/session_effects.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/router/sql_samples.h"

namespace pgshunt {
namespace {

// One statement of a text, with its views made strings.
struct Seen {
  Verb verb = Verb::kEmpty;
  std::uint32_t effects = 0;
  std::string text;
  std::string name;
  std::string value;
  std::string name_token;
};

std::vector<Seen> scan_all(std::string_view sql, bool standard_conforming_strings = true) {
  StatementScanner scanner(sql, standard_conforming_strings);
  StatementEffects statement;
  std::vector<Seen> list;
  while (scanner.next(statement)) {
    list.push_back(
        {statement.verb, statement.effects, std::string(statement.text),
         std::string(statement.name), std::string(statement.value),
         std::string(sql.substr(statement.name_begin, statement.name_end - statement.name_begin))});
  }
  return list;
}

// Of a text with exactly one statement.
Seen scan_one(std::string_view sql) {
  std::vector<Seen> list = scan_all(sql);
  EXPECT_EQ(list.size(), 1u) << sql;
  return list.empty() ? Seen{} : list.front();
}
Verb verb_of(std::string_view sql) { return scan_one(sql).verb; }
std::uint32_t effects_of(std::string_view sql) { return scan_one(sql).effects; }

std::vector<std::string> texts_of(std::string_view sql) {
  std::vector<std::string> texts;
  for (const Seen& seen : scan_all(sql)) texts.push_back(seen.text);
  return texts;
}
using Texts = std::vector<std::string>;

TEST(StatementScanner, FindsNoStatementInNothing) {
  for (const char* sql : {"", " ", ";", " ; ;; ", "-- x", "/* x */;", "\n\t\f\r\v", "; -- x\n;"}) {
    EXPECT_TRUE(scan_all(sql).empty()) << sql;
  }
}

TEST(StatementScanner, SplitsWherePostgresDoes) {
  EXPECT_EQ(texts_of("select 1; select 2 ;; select 3"),
            (Texts{"select 1", "select 2", "select 3"}));
  EXPECT_EQ(texts_of("select ';'; select \";\"; select $$;$$; select /*;*/ 1 --;\n"),
            (Texts{"select ';'", "select \";\"", "select $$;$$", "select /*;*/ 1 --;"}));
  EXPECT_EQ(texts_of("select E'\\';'; select 'a\\'; select 2"),
            (Texts{"select E'\\';'", "select 'a\\'", "select 2"}));
  EXPECT_EQ(texts_of(" /* hint */ select 1 ; begin"), (Texts{"/* hint */ select 1", "begin"}));
}

TEST(StatementScanner, KeepsTheActionsOfARuleTogether) {
  EXPECT_EQ(texts_of("create rule r as on insert to t do (select 1; select 2); select 3"),
            (Texts{"create rule r as on insert to t do (select 1; select 2)", "select 3"}));
}

TEST(StatementScanner, KeepsAtomicBodiesTogether) {
  const std::string function =
      "CREATE OR REPLACE FUNCTION f(a int DEFAULT 1) RETURNS int LANGUAGE sql BEGIN /* x */ "
      "ATOMIC\n"
      " SELECT CASE WHEN a = 1 THEN 2 END; SELECT 1 AS end; SELECT t.end FROM t; ; END";
  EXPECT_EQ(texts_of(function + "; SELECT 2"), (Texts{function, "SELECT 2"}));
  const std::string procedure = "create procedure p() begin atomic end";
  EXPECT_EQ(texts_of(procedure + ";commit"), (Texts{procedure, "commit"}));
  // Only where a routine is made; elsewhere these are two names.
  EXPECT_EQ(texts_of("select begin atomic from t; select 2"),
            (Texts{"select begin atomic from t", "select 2"}));
  EXPECT_EQ(texts_of("create function f() as 'x'; begin; end"),
            (Texts{"create function f() as 'x'", "begin", "end"}));
}

TEST(StatementScanner, EndsAtAnUnterminatedQuote) {
  EXPECT_EQ(texts_of("select 1; select 'a; select 2"), (Texts{"select 1", "select 'a; select 2"}));
  EXPECT_EQ(texts_of("begin /* ; commit"), (Texts{"begin /* ; commit"}));
  EXPECT_EQ(texts_of("select $a$;$b$"), (Texts{"select $a$;$b$"}));
}

TEST(StatementScanner, FollowsStandardConformingStrings) {
  EXPECT_EQ(scan_all("select '\\'; nextval('; begin", false).size(), 2u);
  EXPECT_EQ(scan_all("select '\\'; begin", true).size(), 2u);
}

TEST(StatementScanner, TellsVerbsApart) {
  const struct {
    const char* sql;
    Verb verb;
  } cases[] = {
      {"select 1", Verb::kSelect},
      {"SELECT\n1", Verb::kSelect},
      {"/* c */ -- d\n SeLeCt 1", Verb::kSelect},
      {"(select 1) union (select 2)", Verb::kSelect},
      {"values (1)", Verb::kSelect},
      {"table t", Verb::kSelect},
      {"with a as (insert into t values (1) returning *) select * from a", Verb::kSelect},
      {"insert into t values (1)", Verb::kInsert},
      {"update t set a = 1", Verb::kUpdate},
      {"delete from t", Verb::kDelete},
      {"merge into t using s on true when matched then delete", Verb::kMerge},
      {"copy t from stdin", Verb::kCopy},
      {"begin", Verb::kBegin},
      {"BEGIN WORK", Verb::kBegin},
      {"begin transaction isolation level serializable, read only", Verb::kBegin},
      {"start transaction", Verb::kBegin},
      {"START /**/ TRANSACTION READ ONLY", Verb::kBegin},
      {"start slave", Verb::kOther},
      {"commit", Verb::kCommit},
      {"commit work and chain", Verb::kCommit},
      {"end", Verb::kCommit},
      {"end transaction", Verb::kCommit},
      {"commit prepared 'x'", Verb::kOther},
      {"rollback", Verb::kRollback},
      {"rollback and no chain", Verb::kRollback},
      {"abort", Verb::kRollback},
      {"abort work", Verb::kRollback},
      {"rollback prepared 'x'", Verb::kOther},
      {"rollback to a", Verb::kRollbackTo},
      {"savepoint a", Verb::kSavepoint},
      {"release a", Verb::kReleaseSavepoint},
      {"prepare transaction 'x'", Verb::kPrepareTransaction},
      {"set a = 1", Verb::kSet},
      {"reset a", Verb::kReset},
      {"reset all", Verb::kResetAll},
      {"discard all", Verb::kDiscardAll},
      {"discard plans", Verb::kDiscard},
      {"prepare p as select 1", Verb::kPrepare},
      {"execute p", Verb::kExecute},
      {"deallocate p", Verb::kDeallocate},
      {"deallocate all", Verb::kDeallocateAll},
      {"deallocate prepare all", Verb::kDeallocateAll},
      {"listen a", Verb::kListen},
      {"unlisten a", Verb::kUnlisten},
      {"unlisten *", Verb::kUnlistenAll},
      {"declare c cursor for select 1", Verb::kDeclare},
      {"close c", Verb::kClose},
      {"show a", Verb::kShow},
      {"create table t ()", Verb::kDdl},
      {"alter table t add a int", Verb::kDdl},
      {"drop table t", Verb::kDdl},
      {"comment on table t is 'x'", Verb::kDdl},
      {"grant select on t to u", Verb::kDdl},
      {"refresh materialized view v", Verb::kDdl},
      {"explain select 1", Verb::kOther},
      {"notify a, 'x'", Verb::kOther},
      {"fetch all from c", Verb::kOther},
      {"lock table t", Verb::kOther},
      {"vacuum", Verb::kOther},
      {"nonsense", Verb::kOther},
      {"\"select\" 1", Verb::kOther},
      {"selects 1", Verb::kOther},
      {"'x'", Verb::kOther},
  };
  for (const auto& c : cases) EXPECT_EQ(verb_of(c.sql), c.verb) << c.sql;
}

TEST(StatementScanner, GivesTransactionModes) {
  EXPECT_EQ(scan_one("begin").value, "");
  EXPECT_EQ(scan_one("begin isolation level serializable, read only -- x").value,
            "isolation level serializable, read only");
  EXPECT_EQ(scan_one("start transaction read only").value, "read only");
  EXPECT_EQ(scan_one("commit and chain").value, "and chain");
  EXPECT_EQ(scan_one("abort work and chain /* y */").value, "and chain");
  EXPECT_EQ(scan_one("prepare transaction 'gid'").value, "'gid'");
}

TEST(StatementScanner, GivesNames) {
  const struct {
    const char* sql;
    const char* name;
    const char* token;
  } cases[] = {
      {"savepoint Abc", "abc", "Abc"},
      {"rollback work to savepoint \"A b\"", "A b", "\"A b\""},
      {"rollback transaction to a", "a", "a"},
      {"abort to savepoint", "savepoint", "savepoint"},
      {"release savepoint a", "a", "a"},
      {"release savepoint", "savepoint", "savepoint"},
      {"prepare \"P\"\"q\"(int) as select $1", "P\"q", "\"P\"\"q\""},
      {"prepare transaction as select 1", "transaction", "transaction"},
      {"execute Foo(1, 2)", "foo", "Foo"},
      {"execute/**/U&\"d\\0061t\"", "dat", "U&\"d\\0061t\""},
      {"explain execute p", "p", "p"},
      {"explain (analyze, format json) execute \"P\"(1)", "P", "\"P\""},
      {"explain analyze verbose execute p", "p", "p"},
      {"create table t as execute p(5)", "p", "p"},
      {"create temp table t (a, b) with (fillfactor=50) as execute p", "p", "p"},
      {"create table if not exists t as execute P with no data", "p", "P"},
      {"explain analyze create table t as execute p", "p", "p"},
      {"deallocate p", "p", "p"},
      {"deallocate prepare P", "p", "P"},
      {"deallocate prepare", "prepare", "prepare"},
      {"deallocate \"all\"", "all", "\"all\""},
      {"listen \"Q x\"", "Q x", "\"Q x\""},
      {"unlisten Q", "q", "Q"},
      {"declare C no scroll cursor for select 1", "c", "C"},
      {"close c", "c", "c"},
      {"close all", "all", "all"},
      {"discard temp", "temp", "temp"},
      {"show Search_Path", "search_path", "Search_Path"},
      {"show time zone", "time zone", "time zone"},
      {"show transaction isolation level", "transaction_isolation", "transaction isolation level"},
      {"show session authorization", "session_authorization", "session authorization"},
      {"show all", "all", "all"},
      {"reset \"TimeZone\"", "timezone", "\"TimeZone\""},
      {"reset my . Var", "my.var", "my . Var"},
      {"reset time zone", "time zone", "time zone"},
      {"reset session authorization", "session_authorization", "session authorization"},
      {"reset role", "role", "role"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(scan_one(c.sql).name, c.name) << c.sql;
    EXPECT_EQ(scan_one(c.sql).name_token, c.token) << c.sql;
  }
  EXPECT_EQ(scan_one("execute " + std::string(80, 'A')).name, std::string(63, 'a'));
}

TEST(StatementScanner, KnowsExecuteBehindExplainAndCreateOnly) {
  EXPECT_EQ(verb_of("explain (analyze) execute name(1)"), Verb::kExecute);
  EXPECT_EQ(verb_of("create unlogged table x as /**/ execute p"), Verb::kExecute);
  EXPECT_EQ(verb_of("create table x as select 1 as execute"), Verb::kDdl);
  EXPECT_EQ(verb_of("create table x as (select 1 as execute)"), Verb::kDdl);
  EXPECT_EQ(verb_of("create trigger t before insert on x execute function f()"), Verb::kDdl);
  EXPECT_EQ(verb_of("explain (select 1)"), Verb::kOther);
  EXPECT_EQ(effects_of("explain (select nextval('s'))"), kEffectSequenceWrite);
}

TEST(StatementScanner, GivesThePreparedStatementsTail) {
  EXPECT_EQ(scan_one("prepare p (int, text) as select $1 -- x").value, "(int, text) as select $1");
  EXPECT_EQ(scan_one("prepare p as select 1;").value, "as select 1");
  EXPECT_EQ(scan_one("execute p(1, 'x')").value, "(1, 'x')");
  EXPECT_EQ(effects_of("prepare p as select pg_advisory_lock($1)"), kEffectAdvisoryLock);
  EXPECT_EQ(effects_of("prepare p as insert into t values ($1)"), kEffectSequenceWrite);
}

TEST(StatementScanner, ReadsEverySpellingOfSet) {
  const struct {
    const char* sql;
    Verb verb;
    const char* name;
    const char* value;
  } cases[] = {
      {"set a = 1", Verb::kSet, "a", "1"},
      {"SET SESSION Search_Path TO public, \"X\"", Verb::kSet, "search_path", "public, \"X\""},
      {"set/**/a/**/to/**/'b'/**/", Verb::kSet, "a", "'b'"},
      {"set \"Date\"\"Style\" = iso", Verb::kSet, "date\"style", "iso"},
      {"set my.var = 'x;y'", Verb::kSet, "my.var", "'x;y'"},
      {"set a to default", Verb::kReset, "a", "default"},
      {"set a = DEFAULT", Verb::kReset, "a", "DEFAULT"},
      {"set session a to default", Verb::kReset, "a", "default"},
      {"set time zone 'UTC'", Verb::kSet, "time zone", "'UTC'"},
      {"set session time zone interval '1' hour to minute", Verb::kSet, "time zone",
       "interval '1' hour to minute"},
      {"set time zone -7", Verb::kSet, "time zone", "-7"},
      {"set time zone local", Verb::kReset, "time zone", "local"},
      {"set time zone default", Verb::kReset, "time zone", "default"},
      {"set local time zone 'UTC'", Verb::kSetLocal, "time zone", "'UTC'"},
      {"set timezone = 'UTC'", Verb::kSet, "timezone", "'UTC'"},
      {"set schema 'x'", Verb::kSet, "search_path", "'x'"},
      {"set names 'utf8'", Verb::kSet, "client_encoding", "'utf8'"},
      {"set names", Verb::kReset, "client_encoding", ""},
      {"set names default", Verb::kReset, "client_encoding", "default"},
      {"set role none", Verb::kSet, "role", "none"},
      {"set role 'x'", Verb::kSet, "role", "'x'"},
      {"set role = x", Verb::kSet, "role", "x"},
      {"set local role x", Verb::kSetLocal, "role", "x"},
      {"set xml option document", Verb::kSet, "xmloption", "document"},
      {"set session authorization Joe", Verb::kSetSessionAuthorization, "session_authorization",
       "Joe"},
      {"set session session authorization 'Joe'", Verb::kSetSessionAuthorization,
       "session_authorization", "'Joe'"},
      {"set session_authorization to joe", Verb::kSetSessionAuthorization, "session_authorization",
       "joe"},
      {"set session authorization default", Verb::kReset, "session_authorization", "default"},
      {"set local session authorization joe", Verb::kSetLocal, "session_authorization", "joe"},
      {"set local session authorization default", Verb::kSetLocal, "session_authorization",
       "default"},
      {"set session characteristics as transaction read only", Verb::kSetCharacteristics,
       "session_characteristics", "read only"},
      {"set local a = 1", Verb::kSetLocal, "a", "1"},
      {"set local a to default", Verb::kSetLocal, "a", "default"},
      {"set transaction isolation level serializable", Verb::kSetLocal, "transaction",
       "isolation level serializable"},
      {"set session transaction read only", Verb::kSetLocal, "transaction", "read only"},
      {"set transaction_isolation = 'serializable'", Verb::kSetLocal, "transaction_isolation",
       "'serializable'"},
      {"set constraints all deferred", Verb::kSetLocal, "constraints", "all deferred"},
      {"set local.x = 1", Verb::kSet, "local.x", "1"},
      {"set session.x to 1", Verb::kSet, "session.x", "1"},
      {"set transaction.x = 1", Verb::kSet, "transaction.x", "1"},
      {"set time = 1", Verb::kSet, "time", "1"},
  };
  for (const auto& c : cases) {
    const Seen seen = scan_one(c.sql);
    EXPECT_EQ(seen.verb, c.verb) << c.sql;
    EXPECT_EQ(seen.name, c.name) << c.sql;
    EXPECT_EQ(seen.value, c.value) << c.sql;
    EXPECT_EQ(seen.effects, kEffectNone) << c.sql;
  }
  EXPECT_EQ(effects_of("set a from current"), kEffectSetConfig);
}

TEST(StatementScanner, SeesTemporaryObjects) {
  for (const char* sql : {"create temp table x (a int)",
                          "CREATE TEMPORARY TABLE x ()",
                          "create local temp table x ()",
                          "create global temporary table x ()",
                          "create temp view v as select 1",
                          "create or replace temporary view v as select 1",
                          "create temp recursive view v (a) as table t",
                          "create temp sequence s",
                          "create temp table x on commit delete rows as select 1",
                          "create temp table x () on commit preserve rows",
                          "create table pg_temp.x ()",
                          "create table \"pg_temp\" . x ()",
                          "create table pg_temp_3.x ()",
                          "create function pg_temp.f() as ''",
                          "create /* a */ temp -- b\n table x (b text default 'on commit drop')",
                          "select 1 into temp t",
                          "select * into temporary table t from x",
                          "select * into local temp t from x",
                          "with a as (select 1) select * into temp t from a",
                          "create temp table x as execute p",
                          "set search_path = pg_temp, public",
                          "set search_path to 'PG_TEMP'",
                          "set schema 'pg_temp'",
                          "explain analyze create temp table x as select 1"}) {
    EXPECT_EQ(effects_of(sql) & kEffectTempObject, kEffectTempObject) << sql;
  }
  for (const char* sql : {"create temp table x (a int) on commit drop",
                          "CREATE TEMP TABLE x ON COMMIT DROP AS SELECT 1",
                          "create temporary table x () on /**/ commit /**/ drop",
                          "create table pg_temp.x () on commit drop",
                          "create table temp ()",
                          "create table temp.x ()",
                          "insert into temp values (1)",
                          "insert into temp.t values (1)",
                          "with a as (insert into temp values (1)) select 1",
                          "explain insert into temp values (1)",
                          "merge into temp using s on true when matched then delete",
                          "select * into t from x",
                          "select 1 into temp",
                          "select a into temp from x",
                          "select 1 into temp; ",
                          "select 'create temp table', \"into\" temp from t",
                          "select pg_temp from t",
                          "drop table pg_temp.x",
                          "create unlogged table x ()",
                          "set search_path = public",
                          "select 1 -- into temp t",
                          "prepare p as insert into temp values (1)"}) {
    EXPECT_EQ(effects_of(sql) & kEffectTempObject, kEffectNone) << sql;
  }
}

TEST(StatementScanner, SeesFunctionCallsThatLeaveTraces) {
  const struct {
    const char* sql;
    std::uint32_t effects;
  } cases[] = {
      {"select pg_advisory_lock(1)", kEffectAdvisoryLock},
      {"SELECT PG_TRY_ADVISORY_LOCK_SHARED (1, 2)", kEffectAdvisoryLock},
      {"select pg_catalog.pg_advisory_lock(1)", kEffectAdvisoryLock},
      {"select pg_catalog . \"pg_advisory_lock\" /* x */ -- y\n (1)", kEffectAdvisoryLock},
      {"select U&\"pg\\005fadvisory_lock\"(1)", kEffectAdvisoryLock},
      {"select * from t where pg_try_advisory_lock(id)", kEffectAdvisoryLock},
      {"copy (select pg_advisory_lock(1)) to stdout", kEffectAdvisoryLock},
      {"explain analyze select pg_advisory_lock(1)", kEffectAdvisoryLock},
      {"select pg_advisory_xact_lock(1)", kEffectNone},
      {"select pg_try_advisory_xact_lock_shared(1)", kEffectNone},
      {"select pg_advisory_unlock(1)", kEffectMayRelease},
      {"select pg_advisory_unlock_all()", kEffectMayRelease},
      {"select setseed(0.5)", kEffectRandomSeed},
      {"set seed = 0.5", kEffectRandomSeed},
      {"set local seed to 0.5", kEffectRandomSeed},
      {"select set_config('a', 'b', false)", kEffectSetConfig},
      {"select set_config('a', $1, $2)", kEffectSetConfig},
      {"select set_config('a', f(1, true), x)", kEffectSetConfig},
      {"select set_config('a', 'b', true)", kEffectLocalConfig},
      {"select set_config('a', f(1, 2), TRUE), set_config('b', 'c', 't')", kEffectLocalConfig},
      {"select set_config('a', 'b', true), set_config('a', 'b', false)",
       kEffectLocalConfig | kEffectSetConfig},
      {"select set_config('a', 'b', not true)", kEffectSetConfig},
      {"select set_config('a', set_config('b', 'c', false), true)",
       kEffectLocalConfig | kEffectSetConfig},
      {"select set_config('a', 'b', true", kEffectSetConfig},
      {"select nextval('s')", kEffectSequenceWrite},
      {"select setval('s', 1)", kEffectSequenceWrite},
      {"select currval('s')", kEffectSequenceRead},
      {"select lastval()", kEffectSequenceRead},
      {"select nextval('s'), lastval()", kEffectSequenceWrite | kEffectSequenceRead},
      {"insert into t values (1)", kEffectSequenceWrite},
      {"insert into t values (currval('s'))", kEffectSequenceWrite | kEffectSequenceRead},
      {"with a as (insert into t values (1)) select 1", kEffectSequenceWrite},
      {"update t set a = default", kEffectSequenceWrite},
      {"update t set a = 1", kEffectNone},
      {"copy t from stdin", kEffectSequenceWrite},
      {"copy t (a, b) from '/x' with csv", kEffectSequenceWrite},
      {"copy t to stdout", kEffectNone},
      {"copy (select * from t) to stdout", kEffectNone},
      {"merge into t using s on true when not matched then insert values (1)",
       kEffectSequenceWrite},
      {"select dblink_connect('x')", kEffectForeignSession},
      {"select public.dblink_connect_u('x', 'y')", kEffectForeignSession},
      {"select dblink_disconnect('x')", kEffectMayRelease},
      {"select pg_replication_origin_session_setup('x')", kEffectForeignSession},
      {"select pg_create_logical_replication_slot('a', 'b', true)", kEffectForeignSession},
      {"select pg_backup_start('x')", kEffectForeignSession},
      {"select pg_backup_stop()", kEffectMayRelease},
      {"load 'x'", kEffectLibrary},
      {"do $$ begin end $$", kEffectOpaque},
      {"call p(1)", kEffectCall},
      // What the code of a DO does that cannot be asked for later.
      {"do $$ begin set role x; end $$", kEffectOpaque},
      {"do language plpgsql 'begin reset all; end'", kEffectOpaque},
      {"do $$ begin if a then set b = c; end if; end $$", kEffectOpaque},
      {"do $$ begin set a.b = c; end $$", kEffectOpaque | kEffectSetConfig},
      {"do $$ begin perform set_config(a, b, false); end $$", kEffectOpaque | kEffectSetConfig},
      {"do $$ begin perform set_config('a', b, true); end $$", kEffectOpaque | kEffectLocalConfig},
      {"do $$ begin execute format('set role %I', b); end $$", kEffectOpaque},
      {"do $$ begin execute $x$ do $y$ begin execute 'reset a.b'; end $y$ $x$; end $$",
       kEffectOpaque | kEffectSetConfig},
      {"do $$ begin perform setseed(1); end $$", kEffectOpaque | kEffectRandomSeed},
      {"do $$ begin set local a = b; update t set c = 1; raise notice 'set d'; end $$",
       kEffectOpaque},
      {"do $$ begin create temp table t (a int); perform pg_advisory_lock(1); end $$",
       kEffectOpaque},
      {"declare c cursor with hold for select 1", kEffectHoldCursor},
      {"declare c scroll cursor/**/WITH HOLD for select nextval('s')",
       kEffectHoldCursor | kEffectSequenceWrite},
      {"declare c cursor without hold for select 1", kEffectNone},
      {"declare c cursor for select 'with hold' from hold", kEffectNone},
      {"close c", kEffectMayRelease},
      {"discard all", kEffectMayRelease},
      {"discard temp", kEffectMayRelease},
      {"drop table t", kEffectMayRelease},
      // Not calls.
      {"select 'pg_advisory_lock(1)'", kEffectNone},
      {"select /* nextval('s') */ 1 -- setval('s')", kEffectNone},
      {"select $$nextval('s')$$, $x$setseed(1)$x$, E'\\'nextval(1)'", kEffectNone},
      {"select nextval from t", kEffectNone},
      {"select nextval, (1)", kEffectNone},
      {"select \"nextval\".a from \"nextval\"", kEffectNone},
      {"select my_nextval('s'), nextvalue('s'), nextval_x('s')", kEffectNone},
      {"select \"nextval(\" from t", kEffectNone},
      {"create table t (a int default 5)", kEffectNone},
      {"alter table t alter a set default 5", kEffectNone},
  };
  for (const auto& c : cases) EXPECT_EQ(effects_of(c.sql), c.effects) << c.sql;
}

TEST(StatementScanner, KeepsTheEffectsOfStatementsApart) {
  const std::vector<Seen> list =
      scan_all("begin; select nextval('s'); set a = 'b'; create temp table x (); commit");
  ASSERT_EQ(list.size(), 5u);
  EXPECT_EQ(list[0].effects, kEffectNone);
  EXPECT_EQ(list[1].effects, kEffectSequenceWrite);
  EXPECT_EQ(list[2].name, "a");
  EXPECT_EQ(list[3].effects, kEffectTempObject);
  EXPECT_EQ(list[3].name, "");
  EXPECT_EQ(list[4].verb, Verb::kCommit);
}

TEST(StatementScanner, StaysCheapWhenSetConfigIsNestedDeeply) {
  std::string sql = "select ";
  for (int i = 0; i < 20000; ++i) sql += "set_config(";
  EXPECT_EQ(effects_of(sql), kEffectSetConfig);
}

TEST(StatementScanner, CoversAnyTextWithItsStatements) {
  unsigned seed = 99;
  for (int round = 0; round < 200; ++round) {
    for (const std::string& sample : sql_samples()) {
      const std::string sql = mutate_sql(sample, seed);
      StatementScanner scanner(sql);
      StatementEffects statement;
      const char* last_end = sql.data();
      while (scanner.next(statement)) {
        ASSERT_FALSE(statement.text.empty()) << sql;
        ASSERT_GE(statement.text.data(), last_end) << sql;
        last_end = statement.text.data() + statement.text.size();
        ASSERT_LE(last_end, sql.data() + sql.size()) << sql;
        ASSERT_LE(statement.name_begin, statement.name_end);
        ASSERT_LE(statement.name_end, sql.size());
      }
    }
  }
}

}  // namespace
}  // namespace pgshunt
