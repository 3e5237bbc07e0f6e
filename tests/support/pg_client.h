// A small blocking client over a unix socket that keeps what it receives as raw message bodies, for
// tests that compare our reading of the wire with the server's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgshunt {

struct PgResult {
  std::string row_description;    // body; empty if there was none
  std::vector<std::string> rows;  // DataRow bodies
  std::string tag;
  std::string error;  // message of the ErrorResponse, empty if there was none
  std::string sqlstate;
  std::string context;
  std::vector<std::string> copied;  // CopyData bodies of a COPY TO STDOUT

  bool ok() const { return error.empty(); }
  // One column of one row; nothing for NULL.
  std::optional<std::string> value(std::size_t row, std::size_t column) const;
};

class PgClient {
 public:
  // Null if the server does not let us in (yet). Without a password.
  static std::unique_ptr<PgClient> connect(const std::string& socket_dir, std::uint16_t port,
                                           const std::string& database,
                                           const std::string& user = "postgres");
  ~PgClient();
  PgClient(const PgClient&) = delete;
  PgClient& operator=(const PgClient&) = delete;

  // Simple protocol. Of several statements the rows are put together.
  PgResult query(std::string_view sql);

  // COPY ... FROM STDIN: once the server asks for data it is given `frames`, whole CopyData
  // messages, and the end: CopyDone, or CopyFail.
  PgResult copy_in(std::string_view sql, std::string_view frames, bool fail = false);

  struct Parameter {
    std::uint32_t type = 0;
    std::uint16_t format = 0;
    std::optional<std::string> value;
  };
  // Extended protocol, unnamed statement and portal; all results in `result_format`.
  PgResult execute(std::string_view sql, const std::vector<Parameter>& parameters,
                   std::uint16_t result_format);

 private:
  explicit PgClient(int fd) : fd_(fd) {}
  bool send(std::string_view bytes);
  // The next message, type and body; false when the connection ends.
  bool receive(char& type, std::string& body);
  PgResult collect(std::string_view copy_input = {});

  int fd_;
  std::string input_;
  std::size_t used_ = 0;
};

}  // namespace pgshunt
