"""Everything at once: several workers, few servers, clients that work, wait, cancel, listen and leave
at any moment, servers that are ended. Each answer must belong to its question."""

import random
import threading
import time

import pytest

from harness import wait_until
from harness.config import plain
from harness.wire import (ServerClosed, Wire, cancel_request, errors, query, rows, run, sync)
from pooling import show

EXPECTED = {"57P01", "08006", "57014", "25P02"}


def one_client(proxy, seed, until, problems):
    chance = random.Random(seed)
    client, number = None, 0
    while time.monotonic() < until and not problems:
        try:
            client = client or Wire(proxy, "app", user="app", timeout=20)
            number += 1
            word = f"{seed}-{number}"
            action = chance.choice(["simple", "extended", "transaction", "temporary", "setting",
                                    "cancel", "leave", "leave", "listen"])
            answers = []
            if action == "simple":
                answers = client.ask(query(f"SELECT '{word}'"))
            elif action == "extended":
                answers = client.ask(run("SELECT $1::text", [word]), sync())
            elif action == "transaction":
                answers = client.ask(query("BEGIN"))
                answers += client.ask(query(f"SELECT '{word}'"))
                answers += client.ask(query("COMMIT"))
            elif action == "temporary":
                answers = client.ask(query("CREATE TEMP TABLE IF NOT EXISTS mine (word text)"))
                answers += client.ask(query(f"SELECT '{word}' FROM (SELECT count(*) FROM mine) AS n"))
                answers += client.ask(query("DROP TABLE mine"))
            elif action == "setting":
                answers = client.ask(query(f"SET application_name = '{word}'"))
                answers += client.ask(query("SELECT current_setting('application_name')"))
            elif action == "listen":
                answers = client.ask(query("LISTEN turmoil"))
                answers += client.ask(query(f"NOTIFY turmoil; SELECT '{word}'"))
                answers += client.ask(query("UNLISTEN turmoil"))
            elif action == "cancel":
                client.send(query(f"SELECT '{word}' FROM pg_sleep(0.005)"))
                with Wire(proxy) as messenger:
                    messenger.send_bytes(cancel_request(client.pid, client.key))
                answers = client.until_ready()
            else:
                client.send(query("BEGIN; SELECT repeat('x', 100000)"))
                leaving, client = client, None
                chance.choice([leaving.drop, leaving.reset, leaving.close])()
                continue
            if errors(answers):
                assert set(errors(answers)) <= EXPECTED | {"42P01"}, [str(a) for a in answers]
            else:
                assert rows(answers) == [[word]], (word, [str(a) for a in answers])
        except ServerClosed as closed:
            client = None
            if not set(errors(closed.answers)) <= EXPECTED:
                problems.append(str(closed))
        except Exception as problem:  # noqa: BLE001: told by the test, not by the thread
            problems.append(repr(problem))
    if client:
        client.close()


@pytest.mark.smoke
def test_every_answer_belongs_to_its_question(make_proxy, app_postgres):
    proxy = make_proxy(plain(app_postgres, size=3, workers=3))
    until, problems = time.monotonic() + 3, []
    threads = [threading.Thread(target=one_client, args=(proxy, seed, until, problems))
               for seed in range(12)]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        pids = [str(row["remote_pid"]) for row in show(proxy, "SERVERS")]
        if pids and int(pids[0]):
            app_postgres.execute(f"SELECT pg_terminate_backend({pids[0]})")
        threads[0].join(0.1)    # now and then, not all the time
    for thread in threads:
        thread.join()
    assert problems == []
    wait_until(lambda: show(proxy, "POOLS")[0]["sv_pinned"] == 0 and not show(proxy, "PINS"))
    with Wire(proxy, "app", user="app") as client:
        assert client.query("SELECT current_setting('application_name')") == [[""]]
    # Nobody holds a server any more; one may still listen for nobody.
    wait_until(lambda: not [row for row in show(proxy, "SERVERS") if row["link"]])
