// pgshunt: reads its configuration, serves until told to stop.
#include <cstdio>
#include <cstring>
#include <string>

#include "proxy/config/config.h"
#include "proxy/database.h"
#include "proxy/directory/directories.h"
#include "proxy/log/log.h"
#include "proxy/proxy.h"
#include "proxy/two_phase/schema.h"
#include "proxy/unique_ids/schema.h"

namespace {

constexpr const char* kUsage =
    "Usage: pgshunt [--check] FILE\n"
    "\n"
    "Serves PostgreSQL clients as the TOML file FILE says (see configs/pgshunt.toml).\n"
    "\n"
    "  --check         read and check FILE, print every problem, and exit: 0 if it is good, 1 if "
    "not\n"
    "  --print-schema  print the SQL that transactions over several shards, and "
    "pgshunt.unique_id(),\n"
    "                  need on each of them\n"
    "  -V, --version   print the version and exit\n"
    "  -h, --help      print this and exit\n"
    "\n"
    "Signals: SIGTERM or SIGINT let transactions end and stop, a second one stops at once;\n"
    "SIGHUP reloads FILE and reopens the log; SIGUSR1 reopens the log.\n";

bool is_one_of(const char* argument, const char* name, const char* short_name) {
  return std::strcmp(argument, name) == 0 || std::strcmp(argument, short_name) == 0;
}

int fail(const std::string& message) {
  std::fprintf(stderr, "pgshunt: %s\n", message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  bool check = false;
  std::string file;
  for (int i = 1; i < argc; ++i) {
    if (is_one_of(argv[i], "--help", "-h")) {
      std::fputs(kUsage, stdout);
      return 0;
    }
    if (is_one_of(argv[i], "--version", "-V")) {
      std::puts("pgshunt " PGSHUNT_VERSION);
      return 0;
    }
    if (std::strcmp(argv[i], "--print-schema") == 0) {
      std::printf("%s%s%s%s", pgshunt::kTwoPhaseSchemaNotes.data(), pgshunt::kTwoPhaseSchema.data(),
                  pgshunt::kUniqueIdsSchemaNotes.data(), pgshunt::unique_ids_schema(0).c_str());
      return 0;
    }
    if (std::strcmp(argv[i], "--check") == 0) {
      check = true;
    } else if (argv[i][0] == '-' || !file.empty()) {
      std::fputs(kUsage, stderr);
      return 2;
    } else {
      file = argv[i];
    }
  }
  if (file.empty()) {
    std::fputs(kUsage, stderr);
    return 2;
  }

  pgshunt::ConfigResult loaded = pgshunt::load_config(file);
  for (const pgshunt::ConfigIssue& issue : loaded.issues) {
    std::fprintf(stderr, "%s\n", issue.to_string().c_str());
  }
  if (!loaded.config) return 1;
  for (const pgshunt::ConfigIssue& warning : loaded.warnings) {
    std::fprintf(stderr, "warning: %s\n", warning.to_string().c_str());
  }
  auto snapshot = pgshunt::make_snapshot(loaded.config, 1);
  if (!snapshot) {
    std::fprintf(stderr, "%s\n", snapshot.error().message.c_str());
    return 1;
  }
  if (check) {
    if (const auto agreed = pgshunt::check_directories(*loaded.config); !agreed) {
      std::fprintf(stderr, "%s\n", agreed.error().message.c_str());
      return 1;
    }
    std::printf("%s: good\n", file.c_str());
    return 0;
  }
  if (auto configured = pgshunt::configure_log(pgshunt::log_settings(*loaded.config));
      !configured) {
    return fail(configured.error().message);
  }

  pgshunt::block_signals();
  pgshunt::Proxy proxy(*snapshot);
  if (auto started = proxy.start(); !started) return fail(started.error().message);
  proxy.run();
  pgshunt::flush_log();
  return 0;
}
