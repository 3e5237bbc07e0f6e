// One walk over a statement's tree: every query level with its tables and pins, and whatever of its
// expressions bears on where it may run.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "protocol/result.h"
#include "router/sql_tree.h"
#include "router/table_scope.h"
#include "router/topology.h"

namespace pgshunt {

// What the expressions of a statement call and name; each string holds the first one found, empty
// for none.
struct StatementFacts {
  std::string unknown_function;
  std::string reading_function;          // the user's own, which may read any table
  std::string sequence_read;             // currval(), lastval()
  std::string sequence_call;             // nextval(), or setval() if there is one
  std::vector<const Expr*> set_configs;  // calls of set_config()
  std::string local_function;
  std::string server_function;  // of the local and the unknown, one that !runs_on_any_server()
  std::string unique_id;        // pgshunt.unique_id(): another value wherever it is called
  std::string moment;           // now() or CURRENT_TIMESTAMP, or a literal such as 'today'
  // The same, but for those that can be one moment on all shards (router/fixed_moments.h), whose
  // places in the text are in `moment_calls`.
  std::string other_moment;
  std::vector<std::size_t> moment_calls;
  bool moment_literal = false;  // 'today' is one: it is read when the statement is parsed
  std::string aggregate;
  std::string window;
  std::string system_column;
  std::string oid_type;
  std::string unknown_operator;
  std::string other_node;
  bool advisory_lock = false;
  bool has_default = false;  // DEFAULT in VALUES or SET
  bool ctes = false;
  bool set_operation = false;
  bool subqueries = false;  // anywhere but an INSERT's own source
  bool locking = false;
  bool into = false;
  bool unqualified_table = false;
  std::size_t tables = 0;  // accounted for
  std::vector<std::size_t> parameter_uses;
};

// A write's target anywhere in the statement.
struct WriteTarget {
  const Query* query = nullptr;
  ResolvedTable table;
  bool nested = false;  // in WITH
};

class StatementAnalysis {
 public:
  StatementAnalysis(const Topology& topology, const SearchPath* path,
                    const std::vector<std::uint32_t>& types)
      : topology_(topology), path_(path), types_(types) {}

  // 42P01 for an undeclared table. `query` must outlive this object.
  Status add_query(const Query& query);
  // Expressions outside of any query (COPY's WHERE).
  Status add_expression(const Expr& expr);

  const StatementFacts& facts() const { return facts_; }
  const std::vector<WriteTarget>& writes() const { return writes_; }
  const std::vector<std::unique_ptr<TableScope>>& scopes() const { return scopes_; }
  // All levels, by index of their scopes.
  const std::vector<const Query*>& queries() const { return queries_; }
  // The scope of one of the queries added.
  const TableScope* scope_of(const Query& query) const;
  // True if some table of the statement is of this class.
  bool has(TableClass placement) const;

 private:
  using Names = std::vector<std::string>;

  Status add_level(const Query& query, const TableScope* outer, Names ctes, bool nested);
  Status walk(const Expr& expr, const TableScope* scope, const Names& ctes);
  Status walk_all(const std::vector<Expr>& exprs, const TableScope* scope, const Names& ctes);
  Status walk_targets(const std::vector<Target>& targets, const TableScope* scope,
                      const Names& ctes);
  Status walk_from(const FromItem& item, const TableScope* scope, const Names& ctes);
  void note_table(const TableName& name, const Names& ctes, bool may_be_cte);
  void note_function(const Expr& call);
  void note_moment(const Expr& expr, const std::string& name);

  const Topology& topology_;
  const SearchPath* path_;
  const std::vector<std::uint32_t>& types_;
  StatementFacts facts_;
  std::vector<WriteTarget> writes_;
  std::vector<std::unique_ptr<TableScope>> scopes_;
  std::vector<const Query*> queries_;  // of scopes_, by index
};

}  // namespace pgshunt
