// How commands show what they found: tables for people, and a bar for what takes long.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "shuntctl/command.h"

namespace pgshunt::shuntctl {

class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "[#####.....] 50 % reading", drawn over itself, ten times a second at most; nothing if standard
// error is no terminal.
class ProgressBar {
 public:
  explicit ProgressBar(Streams& io) : io_(io) {}
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void show(std::string_view what, std::uint64_t done, std::uint64_t total);

 private:
  Streams& io_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace pgshunt::shuntctl
