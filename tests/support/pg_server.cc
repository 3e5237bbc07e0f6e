#include "tests/support/pg_server.h"

#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "tests/support/pg_client.h"

namespace pgshunt {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kStartTimeout{60};

// The directory with initdb and postgres, of the newest version there is; empty if none.
std::string find_programs() {
  if (const char* given = std::getenv("PG_BIN")) return given;
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& version : fs::directory_iterator("/usr/lib/postgresql", ignored)) {
    const fs::path bin = version.path() / "bin";
    if (fs::exists(bin / "initdb") && fs::exists(bin / "postgres")) found.push_back(bin);
  }
  return found.empty() ? std::string() : *std::max_element(found.begin(), found.end());
}

// Becomes user postgres if it is root now: the server refuses to run as root.
void drop_root() {
  if (geteuid() != 0) return;
  const passwd* user = getpwnam("postgres");
  if (user == nullptr || initgroups(user->pw_name, user->pw_gid) != 0 ||
      setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0) {
    _exit(126);
  }
}

// Starts a program with its output in `log`. It gets a signal when this process dies.
pid_t spawn(const std::vector<std::string>& command, const std::string& directory,
            const std::string& log) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid != 0) return pid;
  drop_root();
  // After the change of user, which clears it. SIGQUIT is PostgreSQL's immediate shutdown.
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  if (getppid() != parent) _exit(125);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(out, STDOUT_FILENO);
  dup2(out, STDERR_FILENO);
  if (chdir(directory.c_str()) != 0) _exit(124);
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  execv(arguments[0], arguments.data());
  _exit(127);
}

bool succeeded(pid_t pid) {
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

std::uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) std::abort();
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

void report(const std::string& what, const std::string& log) {
  std::fprintf(stderr, "no PostgreSQL server for tests: %s\n", what.c_str());
  if (std::FILE* file = std::fopen(log.c_str(), "r")) {
    char line[512];
    while (std::fgets(line, sizeof line, file) != nullptr) std::fputs(line, stderr);
    std::fclose(file);
  }
}

}  // namespace

std::unique_ptr<PgServer> PgServer::start(const Options& options) {
  const std::string programs = find_programs();
  if (programs.empty()) {
    report("its programs are not installed", {});
    return nullptr;
  }
  std::string name = (fs::temp_directory_path() / "pgshunt-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    report("no temporary directory", {});
    return nullptr;
  }
  std::unique_ptr<PgServer> server(new PgServer);
  server->directory_ = name;
  if (geteuid() == 0) {
    if (const passwd* user = getpwnam("postgres")) {
      [[maybe_unused]] const int done = chown(name.c_str(), user->pw_uid, user->pw_gid);
    }
  }
  const std::string data = name + "/data";
  const std::string log = name + "/log";

  std::vector<std::string> initdb = {programs + "/initdb", "--pgdata=" + data, "--no-sync",
                                     "--username=" + std::string(kUser)};
  if (options.initdb_options.empty()) {
    initdb.insert(initdb.end(), {"--locale=C.UTF-8", "--encoding=UTF8", "--auth=trust"});
  } else {
    initdb.insert(initdb.end(), options.initdb_options.begin(), options.initdb_options.end());
  }
  if (!succeeded(spawn(initdb, name, log))) {
    report("initdb failed", log);
    return nullptr;
  }

  if (options.tcp) server->port_ = free_port();
  std::vector<std::string> postgres = {programs + "/postgres",       "-D", data, "-k", name, "-p",
                                       std::to_string(server->port_)};
  const auto set = [&postgres](const std::string& setting) {
    postgres.insert(postgres.end(), {"-c", setting});
  };
  set(options.tcp ? "listen_addresses=127.0.0.1" : "listen_addresses=");
  set("fsync=off");
  set("synchronous_commit=off");
  set("full_page_writes=off");
  for (const std::string& setting : options.settings) set(setting);
  server->pid_ = spawn(postgres, name, log);

  const auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  for (;;) {
    if (PgClient::connect(name, server->port_, "postgres")) return server;
    int status = 0;
    if (waitpid(server->pid_, &status, WNOHANG) == server->pid_) {
      server->pid_ = -1;
      report("it ended while starting", log);
      return nullptr;
    }
    if (std::chrono::steady_clock::now() > deadline) {
      report("it did not start in time", log);
      return nullptr;
    }
    poll(nullptr, 0, 10);  // nothing tells when the socket appears
  }
}

PgServer* PgServer::shared() {
  static const std::unique_ptr<PgServer> server = start();
  return server.get();
}

PgServer::~PgServer() {
  if (pid_ > 0) {
    kill(pid_, SIGQUIT);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  fs::remove_all(directory_, ignored);
}

}  // namespace pgshunt
