"""Loads the demo's rows through the proxy, as an application would: SQL over several connections.

Each user comes with three statements: the user, all posts, all comments. Every statement's rows
have the one user's id as their key, so each goes to one shard."""

import datetime
import multiprocessing
import random
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import psycopg2.extras

from harness.postgres import BIN

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


def _load_users(dsn, first, step, users, done, rows):
    """One worker: users first, first + step, ..., each with all that hangs on it."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    written = 0
    with connection.cursor() as cursor:
        for user in range(first, users + 1, step):
            row, posts, comments = user_rows(user, users)
            for table, columns, values in (
                    ("users", "id, name, country, created_at", [row]),
                    ("posts", "user_id, id, body, created_at", posts),
                    ("comments", "user_id, id, post_id, author_id, body, created_at", comments)):
                if values:
                    psycopg2.extras.execute_values(
                        cursor, f"INSERT INTO {table} ({columns}) VALUES %s", values, page_size=1000)
                    written += len(values)
            with done.get_lock():
                done.value += 1
    with rows.get_lock():
        rows.value += written
    connection.close()


def load_social(dsn, users):
    """Countries, then users with their posts and comments. Returns the number of rows."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, "INSERT INTO countries (code, name) VALUES %s",
                                       list(COUNTRIES.items()))
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


def load_pgbench(dsn, folder, accounts=100_000, clients=8):
    """pgbench's tables at scale 1. It loads itself only by COPY and generate_series into one
    server, so here a pgbench script inserts the accounts row by row, routed one by one."""
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO pgbench_branches (bid, bbalance) VALUES (1, 0)")
        psycopg2.extras.execute_values(
            cursor, "INSERT INTO pgbench_tellers (tid, bid, tbalance) VALUES %s",
            [(teller, 1, 0) for teller in range(1, 11)])
    connection.close()

    # A client's variables last over its transactions: each counts through every eighth account.
    script = Path(folder) / "accounts.sql"
    script.write_text(f"\\set n :n + 1\n\\set aid :n * {clients} + :client_id + 1\n"
                      "INSERT INTO pgbench_accounts (aid, bid, abalance, filler) "
                      "VALUES (:aid, 1, 0, '');\n")
    progress = Progress("pgbench", accounts)
    loader = subprocess.Popen(
        [BIN / "pgbench", "--no-vacuum", "--protocol=prepared", "-D", "n=-1", "-c", str(clients),
         "-j", "1", "-t", str(accounts // clients), "-P", "1", "-f", script, dsn],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    written, complaints = 0.0, []
    for line in loader.stderr:  # progress: 1.0 s, 20123.4 tps, lat ...
        if line.startswith("progress:"):
            written += float(line.split(",")[1].split()[0])
            progress.update(written)
        else:
            complaints.append(line)
    if loader.wait() != 0:
        raise RuntimeError(f"loading the pgbench tables failed: {''.join(complaints)}")
    progress.finish(f"{accounts:,} accounts")
