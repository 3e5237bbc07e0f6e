"""Databases on several shards whose tables make their own keys: what the scenarios of ids and of sequences
begin with."""


def create(servers, dbname, user):
    """An empty database of that user's on each server; its password is its name."""
    for server in servers:
        if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,)):
            server.create_user(user, user)
        server.create_database(dbname, user)
        server.execute(f"GRANT CREATE ON SCHEMA public TO {user}", dbname=dbname)


def configuration(servers, database, user, keyspace, keys, *, dbname=None, buckets=None, **general):
    """`keys`: the key column of each sharded table; `kinds` is a reference table. `dbname`: on the servers, if it
    is called otherwise there. `buckets`: the first and the last of each server."""
    keyspace = {"name": keyspace, "type": "bigint"}
    if buckets:
        keyspace["buckets"] = [{"from": first, "to": last, "shard": server.name}
                               for server, (first, last) in zip(servers, buckets)]
    return {
        "pgshunt": {"auth_type": "trust", "workers": 2, "admin_users": [user], **general},
        "users": {user: {"password": user}},
        "databases": {database: {
            "shards": [{"name": server.name, "host": server.host, "port": server.port, "dbname": dbname or database}
                       for server in servers],
            "keyspaces": [keyspace],
            "tables": [{"name": name, "keyspace": keyspace["name"], "key": key} for name, key in keys.items()]
                      + [{"name": "kinds", "reference": True}]}},
    }
