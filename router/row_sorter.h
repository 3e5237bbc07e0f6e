// Sorts rows, as many as come: the first few by a heap if no more are wanted, else in memory, and
// where that does not do, in runs that are kept in a file and merged again.
//
//   sorter.add(body) ...            DataRow bodies, copied
//   sorter.finish()
//   while (*sorter.next(body)) ...  in order; ties in any
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "router/row_order.h"
#include "router/spill_file.h"

namespace pgshunt {

struct SortSpace {
  std::size_t memory = 16 << 20;  // bytes, about
  std::string directory;          // of files; empty: TMPDIR
};

class RowSorter {
 public:
  static constexpr std::size_t kAll = static_cast<std::size_t>(-1);

  // `wanted`: no more than so many rows, the first ones, will be asked for.
  RowSorter(RowOrder order, std::size_t wanted, SortSpace space)
      : order_(std::move(order)), wanted_(wanted), space_(std::move(space)) {}

  Status add(std::string_view body);
  Status finish();
  // False: there are no more. `body` is good until the next call.
  Result<bool> next(std::string_view& body);

  std::size_t runs() const { return runs_.size(); }

 private:
  // In one place, since its values look at its body.
  struct Row {
    std::string body;
    RowOrder::Values values;
  };
  using RowPtr = std::unique_ptr<Row>;
  // Of the file, each row behind its size.
  struct Run {
    std::uint64_t at = 0;  // what has not been read into `bytes`
    std::uint64_t end = 0;
    std::string bytes;
    std::size_t used = 0;
    std::string_view body;  // its first row
    RowOrder::Values values;
  };

  Result<RowPtr> make(std::string_view body) const;
  std::size_t size_of(const Row& row) const;
  Status spill();
  Result<bool> read_row(Run& run) const;

  RowOrder order_;
  std::size_t wanted_;
  SortSpace space_;
  std::vector<RowPtr> rows_;  // if as many as are wanted: a heap, the last one at the front
  std::size_t memory_ = 0;    // of rows_
  std::size_t at_ = 0;        // in rows_, once they are sorted
  SpillFile file_;
  std::vector<Run> runs_;
  std::vector<std::size_t> heap_;  // of runs_, that of the first row at the front
  bool taken_ = false;             // the row at the front of heap_ was given away
};

}  // namespace pgshunt
