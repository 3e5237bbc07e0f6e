// Bytes that do not fit into memory, in a file without a name: it is gone when it is closed, or
// when the process is.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/result.h"

namespace pgshunt {

class SpillFile {
 public:
  SpillFile() = default;
  ~SpillFile();
  SpillFile(SpillFile&& other) noexcept;
  SpillFile& operator=(SpillFile&& other) noexcept;

  // `directory`: where; empty: what TMPDIR says, else /tmp.
  static Result<SpillFile> create(const std::string& directory);

  bool is_open() const { return descriptor_ >= 0; }
  std::uint64_t size() const { return size_; }
  // At the end. 53100 if there is no room.
  Status append(std::string_view bytes);
  // Bytes of [from, from + size), all of which have been written, behind those of `out`.
  Status read(std::uint64_t from, std::size_t size, std::string& out) const;

 private:
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace pgshunt
