"""Configurations that many scenarios begin with."""


def plain(server, *, size=2, mode="transaction", database=None, users=("app", "other"), **general):
    """A proxy before the database `app` of one server: trusting clients, one worker (so that the
    tests know which server connection is next), users with the password their role has."""
    return {
        "pgshunt": {"auth_type": "trust", "workers": 1, "pool_mode": mode,
                    "default_pool_size": size, "admin_users": ["admin"], **general},
        "users": {**{user: {"password": user} for user in users}, "admin": {"password": "admin"}},
        "databases": {"app": {"host": server.host, "port": server.port, **(database or {})}},
    }


def add_application(server):
    """What the configuration above expects of a server: the roles, and the database of one."""
    server.create_user("app", "app")
    server.create_user("other", "other")
    server.execute("GRANT other TO app")
    server.create_database("app", owner="app")
    # pg_monitor: tests look at pg_stat_activity as themselves.
    server.execute("GRANT pg_monitor TO app")
    return server
