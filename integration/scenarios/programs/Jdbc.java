// What a Java application does, with PostgreSQL's JDBC driver. Arguments: URL, user, password, first of
// a thousand free keys. Prints "ok NAME" for each part that worked.
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Properties;
import java.util.UUID;

public class Jdbc {
  static final String UNICODE = "Grüße, 世界 \uD83D\uDC18 it's \"quoted\" \\ $1 ?";
  static String url, user, password;
  static long key;

  static Connection connect(String... more) throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("user", user);
    properties.setProperty("password", password);
    properties.setProperty("prepareThreshold", "1");
    for (int i = 0; i < more.length; i += 2) properties.setProperty(more[i], more[i + 1]);
    return DriverManager.getConnection(url, properties);
  }

  static void same(Object expected, Object found) {
    if (!Objects.deepEquals(expected, found)) {
      throw new AssertionError("expected " + expected + ", found " + found);
    }
  }

  interface Action {
    void run() throws SQLException;
  }

  static SQLException fails(String state, Action action) {
    try {
      action.run();
    } catch (SQLException e) {
      if (!state.equals(e.getSQLState())) {
        throw new AssertionError("expected " + state + ", found " + e.getSQLState(), e);
      }
      return e;
    }
    throw new AssertionError("no error " + state);
  }

  static List<Object> column(Connection c, String sql, Object... values) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(sql)) {
      for (int i = 0; i < values.length; ++i) s.setObject(i + 1, values[i]);
      List<Object> out = new ArrayList<>();
      try (ResultSet rows = s.executeQuery()) {
        while (rows.next()) out.add(rows.getObject(1));
      }
      return out;
    }
  }

  static int update(Connection c, String sql, Object... values) throws SQLException {
    try (PreparedStatement s = c.prepareStatement(sql)) {
      for (int i = 0; i < values.length; ++i) s.setObject(i + 1, values[i]);
      return s.executeUpdate();
    }
  }

  static void types(Connection c, String label) throws SQLException {
    boolean simple = label.equals("simple");  // in which the driver cannot send bytes
    long id = key++;
    Array words = c.createArrayOf("text", new String[] {"", null, "x y"});
    OffsetDateTime noted = OffsetDateTime.of(2038, 1, 19, 3, 14, 7, 1000, ZoneOffset.UTC);
    UUID tag = UUID.fromString("6ba7b810-9dad-11d1-80b4-00c04fd430c8");
    BigDecimal amount = new BigDecimal("-12345678901234567890.0123456789");
    LocalDateTime seen = LocalDateTime.of(1999, 12, 31, 23, 59, 59, 999999000);
    byte[] data = new byte[256];
    for (int i = 0; i < 256; ++i) data[i] = (byte) i;
    try (PreparedStatement s = c.prepareStatement(
             "INSERT INTO things (id, small, medium, amount, ratio, rough, label, short, data, active, "
             + "born, seen, noted, tag, doc, words) "
             + "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?::jsonb, ?)")) {
      s.setLong(1, id);
      s.setShort(2, Short.MIN_VALUE);
      s.setInt(3, Integer.MAX_VALUE);
      s.setBigDecimal(4, amount);
      s.setDouble(5, 0.1 + 0.2);
      s.setFloat(6, -1.5f);
      s.setString(7, UNICODE);
      s.setString(8, "short");
      if (simple) s.setNull(9, Types.BINARY); else s.setBytes(9, data);
      s.setBoolean(10, true);
      s.setObject(11, LocalDate.of(2024, 2, 29));
      s.setObject(12, seen);
      s.setObject(13, noted);
      s.setObject(14, tag);
      s.setString(15, "{\"a\": [1, null]}");
      s.setArray(16, words);
      same(1, s.executeUpdate());
      s.setLong(1, key++);
      for (int i = 2; i <= 16; ++i) s.setNull(i, Types.NULL);
      same(1, s.executeUpdate());
    }
    // By the key, and from all shards; each often enough to be prepared and to be sent in binary.
    for (String where : new String[] {"id = ?", "id >= ? AND id <= ?"}) {
      try (PreparedStatement s = c.prepareStatement("SELECT * FROM things WHERE " + where)) {
        for (int turn = 0; turn < 7; ++turn) {
          s.setLong(1, id);
          if (where.length() > 6) s.setLong(2, id);
          try (ResultSet r = s.executeQuery()) {
            same(true, r.next());
            same(id, r.getLong("id"));
            same(Short.MIN_VALUE, r.getShort("small"));
            same(Integer.MAX_VALUE, r.getInt("medium"));
            same(amount, r.getBigDecimal("amount"));
            same(0.1 + 0.2, r.getDouble("ratio"));
            same(-1.5f, r.getFloat("rough"));
            same(UNICODE, r.getString("label"));
            same("short", r.getString("short"));
            same(simple ? null : data, r.getBytes("data"));
            same(true, r.getBoolean("active"));
            same(LocalDate.of(2024, 2, 29), r.getObject("born", LocalDate.class));
            same(seen, r.getObject("seen", LocalDateTime.class));
            same(noted, r.getObject("noted", OffsetDateTime.class));
            same(tag, r.getObject("tag", UUID.class));
            same("{\"a\": [1, null]}", r.getString("doc"));
            same(new String[] {"", null, "x y"}, r.getArray("words").getArray());
            same(false, r.next());
          }
          s.setLong(1, id + 1);
          if (where.length() > 6) s.setLong(2, id + 1);
          try (ResultSet r = s.executeQuery()) {
            same(true, r.next());
            for (int i = 2; i <= r.getMetaData().getColumnCount(); ++i) same(null, r.getObject(i));
          }
        }
      }
    }
    System.out.println("ok types " + label);
  }

  static void transactions(Connection c, Connection other) throws SQLException {
    long id = key++;
    String find = "SELECT label FROM things WHERE id = ?";
    c.setAutoCommit(false);
    same(1, update(c, "INSERT INTO things (id, label) VALUES (?, ?)", id, "first"));
    same(List.of(), column(other, find, id));
    c.rollback();
    same(List.of(), column(c, find, id));
    update(c, "INSERT INTO things (id, label) VALUES (?, ?)", id, "second");
    c.commit();
    same(List.of("second"), column(other, find, id));
    // An error, and only the rollback is listened to.
    update(c, "UPDATE things SET label = 'third' WHERE id = ?", id);
    fails("23505", () -> update(c, "INSERT INTO things (id) VALUES (?)", id));
    fails("25P02", () -> column(c, find, id));
    c.rollback();
    same(List.of("second"), column(c, find, id));
    Savepoint here = c.setSavepoint();
    fails("22P02", () -> update(c, "UPDATE things SET medium = 'x'::text::int WHERE id = ?", id));
    c.rollback(here);
    same(1, update(c, "UPDATE things SET medium = 4 WHERE id = ?", id));
    c.commit();
    c.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    same(List.of("serializable"), column(c, "SHOW transaction_isolation"));
    c.commit();
    c.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    c.setReadOnly(true);
    fails("25006", () -> update(c, "UPDATE things SET medium = 5 WHERE id = ?", id));
    c.rollback();
    c.setReadOnly(false);
    c.setAutoCommit(true);
    same(List.of(4), column(other, "SELECT medium FROM things WHERE id = ?", id));
    System.out.println("ok transactions");
  }

  static void batches(Connection c, String label) throws SQLException {
    long first = key;
    key += 100;
    for (boolean automatic : new boolean[] {false, true}) {
      c.setAutoCommit(automatic);
      try (PreparedStatement s =
               c.prepareStatement("INSERT INTO things (id, medium) VALUES (?, ?)")) {
        for (int i = 0; i < 50; ++i) {
          s.setLong(1, first + i);
          s.setInt(2, i);
          s.addBatch();
        }
        int[] ones = new int[50];
        Arrays.fill(ones, 1);
        same(ones, s.executeBatch());
      }
      if (!automatic) c.commit();
      String find = "SELECT medium FROM things WHERE id >= ? AND id < ? ORDER BY id";
      List<Object> found = column(c, find, first, first + 50);
      same(50, found.size());
      for (int i = 0; i < 50; ++i) same(i, found.get(i));
      // One that fails takes its transaction with it.
      try (PreparedStatement s = c.prepareStatement("UPDATE things SET medium = 1 / ? WHERE id = ?")) {
        for (int i = 5; i >= 0; --i) {
          s.setInt(1, i);
          s.setLong(2, first);
          s.addBatch();
        }
        SQLException e = fails("22012", s::executeBatch);
        same(true, e instanceof BatchUpdateException);
      }
      if (!automatic) c.rollback();
      // By simple queries each is a transaction of its own.
      int left = automatic && label.equals("simple") ? 1 : 0;
      same(List.of(left), column(c, "SELECT medium FROM things WHERE id = ?", first));
      try (Statement s = c.createStatement()) {
        for (int i = 0; i < 50; ++i) s.addBatch("DELETE FROM things WHERE id = " + (first + i));
        int[] ones = new int[50];
        Arrays.fill(ones, 1);
        same(ones, s.executeBatch());
      }
      if (!automatic) c.commit();
      same(List.of(), column(c, find, first, first + 50));
      if (!automatic) c.commit();
    }
    System.out.println("ok batches " + label);
  }

  static void keys(Connection c) throws SQLException {
    long id = key++;
    try (PreparedStatement s = c.prepareStatement("INSERT INTO things (id, label) VALUES (?, 'x')",
             Statement.RETURN_GENERATED_KEYS)) {
      s.setLong(1, id);
      same(1, s.executeUpdate());
      try (ResultSet r = s.getGeneratedKeys()) {
        same(true, r.next());
        same(id, r.getLong("id"));
      }
    }
    try (PreparedStatement s = c.prepareStatement(
             "UPDATE things SET label = ? WHERE id = ?", new String[] {"label"})) {
      s.setString(1, "y");
      s.setLong(2, id);
      same(1, s.executeUpdate());
      try (ResultSet r = s.getGeneratedKeys()) {
        same(true, r.next());
        same("y", r.getString(1));
      }
    }
    System.out.println("ok generated keys");
  }

  // In portions of 7, in a transaction: a portal that is used by one batch after another.
  static void portions(Connection c) throws SQLException {
    long id = key++;
    c.setAutoCommit(false);
    update(c, "INSERT INTO things (id, numbers) SELECT ?, array_agg(n) FROM generate_series(1, 100) n",
           id);
    // Of one key, so it is on one shard.
    try (PreparedStatement s = c.prepareStatement("SELECT unnest(numbers) FROM things WHERE id = ?");
         PreparedStatement item = c.prepareStatement("SELECT label FROM items WHERE id = ?")) {
      s.setFetchSize(7);
      s.setLong(1, id);
      for (int turn = 0; turn < 3; ++turn) {
        try (ResultSet r = s.executeQuery()) {
          for (int n = 1; n <= 100; ++n) {
            same(true, r.next());
            same(n, r.getInt(1));
            item.setLong(1, n);
            try (ResultSet other = item.executeQuery()) {
              same(true, other.next());
              same("item " + n, other.getString(1));
            }
            if (turn == 1 && n == 20) break;
          }
          if (turn != 1) same(false, r.next());
        }
      }
    }
    c.commit();
    // Of all rows, and a column that needs all of them; two in turn, and one that is left in the midst.
    for (String sql : List.of("SELECT id FROM items ORDER BY id", "SELECT id, count(*) OVER () FROM items ORDER BY id")) {
      try (PreparedStatement s = c.prepareStatement(sql); PreparedStatement t = c.prepareStatement(sql + " DESC")) {
        s.setFetchSize(7);
        t.setFetchSize(30);
        try (ResultSet r = s.executeQuery(); ResultSet back = t.executeQuery()) {
          for (int n = 1; n <= 1000; ++n) {
            same(true, r.next());
            same((long) n, r.getLong(1));
            if (n <= 100) {
              same(true, back.next());
              same(1001L - n, back.getLong(1));
            }
          }
          same(false, r.next());
        }
      }
    }
    // The first rows of all.
    try (PreparedStatement s = c.prepareStatement("SELECT id FROM items ORDER BY id OFFSET 10")) {
      s.setMaxRows(5);
      try (ResultSet r = s.executeQuery()) {
        for (int n = 11; n <= 15; ++n) {
          same(true, r.next());
          same((long) n, r.getLong(1));
        }
        same(false, r.next());
      }
    }
    c.rollback();
    c.setAutoCommit(true);
    System.out.println("ok portions");
  }

  // A savepoint of the driver's before each statement: an error costs that statement only.
  static void autosave(Connection c) throws SQLException {
    long id = key++;
    c.setAutoCommit(false);
    for (int turn = 0; turn < 3; ++turn) {
      update(c, "INSERT INTO things (id, medium) VALUES (?, 0)", id);
      fails("23505", () -> update(c, "INSERT INTO things (id, medium) VALUES (?, 0)", id));
      for (int other = 1; other <= 5; ++other) {
        same(List.of("item " + other), column(c, "SELECT label FROM items WHERE id = ?", other));
        fails("22012", () -> column(c, "SELECT 1 / (id - id) FROM items WHERE id = ?", 7));
      }
      same(1, update(c, "UPDATE things SET medium = medium + 1 WHERE id = ?", id));
      if (turn < 2) c.rollback();
    }
    c.commit();
    same(List.of(1), column(c, "SELECT medium FROM things WHERE id = ?", id));
    c.commit();
    System.out.println("ok autosave");
  }

  // Batches that the driver turns into INSERTs of many rows.
  static void rewritten(Connection c) throws SQLException {
    long first = key;
    key += 10;
    try (PreparedStatement s = c.prepareStatement("INSERT INTO things (id, medium) VALUES (?, ?)")) {
      for (int i = 0; i < 10; ++i) {
        s.setLong(1, first + i);
        s.setInt(2, i);
        s.addBatch();
      }
      s.executeBatch();
    }
    same(10L, (long) column(c, "SELECT id FROM things WHERE id >= ? AND id < ?", first,
        first + 10).size());
    System.out.println("ok rewritten");
  }

  static void metadata(Connection c) throws SQLException {
    List<String> names = new ArrayList<>();
    try (ResultSet r = c.getMetaData().getTables(null, "public", "%", new String[] {"TABLE"})) {
      while (r.next()) names.add(r.getString("TABLE_NAME"));
    }
    same(true, names.containsAll(List.of("users", "posts", "comments", "countries", "things")));
    names.clear();
    try (ResultSet r = c.getMetaData().getPrimaryKeys(null, "public", "posts")) {
      while (r.next()) names.add(r.getString("COLUMN_NAME"));
    }
    same(List.of("id", "user_id"), names.stream().sorted().toList());
    same("id", c.prepareStatement("SELECT * FROM items WHERE id = ?").getMetaData().getColumnName(1));
    System.out.println("ok metadata");
  }

  public static void main(String[] arguments) throws SQLException {
    url = arguments[0];
    user = arguments[1];
    password = arguments[2];
    key = Long.parseLong(arguments[3]);
    try (Connection c = connect(); Connection other = connect()) {
      types(c, "extended");
      transactions(c, other);
      batches(c, "extended");
      keys(c);
      portions(c);
      metadata(c);
    }
    try (Connection simple = connect("preferQueryMode", "simple")) {
      types(simple, "simple");
      batches(simple, "simple");
    }
    // Everything prepared at once and kept in binary from the start.
    try (Connection binary = connect("prepareThreshold", "-1")) {
      types(binary, "binary");
    }
    try (Connection c = connect("autosave", "always")) {
      autosave(c);
    }
    try (Connection c = connect("reWriteBatchedInserts", "true")) {
      rewritten(c);
    }
    for (int i = 0; i < 10; ++i) {
      try (Connection again = connect()) {
        same(List.of(5L), column(again, "SELECT id FROM items WHERE id = ?", 5));
      }
    }
    System.out.println("ok again and again");
  }
}
