// A server's catalog through a test's own connection.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "protocol/backend.h"
#include "router/catalog.h"
#include "tests/support/pg_client.h"

namespace pgshunt {

inline ShardCatalog read_catalog(PgClient& client) {
  CatalogReader reader;
  for (const CatalogQuery& query : kCatalogQueries) {
    const PgResult answer = client.query(query.sql);
    EXPECT_TRUE(answer.ok()) << answer.error << " in " << query.sql;
    for (const std::string& body : answer.rows) {
      const auto values = decode_data_row(body);
      std::vector<std::string_view> row;
      for (const WireValue& value : *values) {
        EXPECT_FALSE(value.is_null) << query.sql;
        row.push_back(value.bytes);
      }
      EXPECT_TRUE((reader.*query.add)(row)) << query.sql;
    }
  }
  return reader.finish();
}

}  // namespace pgshunt
