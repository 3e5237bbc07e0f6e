// A statement as a tree, reduced to what routing has to reason about. Plain data, made by
// parse_statement(), read by the planner, thrown away.
//
// The reduction loses no table, expression or parameter: whatever the tree has no type for is kept
// as kOther with the expressions found inside it, so that "this touches no sharded table" and "this
// calls no volatile function" can be concluded from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace pgshunt {

struct Query;

struct TableName {
  std::string schema;  // empty: along the search path
  std::string name;
  std::string alias;            // empty: none
  bool column_aliases = false;  // `t AS x (a, b)`: columns have other names here
  std::int32_t location = -1;   // byte offset in the text
};

enum class ExprKind : std::uint8_t {
  kColumn,     // names: [qualifier ...] column; `star`: ends with .*
  kParameter,  // `parameter`
  kConstant,   // `constant`, `text`
  kCast,       // names: the type's; args[0]; `plain`: no modifiers, no array; `array`
  kCollate,    // names: the collation's; args[0]
  kOperator,   // names: the operator's; one or two args
  kAnd,
  kOr,
  kNot,
  kIn,           // args[0] IN (args[1] ...); names: "=" or "<>"
  kAnyOrAll,     // args[0] op ANY/ALL (args[1]); `text`: which
  kNotDistinct,  // args[0] IS NOT DISTINCT FROM args[1]
  kScalar,    // CASE, COALESCE, IS NULL, BETWEEN, ARRAY[..], ROW(..) and their kin: as harmless as
              // its args; `text`: what it is ("BETWEEN": args[0] between args[1] and args[2])
  kFunction,  // names: the function's
  kSqlValue,  // CURRENT_TIMESTAMP and the like; `text`
  kDefault,   // DEFAULT
  kSubquery,  // `query`, in any of its forms; args: the left side of IN, ANY, ALL
  kOther,     // `text`: PostgreSQL's name of the node; args: all expressions inside
};

enum class ConstantKind : std::uint8_t { kNull, kNumber, kString, kBool, kBits };

struct Expr {
  ExprKind kind = ExprKind::kOther;
  std::int32_t location = -1;
  std::vector<std::string> names;
  std::string text;
  std::vector<Expr> args;
  std::unique_ptr<Query> query;
  std::uint32_t parameter = 0;  // from 1
  ConstantKind constant = ConstantKind::kNull;
  bool star = false;      // kColumn: t.*; kFunction: count(*)
  bool plain = false;     // kCast
  bool array = false;     // kCast: to an array of an otherwise plain type
  bool windowed = false;  // kFunction: OVER
  // kFunction: DISTINCT, ORDER BY, WITHIN GROUP or FILTER: it can only be an aggregate
  bool aggregate_syntax = false;
};

enum class JoinKind : std::uint8_t { kInner, kLeft, kRight, kFull };

// One item of FROM.
struct FromItem {
  enum class Kind : std::uint8_t { kTable, kJoin, kSubquery, kFunction, kOther };
  Kind kind = Kind::kOther;
  TableName table;  // kTable; of the others the alias
  // kJoin
  JoinKind join = JoinKind::kInner;
  bool natural = false;
  std::vector<std::string> using_columns;
  std::vector<FromItem> sides;  // two; kOther (TABLESAMPLE): what it is applied to
  // kJoin: the ON condition, if any. kFunction, kOther: what stands inside.
  std::vector<Expr> exprs;
  std::unique_ptr<Query> query;  // kSubquery
  std::string text;              // kOther: PostgreSQL's name of the node
};

struct Target {
  std::string name;          // AS name; the column assigned to in UPDATE ... SET and INSERT's list
  bool subscripted = false;  // name[1], name.field
  std::optional<Expr> value;
};

struct SortItem {
  Expr value;
  bool descending = false;
  std::optional<bool> nulls_first;  // as written
  bool direction_written = false;   // ASC or DESC
  bool using_operator = false;      // USING <
};

struct CommonTable {
  std::string name;
  std::unique_ptr<Query> query;
};

enum class QueryVerb : std::uint8_t { kSelect, kInsert, kUpdate, kDelete, kOther };
enum class SetOperation : std::uint8_t { kNone, kUnion, kIntersect, kExcept };
enum class ConflictAction : std::uint8_t { kNone, kNothing, kUpdate };
// INSERT's OVERRIDING ... VALUE: whose are the values of identity columns?
enum class Overriding : std::uint8_t { kNone, kUserValue, kSystemValue };

struct Query {
  QueryVerb verb = QueryVerb::kSelect;
  std::string text;  // kOther: the command, "MERGE"
  std::vector<CommonTable> with;
  bool recursive = false;

  // SELECT; `from` and `where` of UPDATE and DELETE too
  std::vector<Target> targets;
  std::vector<FromItem> from;
  std::optional<Expr> where;
  std::vector<SortItem> order;
  std::optional<Expr> limit;
  std::optional<Expr> offset;
  std::vector<std::vector<Expr>> values;
  bool distinct = false;
  bool grouped = false;
  bool having = false;
  bool windows = false;
  bool locking = false;
  bool into = false;
  bool with_ties = false;
  std::size_t other_tables = 0;  // named by INTO and FOR UPDATE OF
  SetOperation operation = SetOperation::kNone;
  std::unique_ptr<Query> left;
  std::unique_ptr<Query> right;

  // INSERT, UPDATE, DELETE
  std::optional<TableName> target;
  std::vector<Target> columns;    // INSERT's list
  std::unique_ptr<Query> source;  // INSERT; null for DEFAULT VALUES
  Overriding overriding = Overriding::kNone;
  std::vector<Target> assignments;  // SET, of UPDATE or of ON CONFLICT
  ConflictAction conflict = ConflictAction::kNone;
  bool conflict_constraint = false;           // ON CONFLICT ON CONSTRAINT
  std::vector<std::string> conflict_columns;  // those that are plain columns
  std::vector<Target> returning;

  // Expressions of clauses that have no place above: GROUP BY, HAVING, DISTINCT ON, WINDOW, ...
  std::vector<Expr> rest;
};

// One of COPY's options, by the name the newer syntax gives it ("force_not_null"). The older syntax
// gives the same.
struct CopyOption {
  std::string name;
  std::optional<std::string> value;  // of a string, number or Boolean: "true", "false"
  std::vector<std::string> columns;  // of a list of names
  bool all_columns = false;          // *
};

enum class StatementKind : std::uint8_t {
  kEmpty,
  kQuery,
  kExplain,     // query; `analyze`
  kCopy,        // query, or tables[0]; `from`, `server_file`, `copy_*`; exprs: its WHERE
  kCursor,      // DECLARE; query
  kFetch,       // FETCH, MOVE, CLOSE
  kSetting,     // SET, SHOW, RESET, DISCARD, DEALLOCATE, transaction control
  kNotify,      // LISTEN, NOTIFY, UNLISTEN
  kTruncate,    // tables
  kLock,        // tables
  kDefinition,  // of the schema: tables named in it; `outside_block`, `stores_values`
  kOther,
};

struct SqlStatement {
  StatementKind kind = StatementKind::kEmpty;
  std::string text;  // the command, "CREATE TABLE AS"
  std::unique_ptr<Query> query;
  std::vector<TableName> tables;  // every table named anywhere in it, in any role
  std::vector<Expr> exprs;        // outside `query`
  bool analyze = false;
  bool from = false;
  bool server_file = false;
  bool outside_block = false;             // cannot run in a transaction block
  bool stores_values = false;             // of exprs, in rows that are there already
  std::vector<std::string> copy_columns;  // kCopy: its column list
  std::vector<CopyOption> copy_options;
};

}  // namespace pgshunt
