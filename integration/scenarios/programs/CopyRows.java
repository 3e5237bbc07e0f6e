// COPY as a Java application does it. Arguments: URL, user, password. Prints a word for each part that
// worked.
import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.SQLException;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;

public class CopyRows {
  static void same(Object expected, Object found) {
    if (!expected.equals(found)) {
      throw new AssertionError("expected " + expected + ", found " + found);
    }
  }

  public static void main(String[] arguments) throws Exception {
    try (Connection connection =
             DriverManager.getConnection(arguments[0], arguments[1], arguments[2])) {
      CopyManager copies = connection.unwrap(PGConnection.class).getCopyAPI();
      StringBuilder rows = new StringBuilder();
      for (int n = 0; n < 10000; ++n) rows.append(n).append(",name ").append(n).append('\n');
      same(10000L, copies.copyIn("COPY users (id, name) FROM STDIN (FORMAT csv)",
                                 new StringReader(rows.toString())));
      System.out.println("in");

      ByteArrayOutputStream out = new ByteArrayOutputStream();
      same(10000L, copies.copyOut("COPY users (id, name) TO STDOUT", out));
      same(10000L, out.toString(StandardCharsets.UTF_8.name()).lines().count());
      System.out.println("out");

      connection.setAutoCommit(false);
      CopyIn copy = copies.copyIn("COPY users (id, name) FROM STDIN");
      byte[] row = "20000\tx\n".getBytes(StandardCharsets.UTF_8);
      copy.writeToCopy(row, 0, row.length);
      copy.cancelCopy();
      connection.rollback();
      System.out.println("cancelled");

      try {
        copies.copyIn("COPY users (id, name) FROM STDIN", new StringReader("20000\tx\n1\tagain\n"));
        throw new AssertionError("no error");
      } catch (SQLException error) {
        same("23505", error.getSQLState());
      }
      connection.rollback();
      same(10000L, copies.copyOut("COPY users (id) TO STDOUT", new ByteArrayOutputStream()));
      connection.commit();
      System.out.println("failed");
    }
  }
}
