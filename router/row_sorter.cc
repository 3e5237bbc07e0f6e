#include "router/row_sorter.h"

#include <algorithm>
#include <utility>

#include "protocol/frame.h"

namespace pgshunt {
namespace {

constexpr std::size_t kSizeWord = 4;
constexpr std::size_t kReadAhead = 64 * 1024;

}  // namespace

Result<RowSorter::RowPtr> RowSorter::make(std::string_view body) const {
  auto row = std::make_unique<Row>();
  row->body = body;
  row->values = order_.no_values();
  const auto values = decode_data_row(row->body);
  if (!values) return values.error();
  if (const Status read = order_.read(*values, row->values.data()); !read) return read.error();
  return row;
}

std::size_t RowSorter::size_of(const Row& row) const {
  constexpr std::size_t kOfAllocations = 64;
  return sizeof(Row) + sizeof(RowPtr) + row.body.capacity() + row.values.size() * sizeof(RowValue) +
         kOfAllocations;
}

Status RowSorter::add(std::string_view body) {
  if (wanted_ == 0) return Ok{};
  const auto before = [this](const RowPtr& a, const RowPtr& b) {
    return std::is_lt(order_.compare(a->values.data(), b->values.data()));
  };
  auto made = make(body);
  if (!made) return made.error();
  RowPtr row = std::move(*made);
  if (rows_.size() == wanted_) {
    if (!before(row, rows_.front())) return Ok{};
    std::pop_heap(rows_.begin(), rows_.end(), before);
    memory_ = memory_ - size_of(*rows_.back()) + size_of(*row);
    rows_.back() = std::move(row);
    std::push_heap(rows_.begin(), rows_.end(), before);
  } else {
    memory_ += size_of(*row);
    rows_.push_back(std::move(row));
    if (rows_.size() == wanted_) std::make_heap(rows_.begin(), rows_.end(), before);
  }
  return memory_ > space_.memory ? spill() : Status(Ok{});
}

Status RowSorter::spill() {
  if (!file_.is_open()) {
    auto file = SpillFile::create(space_.directory);
    if (!file) return file.error();
    file_ = std::move(*file);
  }
  std::sort(rows_.begin(), rows_.end(), [this](const RowPtr& a, const RowPtr& b) {
    return std::is_lt(order_.compare(a->values.data(), b->values.data()));
  });
  Run run;
  run.at = file_.size();
  std::string bytes;
  for (const RowPtr& row : rows_) {
    char size[kSizeWord];
    store_be32(size, static_cast<std::uint32_t>(row->body.size()));
    bytes.append(size, sizeof size).append(row->body);
    if (bytes.size() < kReadAhead) continue;
    if (const Status written = file_.append(bytes); !written) return written.error();
    bytes.clear();
  }
  if (const Status written = file_.append(bytes); !written) return written.error();
  run.end = file_.size();
  run.values = order_.no_values();
  runs_.push_back(std::move(run));
  rows_.clear();
  memory_ = 0;
  return Ok{};
}

Status RowSorter::finish() {
  if (runs_.empty()) {
    std::sort(rows_.begin(), rows_.end(), [this](const RowPtr& a, const RowPtr& b) {
      return std::is_lt(order_.compare(a->values.data(), b->values.data()));
    });
    return Ok{};
  }
  if (!rows_.empty()) {
    if (const Status spilled = spill(); !spilled) return spilled.error();
  }
  for (std::size_t i = 0; i < runs_.size(); ++i) {
    const auto more = read_row(runs_[i]);
    if (!more) return more.error();
    if (*more) heap_.push_back(i);
  }
  std::make_heap(heap_.begin(), heap_.end(), [this](std::size_t a, std::size_t b) {
    return std::is_gt(order_.compare(runs_[a].values.data(), runs_[b].values.data()));
  });
  return Ok{};
}

Result<bool> RowSorter::next(std::string_view& body) {
  if (runs_.empty()) {
    if (at_ == rows_.size()) return false;
    if (at_ > 0) rows_[at_ - 1].reset();
    body = rows_[at_++]->body;
    return true;
  }
  const auto after = [this](std::size_t a, std::size_t b) {
    return std::is_gt(order_.compare(runs_[a].values.data(), runs_[b].values.data()));
  };
  if (std::exchange(taken_, false)) {
    std::pop_heap(heap_.begin(), heap_.end(), after);
    const auto more = read_row(runs_[heap_.back()]);
    if (!more) return more.error();
    if (*more) {
      std::push_heap(heap_.begin(), heap_.end(), after);
    } else {
      heap_.pop_back();
    }
  }
  if (heap_.empty()) return false;
  taken_ = true;
  body = runs_[heap_.front()].body;
  return true;
}

// The run's next row becomes its first. False: there is none.
Result<bool> RowSorter::read_row(Run& run) const {
  const auto fill = [&](std::size_t wanted) -> Status {
    if (run.bytes.size() - run.used >= wanted) return Ok{};
    run.bytes.erase(0, run.used);
    run.used = 0;
    const std::size_t missing = std::max(wanted - run.bytes.size(), kReadAhead);
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(missing, run.end - run.at));
    if (const Status read = file_.read(run.at, size, run.bytes); !read) return read.error();
    run.at += size;
    return Ok{};
  };
  if (run.used == run.bytes.size() && run.at == run.end) return false;
  if (const Status filled = fill(kSizeWord); !filled) return filled.error();
  const std::size_t size = load_be32(run.bytes.data() + run.used);
  if (const Status filled = fill(kSizeWord + size); !filled) return filled.error();
  run.body = std::string_view(run.bytes).substr(run.used + kSizeWord, size);
  run.used += kSizeWord + size;
  const auto row = decode_data_row(run.body);
  if (!row) return row.error();
  if (const Status read = order_.read(*row, run.values.data()); !read) return read.error();
  return true;
}

}  // namespace pgshunt
