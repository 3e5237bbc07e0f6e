// What our own reading of SQL costs: the lexer, the session scanner and statement templates, on the
// statements of short transactions. Prints nanoseconds a statement, the best of many short rounds,
// since the machine may be busy with other things.
//
// "mixed" cycles through many different texts, as a proxy with many clients sees them: there the
// processor cannot learn a text's branches by heart, as it does with one text over and over.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "router/session_effects.h"
#include "router/sql_lexer.h"
#include "router/template.h"

namespace pgshunt {
namespace {

constexpr int kRounds = 300;
constexpr int kCallsPerRound = 2000;

unsigned lex(std::string_view sql) {
  SqlLexer lexer(sql);
  SqlToken token;
  unsigned tokens = 0;
  while (lexer.next(token)) ++tokens;
  return tokens;
}

unsigned scan(std::string_view sql) {
  StatementScanner scanner(sql);
  StatementEffects statement;
  unsigned effects = 0;
  while (scanner.next(statement)) effects |= statement.effects + 1;
  return effects;
}

unsigned normalize(std::string_view sql) {
  static StatementTemplate reused;
  normalize_template(sql, reused);
  return static_cast<unsigned>(reused.hash);
}

double measure(unsigned (*work)(std::string_view), const std::vector<std::string>& texts) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  std::size_t at = 0;
  for (int round = 0; round < kRounds; ++round) {
    const Clock::time_point start = Clock::now();
    for (int call = 0; call < kCallsPerRound; ++call) {
      unsigned result = work(texts[at]);
      asm volatile("" : : "r"(result));
      if (++at == texts.size()) at = 0;
    }
    const std::chrono::duration<double, std::nano> spent = Clock::now() - start;
    best = std::min(best, spent.count() / kCallsPerRound);
  }
  return best;
}

void report(const char* name, const std::vector<std::string>& texts) {
  std::size_t bytes = 0;
  for (const std::string& text : texts) bytes += text.size();
  const double mean = static_cast<double>(bytes) / static_cast<double>(texts.size());
  std::printf("%-22s %7.0f %8.1f %8.1f %8.1f\n", name, mean, measure(lex, texts),
              measure(scan, texts), measure(normalize, texts));
}

std::vector<std::string> mixed_texts() {
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) {
    const std::string n = std::to_string(i * 7919 % 100003);
    const std::string name(static_cast<std::size_t>(i * 31 % 17 + 1),
                           static_cast<char>('a' + i % 26));
    switch (i * 13 % 7) {
      case 0:
        texts.push_back("SELECT " + name + ", id FROM " + name + "_table WHERE id = " + n);
        break;
      case 1:
        texts.push_back("UPDATE accounts SET " + name + " = " + name + " + " + n +
                        " WHERE id=" + n);
        break;
      case 2:
        texts.push_back("INSERT INTO " + name + " (id, note) VALUES (" + n + ", '" + name + "')");
        break;
      case 3:
        texts.push_back(i % 2 == 0 ? "BEGIN" : "COMMIT");
        break;
      case 4:
        texts.push_back(
            "SELECT p.id, p.body FROM posts p JOIN users u ON u.id = p.author WHERE u." + name +
            " = '" + name + "' ORDER BY p.created_at DESC LIMIT " + std::to_string(i % 50));
        break;
      case 5:
        texts.push_back("DELETE FROM \"" + name + "\" WHERE \"" + name + "\".\"id\" IN (" + n +
                        ", " + n + ")");
        break;
      default:
        texts.push_back("/* app:" + name + " */ SELECT count(*) FROM " + name + " WHERE a >= " + n);
        break;
    }
  }
  return texts;
}

}  // namespace
}  // namespace pgshunt

int main() {
  using pgshunt::report;
  std::printf("%-22s %7s %8s %8s %8s\n", "ns a statement", "bytes", "lexer", "scanner", "template");
  report("begin", {"BEGIN"});
  report("select", {"SELECT abalance FROM pgbench_accounts WHERE aid = 1234567;"});
  report("update", {"UPDATE pgbench_accounts SET abalance = abalance + -3412 WHERE aid = 123456;"});
  report("insert", {"INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 2, 3, 4, "
                    "CURRENT_TIMESTAMP);"});
  report("mixed", pgshunt::mixed_texts());
  report("10 kB string",
         {"INSERT INTO t (id, body) VALUES (1, '" + std::string(10000, 'x') + "')"});
  return 0;
}
