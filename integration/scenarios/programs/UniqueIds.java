// pgshunt.unique_id() as a Java application meets it. Arguments: URL, user, password. Prints the ids.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

public class UniqueIds {
  static void print(ResultSet rows) throws SQLException {
    while (rows.next()) System.out.println(rows.getLong(1));
  }

  public static void main(String[] arguments) throws Exception {
    try (Connection connection =
             DriverManager.getConnection(arguments[0], arguments[1], arguments[2])) {
      String[] inserts = {"INSERT INTO things (note, id) VALUES (?, pgshunt.unique_id())",
                          "INSERT INTO orders (note) VALUES (?)"};
      for (String insert : inserts) {
        // The driver prepares it by name from the fifth execution on, and asks for binary then.
        PreparedStatement statement =
            connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS);
        for (int n = 0; n < 20; ++n) {
          statement.setString(1, "jdbc");
          statement.executeUpdate();
          ResultSet keys = statement.getGeneratedKeys();
          while (keys.next()) System.out.println(keys.getLong("id"));
        }
        for (int n = 0; n < 30; ++n) {
          statement.setString(1, "batch");
          statement.addBatch();
        }
        statement.executeBatch();
        ResultSet keys = statement.getGeneratedKeys();
        while (keys.next()) System.out.println(keys.getLong("id"));
      }
      connection.setAutoCommit(false);
      try (Statement statement = connection.createStatement()) {
        print(statement.executeQuery("SELECT pgshunt.unique_id()"));
      }
      connection.rollback();
    }
  }
}
