#include "shuntctl/output.h"

#include <algorithm>

namespace pgshunt::shuntctl {

void Table::print(std::ostream& out) const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  bool header = true;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    out << line << "\n";
    if (header) {
      std::size_t total = 0;
      for (const std::size_t width : widths) total += width + 2;
      out << std::string(total - 2, '-') << "\n";
    }
    header = false;
  }
}

ProgressBar::~ProgressBar() {
  if (drawn_) io_.err << "\n";
}

void ProgressBar::show(std::string_view what, std::uint64_t done, std::uint64_t total) {
  if (!io_.progress || total == 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (done < total && now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  constexpr std::uint64_t kWidth = 40;
  const std::uint64_t filled = std::min(kWidth, done * kWidth / total);
  io_.err << "\r[" << std::string(filled, '#') << std::string(kWidth - filled, '.') << "] "
          << std::min<std::uint64_t>(100, done * 100 / total) << " % " << what << "   "
          << std::flush;
  drawn_ = true;
}

}  // namespace pgshunt::shuntctl
