"""psql, as people and scripts use it, before a plain and a sharded database: backslash commands,
\\copy, scripts, variables."""

import itertools
import re
import subprocess

import pytest

from applications import PLAIN_DATABASE
from harness.postgres import BIN

_keys = itertools.count(2_000_000, 1_000)


@pytest.fixture
def key():
    return next(_keys)


@pytest.fixture
def psql(applications, database, tmp_path):
    """psql(script) or psql("-c", ...): what it prints. `status` is what it must end with."""

    def run(*arguments, script=None, status=0, options=("-At",)):
        if len(arguments) == 1 and not arguments[0].startswith("-"):
            script, arguments = arguments[0], ()
        done = subprocess.run([BIN / "psql", "-X", "-q", *options, *arguments], input=script, text=True,
                              capture_output=True, cwd=tmp_path, timeout=60,
                              env={**applications.environment(database), "PATH": "/usr/bin:/bin",
                                   "LC_ALL": "C.UTF-8"})
        assert done.returncode == status, done.stdout + done.stderr
        run.errors = done.stderr
        return done.stdout

    return run


def lines(text):
    return text.splitlines()


# --- looking around ------------------------------------------------------------------------------


@pytest.mark.smoke
def test_connection_information(psql, database):
    assert f'to database "{database}" as user "apps"' in psql("\\conninfo")
    assert "TLSv1.3" in psql("\\conninfo")


def test_listing_of_relations(psql, applications):
    names = {line.split("|")[1] for line in lines(psql("\\d"))}
    assert names == {"users", "posts", "comments", "countries", "things", "items"}
    assert {line.split("|")[1] for line in lines(psql("\\dt"))} == names
    assert [line.split("|")[1] for line in lines(psql("\\dt post*"))] == ["posts"]
    assert {line.split("|")[1] for line in lines(psql("\\di"))} >= {"users_pkey", "posts_pkey"}
    assert "public|" in psql("\\dn")
    assert "apps|" in psql("\\du apps")


def test_listing_of_databases(psql):
    assert {"postgres", "template1"} <= {line.split("|")[0] for line in lines(psql("\\l"))}


def test_description_of_a_table(psql):
    described = psql("\\d posts", options=())
    described = "\n".join("|".join(word.strip() for word in line.split("|"))
                          for line in lines(described))
    assert "user_id|bigint||not null|" in described
    assert '"posts_pkey" PRIMARY KEY, btree (user_id, id)' in described
    assert 'FOREIGN KEY (user_id) REFERENCES users(id)' in described
    assert "|extended|" in psql("\\d+ things")
    for command in ("\\df", "\\dv", "\\ds", "\\dx", "\\dp users", "\\dT", "\\sf length(text)"):
        psql(command, options=("-At", "-v", "ON_ERROR_STOP=1"))
    assert psql("\\d nothing\nSELECT 1;\n") == "1\n"


# --- statements ----------------------------------------------------------------------------------


def test_many_ways_to_send_a_statement(psql, key):
    assert psql("-c", "SELECT label FROM items WHERE id = 7") == "item 7\n"
    assert psql("-c", "SELECT 1", "-c", "SELECT label FROM items WHERE id = 8") == "1\nitem 8\n"
    script = (f"INSERT INTO things (id, label) VALUES ({key}, 'a');\n"
              f"INSERT INTO things (id, label) VALUES ({key + 1}, 'b');\n"
              f"SELECT label FROM things WHERE id IN ({key}, {key + 1}) ORDER BY id;\n")
    assert psql(script) == "a\nb\n"
    assert lines(psql("-c", "SELECT id FROM items ORDER BY id LIMIT 3 OFFSET 500")) == [
        "501", "502", "503"]
    # An aligned table, and one record per line.
    assert "  1 | item 1 |   0.25\n" in psql("SELECT * FROM items WHERE id = 1", options=())
    assert "label  | item 1\n" in psql("SELECT * FROM items WHERE id = 1 \\gx", options=())


def test_many_statements_in_one_message(psql, key):
    """-c sends its text as it is: one message, one transaction."""
    of_one_key = (f"INSERT INTO things (id, label) VALUES ({key}, 'x'); "
                  f"UPDATE things SET label = label || 'y' WHERE id = {key}; "
                  f"SELECT label FROM things WHERE id = {key}; "
                  f"SELECT medium FROM things WHERE id = {key}")
    assert psql("-c", of_one_key) == "xy\n\n"
    failing = f"UPDATE things SET label = 'lost' WHERE id = {key}; SELECT 1/0"
    psql("-c", failing, status=1)
    assert "division by zero" in psql.errors
    assert psql("-c", f"SELECT label FROM things WHERE id = {key}") == "xy\n"
    of_many = "SELECT label FROM items WHERE id = 1; SELECT id FROM items ORDER BY id LIMIT 2"
    assert psql("-c", of_many) == "item 1\n1\n2\n"


def test_variables(psql, key):
    script = f"""\\set key {key}
\\set label 'it''s "so"'
INSERT INTO things (id, label, medium) VALUES (:key, :'label', 6);
SELECT medium AS found, label AS :"label" FROM things WHERE id = :key \\gset mine_
\\echo :mine_found
SELECT :mine_found * 7;
SELECT id FROM items WHERE id = :mine_found \\g
\\if :{{?mine_found}}
\\echo yes
\\endif
"""
    assert psql(script) == "6\n42\n6\nyes\n"
    assert psql("-v", f"key={key}", "-f", "-", script="SELECT label FROM things WHERE id = :key;"
                ) == "it's \"so\"\n"


def test_generated_statements(psql):
    assert psql("SELECT format('SELECT label FROM items WHERE id = %s', n) "
                "FROM generate_series(3, 5) n \\gexec\n") == "item 3\nitem 4\nitem 5\n"


def test_description_without_execution(psql):
    """\\gdesc prepares the unnamed statement and describes it."""
    assert psql("SELECT id, label AS name, amount FROM items ORDER BY amount \\gdesc\n") == (
        "id|bigint\nname|text\namount|numeric(12,2)\n")
    assert psql("SELECT count(*) FROM countries WHERE code = $1 \\gdesc\n") == "count|bigint\n"


def test_a_crosstab(psql):
    assert lines(psql("SELECT id / 10 AS row, id % 10 AS col, label FROM items WHERE id IN (11, 12, 21) "
                      "ORDER BY id \\crosstabview\n")) == ["1|item 11|item 12", "2|item 21|"]


def test_sql_prepare(psql):
    script = "PREPARE item (bigint) AS SELECT label FROM items WHERE id = $1;\nEXECUTE item(4);\n"
    assert psql(script + "EXECUTE item(5);\nDEALLOCATE item;\n") == "item 4\nitem 5\n"


# --- transactions --------------------------------------------------------------------------------


def test_a_script_stops_at_its_first_error(psql, key):
    script = (f"BEGIN;\nINSERT INTO things (id) VALUES ({key});\nSELECT 1/0;\n"
              f"INSERT INTO things (id) VALUES ({key + 1});\nCOMMIT;\n")
    psql(script, status=3, options=("-At", "-v", "ON_ERROR_STOP=1"))
    find = f"SELECT id FROM things WHERE id IN ({key}, {key + 1}) ORDER BY id"
    assert psql("-c", find) == ""
    # Without it, the rest is refused up to COMMIT, which rolls back.
    psql(script)
    assert psql.errors.count("current transaction is aborted") == 1
    assert psql("-c", find) == ""
    # Each statement by itself.
    psql(script.replace("BEGIN;\n", "").replace("COMMIT;\n", ""))
    assert psql("-c", find) == f"{key}\n{key + 1}\n"


def test_a_script_as_one_transaction(psql, key):
    find = f"SELECT medium FROM things WHERE id = {key}"
    insert = f"INSERT INTO things (id, medium) VALUES ({key}, 1);\n"
    psql("-1", "-v", "ON_ERROR_STOP=1", "-f", "-", script=insert + "SELECT nothing;\n", status=3)
    assert psql("-c", find) == ""
    psql("-1", "-f", "-", script=insert + f"UPDATE things SET medium = 2 WHERE id = {key};\n")
    assert psql("-c", find) == "2\n"


def test_errors_may_be_rolled_back_one_by_one(psql, key):
    """ON_ERROR_ROLLBACK puts a savepoint before every statement."""
    script = (f"\\set ON_ERROR_ROLLBACK on\nBEGIN;\nINSERT INTO things (id) VALUES ({key});\n"
              f"SELECT 1/0;\nINSERT INTO things (id) VALUES ({key});\n"
              f"UPDATE things SET medium = 3 WHERE id = {key};\nCOMMIT;\n"
              f"SELECT medium FROM things WHERE id = {key};\n")
    assert psql(script) == "3\n"
    assert "division by zero" in psql.errors and "duplicate key" in psql.errors


def test_without_autocommit(psql, key):
    script = (f"\\set AUTOCOMMIT off\nINSERT INTO things (id) VALUES ({key});\nROLLBACK;\n"
              f"INSERT INTO things (id) VALUES ({key + 1});\nCOMMIT;\n"
              f"INSERT INTO things (id) VALUES ({key + 2});\n")
    psql(script)
    assert psql("-c", f"SELECT id FROM things WHERE id >= {key} AND id < {key + 3} ORDER BY id") == (
        f"{key + 1}\n")


def test_settings_last_for_the_script(psql):
    script = ("SET timezone = 'Asia/Tokyo';\nSELECT current_setting('timezone') FROM items "
              "WHERE id = 1;\nSELECT current_setting('timezone') FROM items WHERE id = 2;\n"
              "RESET timezone;\nSELECT current_setting('timezone') FROM items WHERE id = 2;\n")
    assert psql(script) == "Asia/Tokyo\nAsia/Tokyo\nUTC\n"
    assert psql("SHOW timezone") == "UTC\n"


# --- COPY ----------------------------------------------------------------------------------------


def test_copy_to_and_from_a_file(psql, key, tmp_path):
    rows = [f"{key + n}\trow {n}\\t\\\\ü\t{n if n % 3 else chr(92) + 'N'}\n" for n in range(1000)]
    (tmp_path / "in.txt").write_text("".join(rows))
    find = (f"SELECT id, label, medium FROM things WHERE id >= {key} AND id < {key + 1000} "
            "ORDER BY id")
    copy_in = "\\copy things (id, label, medium) from in.txt"
    copy_out = f"\\copy ({find}) to out.txt"
    psql("-c", copy_in)
    psql("-c", copy_out)
    assert (tmp_path / "out.txt").read_text() == "".join(rows)
    psql("-c", f"\\copy ({find}) to out.csv csv header")
    assert (tmp_path / "out.csv").read_text().startswith("id,label,medium\n")
    psql("-c", copy_out.replace(" ORDER BY id", ""))
    assert sorted((tmp_path / "out.txt").read_text().splitlines(True)) == sorted(rows)


def test_copy_of_a_reference_table(psql, tmp_path):
    psql("-c", "\\copy countries to out.csv csv header")
    assert sorted((tmp_path / "out.csv").read_text().splitlines()) == [
        "DE,Germany", "FR,France", "IT,Italy", "JP,日本", "code,name"]
    assert psql("COPY (SELECT name FROM countries WHERE code = 'DE') TO STDOUT;") == "Germany\n"


def test_a_copy_that_fails(psql, key, database, tmp_path):
    (tmp_path / "in.txt").write_text(f"{key}\n" * 2 + "x\n")
    psql("\\copy things (id) from in.txt\nSELECT 'on';\n")
    assert "duplicate key" in psql.errors or "invalid input syntax" in psql.errors
    assert psql(f"SELECT count(*) FROM things WHERE id = {key};\n") == "0\n"


# --- its siblings --------------------------------------------------------------------------------


def test_dump_and_restore(applications, database, tmp_path):
    """One client in one transaction, with locks, a snapshot and COPY; then its script again."""
    environment = {**applications.environment(database), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}

    def dump(options, environment):
        return subprocess.run([BIN / "pg_dump", *options], env=environment, capture_output=True,
                              text=True, timeout=60)

    options = ["--table=items", "--table=countries"]
    done = dump(options, environment)
    if database == "sharded":
        assert done.returncode == 1 and "would set it on one shard only" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    first = applications.servers[0]
    directly = dump(options, {**environment, "PGPORT": str(first.port), "PGDATABASE": PLAIN_DATABASE})

    def comparable(text):
        """Without the random key that guards the script."""
        return re.sub(r"^\\(un)?restrict .*", "", text, flags=re.M)
    assert comparable(done.stdout) == comparable(directly.stdout)
    assert done.stdout.count("\n") > 1000
    first.execute("CREATE SCHEMA IF NOT EXISTS again AUTHORIZATION apps", dbname=PLAIN_DATABASE)
    script = tmp_path / "again.sql"
    script.write_text(done.stdout.replace("public.", "again."))
    restored = subprocess.run([BIN / "psql", "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", script],
                              env=environment, capture_output=True, text=True, timeout=60)
    assert restored.returncode == 0, restored.stderr
    for table in ("items", "countries"):
        assert first.execute(f"TABLE again.{table} EXCEPT TABLE public.{table}", dbname=PLAIN_DATABASE) \
            == []
    assert first.execute("SELECT count(*) FROM again.items", dbname=PLAIN_DATABASE) == [(1000,)]
    first.execute("DROP SCHEMA again CASCADE", dbname=PLAIN_DATABASE)
