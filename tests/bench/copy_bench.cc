// What reading a COPY FROM stream costs: finding the rows and their key, and spreading them over
// four shards. Prints gigabytes and millions of rows a second, the best of many short rounds.
// 8 KB chunks are psql's, 64 KB those of a socket read.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/copy_rows.h"
#include "protocol/frame.h"
#include "router/copy_plan.h"
#include "router/copy_split.h"
#include "router/planner.h"

namespace pgshunt {
namespace {

constexpr int kRounds = 40;
constexpr std::size_t kStreamSize = std::size_t{4} << 20;

using Clock = std::chrono::steady_clock;

struct Sample {
  std::string options;
  CopyOptions parsed;
  std::string stream;
  std::size_t rows = 0;
};

std::string payload(std::size_t row, std::size_t size) {
  std::string out;
  while (out.size() < size) out += "value" + std::to_string(row * 2654435761u % 100003) + " ";
  out.resize(size);
  return out;
}

Sample text_rows(std::size_t row_size) {
  Sample out;
  out.options = "(FORMAT text)";
  while (out.stream.size() < kStreamSize) {
    const std::string id = std::to_string(++out.rows * 7919);
    out.stream += id + "\t" + payload(out.rows, row_size - id.size() - 2) + "\n";
  }
  return out;
}

Sample csv_rows(std::size_t row_size) {
  Sample out;
  out.options = "(FORMAT csv)";
  out.parsed.format = CopyFormat::kCsv;
  out.parsed.delimiter = ',';
  out.parsed.null_text = "";
  while (out.stream.size() < kStreamSize) {
    const std::string id = std::to_string(++out.rows * 7919);
    out.stream += id + ",\"" + payload(out.rows, row_size - id.size() - 4) + "\"\n";
  }
  return out;
}

Sample binary_rows(std::size_t row_size) {
  Sample out;
  out.options = "(FORMAT binary)";
  out.parsed.format = CopyFormat::kBinary;
  out.stream.assign("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
  while (out.stream.size() < kStreamSize) {
    char bytes[14] = {0, 2, 0, 0, 0, 8};
    store_be64(bytes + 6, ++out.rows * 7919);
    out.stream.append(bytes, sizeof bytes);
    const std::string rest = payload(out.rows, row_size - 18);
    store_be32(bytes, static_cast<std::uint32_t>(rest.size()));
    out.stream.append(bytes, 4);
    out.stream += rest;
  }
  return out;
}

void read_rows(const Sample& sample, std::size_t chunk) {
  CopyRowReader reader(sample.parsed, 2, 0);
  CopyRow row;
  std::size_t keys = 0;
  for (std::size_t at = 0; at < sample.stream.size(); at += chunk) {
    reader.push(std::string_view(sample.stream).substr(at, chunk));
    while (reader.next(row) == CopyRead::kRow) keys += reader.key_field(row).raw.size();
  }
  asm volatile("" : : "r"(keys));
}

std::shared_ptr<const Topology> four_shards() {
  TopologyBuilder builder;
  for (const char* shard : {"s0", "s1", "s2", "s3"}) static_cast<void>(builder.add_shard(shard));
  static_cast<void>(builder.add_keyspace("k", ShardKeyType::kInt8));
  static_cast<void>(builder.add_sharded_table("public", "t", "k", "id"));
  Column id;
  id.name = "id";
  id.type_oid = type_oid::kInt8;
  Column body;
  body.name = "body";
  body.type_oid = type_oid::kText;
  builder.set_columns("public", "t", {id, body});
  return *builder.build(1);
}

void split_rows(const std::shared_ptr<const Topology>& topology,
                const std::shared_ptr<const CopyPlan>& plan, const Sample& sample,
                std::size_t chunk, std::vector<std::string>& outputs) {
  CopySplitter splitter(topology, plan, {});
  for (std::size_t at = 0; at < sample.stream.size(); at += chunk) {
    for (std::string& output : outputs) output.clear();
    if (!splitter.take(std::string_view(sample.stream).substr(at, chunk), outputs)) {
      std::printf("%s\n", splitter.failure().error.message.c_str());
      return;
    }
  }
}

template <class Work>
double best_seconds(Work work) {
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const Clock::time_point start = Clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return best;
}

void report(const char* name, const Sample& sample) {
  const auto topology = four_shards();
  const auto plan = plan_statement(*topology, {"COPY t FROM STDIN " + sample.options, {}, 0});
  if (!plan) {
    std::printf("%s\n", plan.error().message.c_str());
    return;
  }
  std::vector<std::string> outputs(4);
  for (const std::size_t chunk : {std::size_t{8} << 10, std::size_t{64} << 10}) {
    const double read = best_seconds([&] { read_rows(sample, chunk); });
    const double split =
        best_seconds([&] { split_rows(topology, plan->copy, sample, chunk, outputs); });
    const auto rate = [&](double seconds, double amount) { return amount / seconds / 1e9; };
    const auto bytes = static_cast<double>(sample.stream.size());
    const auto rows = static_cast<double>(sample.rows);
    std::printf("%-18s %5zu KB %9.2f %9.1f %9.2f %9.1f\n", name, chunk >> 10, rate(read, bytes),
                rate(read, rows) * 1000, rate(split, bytes), rate(split, rows) * 1000);
  }
}

}  // namespace
}  // namespace pgshunt

int main() {
  using namespace pgshunt;
  std::printf("%-18s %8s %9s %9s %9s %9s\n", "", "chunk", "read GB/s", "Mrows/s", "split",
              "Mrows/s");
  report("text, 100 bytes", text_rows(100));
  report("text, 30 bytes", text_rows(30));
  report("text, 1000 bytes", text_rows(1000));
  report("csv, 100 bytes", csv_rows(100));
  report("binary, 100 bytes", binary_rows(100));
  return 0;
}
