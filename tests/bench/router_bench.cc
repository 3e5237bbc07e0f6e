// What a route costs, on a cached template and without one. Prints nanoseconds of CPU time a
// statement, which a busy machine disturbs less than the clock on the wall.
//
//   router_bench [seconds per line]

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "router/planner.h"
#include "router/router.h"

namespace {

using namespace pgshunt;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::shared_ptr<const Topology> make_topology() {
  TopologyBuilder builder;
  const auto must = [](const auto& result) {
    if (!result) std::abort();
  };
  for (int i = 0; i < 16; ++i) must(builder.add_shard("s" + std::to_string(i)));
  must(builder.add_keyspace("users", ShardKeyType::kInt8));
  must(builder.add_sharded_table("public", "users", "users", "id"));
  must(builder.add_sharded_table("public", "posts", "users", "user_id"));
  must(builder.add_sharded_table("public", "pgbench_accounts", "users", "aid"));
  must(builder.add_reference_table("public", "countries"));
  return *builder.build(1);
}

double seconds = 0.5;

template <class Run>
void measure(const char* what, Run run) {
  for (int i = 0; i < 100; ++i) run(i);
  const double begin = cpu_seconds();
  long count = 0;
  double spent = 0;
  do {
    for (int i = 0; i < 64; ++i) run(static_cast<int>(count + i));
    count += 64;
    spent = cpu_seconds() - begin;
  } while (spent < seconds);
  std::printf("%-44s %9.0f ns\n", what, spent * 1e9 / static_cast<double>(count));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) seconds = std::atof(argv[1]);
  Router router(make_topology());
  const auto must = [](const auto& result) {
    if (!result) std::abort();
  };
  struct Shape {
    const char* name;
    std::string before;
    std::string after;
  };
  const Shape shapes[] = {
      {"pgbench select", "SELECT abalance FROM pgbench_accounts WHERE aid = ", ";"},
      {"pgbench update",
       "UPDATE pgbench_accounts SET abalance = abalance + -4711 WHERE aid = ", ";"},
      {"insert of ten columns", "INSERT INTO users (id, a, b, c, d, e, f, g, h, i) VALUES (",
       ", 'text', 'text', 5, 6, 7, NULL, true, '2020-01-01', 'a longer text of forty characters')"},
      {"join with the key",
       "SELECT u.name, p.body FROM users u JOIN posts p ON p.user_id = u.id WHERE u.id = ",
       " ORDER BY p.id DESC LIMIT 20"},
      {"scatter, hidden sort column and offset", "SELECT u.name FROM users u WHERE u.score > ",
       " ORDER BY u.created DESC LIMIT 20 OFFSET 40"},
      {"reference read", "SELECT name FROM countries WHERE code = ", ""},
  };
  for (const Shape& shape : shapes) {
    std::vector<std::string> texts;
    for (int i = 0; i < 64; ++i) {
      texts.push_back(shape.before + std::to_string(i * 7919) + shape.after);
    }
    measure((std::string(shape.name) + ": hit").c_str(),
            [&](int i) { must(router.route(texts[static_cast<std::size_t>(i % 64)])); });
    measure((std::string(shape.name) + ": planned anew").c_str(), [&](int i) {
      must(plan_statement(router.topology(), {texts[static_cast<std::size_t>(i % 64)], {}, 0}));
    });
  }
  std::string list = "SELECT * FROM users WHERE id IN (0";
  std::string array = "SELECT * FROM users WHERE id = ANY ('{0";
  std::string rows = "INSERT INTO users (id, a, b, c) VALUES (0, 'text', 5, NULL)";
  for (int i = 1; i < 1000; ++i) {
    const std::string key = std::to_string(i);
    if (i < 100) list += ", " + key;
    array += "," + key;
    rows += ", (" + key + ", 'a text', 7, NULL)";
  }
  list += ")";
  array += "}')";
  measure("list of 100 keys", [&](int) { must(router.route(list)); });
  measure("array of 1000 keys", [&](int) { must(router.route(array)); });
  measure("insert of 1000 rows", [&](int) { must(router.route(rows)); });
  const std::string prepared = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
  measure("prepare, known text", [&](int) { must(router.prepare(prepared, {})); });
  const auto plan = *router.prepare(prepared, {});
  measure("bind", [&](int i) {
    char digits[16];
    const int length = std::snprintf(digits, sizeof digits, "%d", i);
    const BoundValue value{false, false, 0, {digits, static_cast<std::size_t>(length)}};
    must(router.bind(*plan, {&value, 1}));
  });
  return 0;
}
