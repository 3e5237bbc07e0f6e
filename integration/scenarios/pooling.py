"""What the scenarios of transaction mode share: clients that end with their test, and a way to say
on which of two servers the next transaction runs."""

from contextlib import contextmanager

from harness.config import plain
from harness.wire import Wire


def ones_and_twos(server, **general):
    config = plain(server, **general)
    where = {"host": server.host, "port": server.port, "dbname": "app"}
    config["databases"] = {"one": {**where, "pool_size": 1}, "two": {**where, "pool_size": 2}}
    return config


def show(proxy, topic):
    """The rows of a SHOW command of the admin console, as dicts."""
    connection = proxy.connect("pgshunt", "admin")
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW {topic}")
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]
    finally:
        connection.close()


class Clients:
    """Makes clients of one proxy and says goodbye for all of them."""

    def __init__(self, proxy):
        self.proxy = proxy
        self._made = []

    def __call__(self, database="one", user="app", **options):
        client = Wire(self.proxy, database, user=user, **options)
        self._made.append(client)
        return client

    def close(self):
        for client in self._made:
            client.close()


class TwoServers:
    """Holds both servers of a pool of two, and lends one at a time to the test."""

    def __init__(self, clients, database="two"):
        self._holders = [clients(database), clients(database)]
        self.pids = [self._hold(holder) for holder in self._holders]
        assert self.pids[0] != self.pids[1]

    @staticmethod
    def _hold(holder):
        holder.query("BEGIN")
        return holder.backend_pid()

    @contextmanager
    def only(self, number):
        """Only this server is free inside. What runs there must leave it free again."""
        self._holders[number].query("ROLLBACK")
        yield self.pids[number]
        assert self._hold(self._holders[number]) == self.pids[number]
