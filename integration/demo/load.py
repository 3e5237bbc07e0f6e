"""Loads the demo's rows through the proxy by COPY, over several connections.

The proxy spreads the rows of each COPY over the shards. Each chunk of users is one transaction on all
of them: the users, their posts, the comments on these."""

import csv
import datetime
import io
import multiprocessing
import random
import sys
import time

import psycopg2

from harness import wait_until

COUNTRIES = {
    "AR": "Argentina", "AU": "Australia", "BR": "Brazil", "CA": "Canada", "CH": "Switzerland",
    "CL": "Chile", "DE": "Germany", "EG": "Egypt", "ES": "Spain", "FR": "France", "GB": "Britain",
    "IN": "India", "IT": "Italy", "JP": "Japan", "KE": "Kenya", "MX": "Mexico", "NG": "Nigeria",
    "PL": "Poland", "US": "United States", "ZA": "South Africa",
}
FIRST = "Ada Ben Chen Dina Emil Fatou Goran Hana Ivo Jana Kofi Lena Mei Nils Omar Pia Raj Sara Tom Uma"
LAST = "Abe Berg Costa Diaz Eze Fox Garcia Haas Ito Jones Khan Lopez Maier Novak Okoye Park Rossi"
WORDS = ("the a my our this every morning coffee train garden city river music book film recipe game "
         "finally again never quietly slowly suddenly found lost made tried loved missed watched "
         "wrote read cooked walked with without about after before near old new small great").split()
BEGIN = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
SPAN = 2 * 365 * 86400
CONNECTIONS = 4
CHUNK = 250  # users


class Progress:
    """A bar on a terminal, a line each tenth elsewhere."""

    def __init__(self, label, total):
        self._label, self._total, self._shown = label, total, -1
        self._started = time.monotonic()
        self.update(0)

    def update(self, done):
        part = min(1.0, done / self._total)
        if sys.stdout.isatty():
            bar = ("#" * int(part * 30)).ljust(30, ".")
            print(f"\r  {self._label} [{bar}] {part:4.0%}", end="", flush=True)
        elif int(part * 10) > self._shown:
            self._shown = int(part * 10)
            print(f"  {self._label} {part:4.0%}", flush=True)

    def finish(self, what):
        self.update(self._total)
        print(f"{'' if not sys.stdout.isatty() else chr(13) + ' ' * 60 + chr(13)}"
              f"  {self._label}: {what} in {time.monotonic() - self._started:.1f} s", flush=True)


def user_rows(user, users):
    """(user, posts, comments) of one user: the same each time, whoever loads it."""
    chance = random.Random(user)
    joined = chance.randrange(SPAN // 2)

    def moment(earliest):
        return BEGIN + datetime.timedelta(seconds=chance.randrange(earliest, SPAN))

    def sentence(length):
        return " ".join(chance.choice(WORDS) for _ in range(length)).capitalize() + "."

    name = f"{chance.choice(FIRST.split())} {chance.choice(LAST.split())}"
    row = (user, name, chance.choice(list(COUNTRIES)), BEGIN + datetime.timedelta(seconds=joined))
    # Few write much: the mean is five posts, the tail is long.
    posts = [(user, user * 1000 + n, sentence(chance.randint(5, 15)), moment(joined))
             for n in range(min(100, int(chance.expovariate(1 / 5.0))))]
    comments = [(user, user * 1000 + n, chance.choice(posts)[1], chance.randint(1, users),
                 sentence(chance.randint(3, 10)), moment(joined))
                for n in range(min(200, chance.randint(0, 4 * len(posts))))]
    return row, posts, comments


def copy_rows(cursor, table, columns, rows):
    """All of them by one COPY."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    text.seek(0)
    cursor.copy_expert(f"COPY {table} ({columns}) FROM STDIN (FORMAT csv)", text)


def connect(dsn, table):
    """A connection by which `table` can be copied into: pgshunt reads its columns' types shortly after
    the start."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True

    def known():
        with connection.cursor() as cursor:
            try:
                cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO())
                return True
            except psycopg2.errors.FeatureNotSupported:
                return False
    wait_until(known)
    return connection


def _load_users(dsn, first, step, users, done, rows):
    """One worker: users first, first + step, ..., each with all that hangs on it."""
    connection = psycopg2.connect(dsn)
    written = 0
    mine = range(first, users + 1, step)
    for start in range(0, len(mine), CHUNK):
        chunk = mine[start:start + CHUNK]
        made = [user_rows(user, users) for user in chunk]
        tables = (("users", "id, name, country, created_at", [user for user, _, _ in made]),
                  ("posts", "user_id, id, body, created_at", [row for _, posts, _ in made for row in posts]),
                  ("comments", "user_id, id, post_id, author_id, body, created_at",
                   [row for _, _, comments in made for row in comments]))
        with connection, connection.cursor() as cursor:
            for table, columns, values in tables:
                copy_rows(cursor, table, columns, values)
                written += len(values)
        with done.get_lock():
            done.value += len(chunk)
    with rows.get_lock():
        rows.value += written
    connection.close()


def load_social(dsn, users):
    """Countries, then users with their posts and comments. Returns the number of rows."""
    connection = connect(dsn, "users")
    with connection.cursor() as cursor:
        copy_rows(cursor, "countries", "code, name", COUNTRIES.items())
    connection.close()

    done, rows = multiprocessing.Value("q", 0), multiprocessing.Value("q", 0)
    workers = [multiprocessing.Process(target=_load_users, daemon=True,
                                       args=(dsn, 1 + n, CONNECTIONS, users, done, rows))
               for n in range(CONNECTIONS)]
    progress = Progress("social", users)
    for worker in workers:
        worker.start()
    for worker in workers:
        while worker.is_alive():
            worker.join(0.2)
            progress.update(done.value)
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("loading the social tables failed")
    progress.finish(f"{rows.value:,} rows of {users:,} users")
    return rows.value


def load_pgbench(dsn, accounts=100_000):
    """pgbench's tables at scale 1. What pgbench itself does to load them (TRUNCATE, generate_series)
    is for one server."""
    connection = connect(dsn, "pgbench_accounts")
    progress = Progress("pgbench", accounts)
    with connection.cursor() as cursor:
        copy_rows(cursor, "pgbench_branches", "bid, bbalance", [(1, 0)])
        copy_rows(cursor, "pgbench_tellers", "tid, bid, tbalance",
                  [(teller, 1, 0) for teller in range(1, 11)])
        for start in range(1, accounts + 1, 10_000):
            copy_rows(cursor, "pgbench_accounts", "aid, bid, abalance, filler",
                      [(account, 1, 0, "") for account in range(start, min(start + 10_000, accounts + 1))])
            progress.update(start + 9_999)
    connection.close()
    progress.finish(f"{accounts:,} accounts")
