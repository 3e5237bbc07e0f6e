// Rows of a result as COPY TO writes them: text, CSV or binary. Values are what their types' output
// (or send) functions have made of them, so that COPY only has to quote them. (copyto.c:
// CopyOneRowTo, CopyAttributeOutText, CopyAttributeOutCSV; manual, "COPY", File Formats.)
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/copy_format.h"
#include "protocol/result.h"

namespace pgshunt {

class CopyWriter {
 public:
  // `columns`: their names. `quoted`: of each, whether its values are quoted whatever they are
  // (FORCE_QUOTE); may be shorter. Text must be in an encoding in which no byte of a longer
  // character looks like ASCII.
  CopyWriter(const CopyOptions& options, std::vector<std::string> columns,
             std::vector<bool> quoted = {})
      : options_(options), columns_(std::move(columns)), quoted_(std::move(quoted)) {}

  // CopyOutResponse, and what comes before the rows.
  void start(std::string& out);
  // One CopyData of a DataRow's body, whose values are in the format of the COPY; of its first
  // columns, as many as there are names. An Error: it is not one.
  Status row(std::string_view body, std::string& out);
  // What comes behind the rows, and CopyDone.
  void finish(std::string& out) const;

 private:
  void write_text(std::string_view value, std::string& out) const;
  void write_csv(std::string_view value, bool quote, std::string& out) const;

  CopyOptions options_;
  std::vector<std::string> columns_;
  std::vector<bool> quoted_;
  // Binary: the signature, which PostgreSQL sends with the first row, or with the end.
  std::string_view unsent_;
};

}  // namespace pgshunt
