"""Who gets in: methods, rules, users and where they stand, TLS in all its modes."""

import socket
import ssl
import struct
from pathlib import Path

import psycopg2
import pytest

from harness import wait_until
from harness.config import plain
from harness.wire import (ServerClosed, ServerError, Wire, errors, message, query, rows, startup,
                          types)


def tls_files(authority, mode="require", **more):
    certificate, key = authority.server()
    return {"mode": mode, "cert_file": str(certificate), "key_file": str(key), **more}


@pytest.fixture
def guarded(make_proxy, app_postgres, authority):
    """guarded(method, secret) is a proxy that asks for passwords, with TLS for who wants it."""
    def make(method="scram-sha-256", secret="app", *, tls="prefer", hba=None, users=None, **general):
        config = plain(app_postgres, auth_type=method, **general)
        config["users"]["app"] = {"password": secret} if secret else {}
        config["users"].update(users or {})
        # Servers are entered with a password of their own: it is the clients' side that is tried.
        config["databases"]["app"] |= {"force_user": "app", "force_password": "app"}
        if tls:
            config["client_tls"] = tls_files(authority, tls)
        if hba:
            config["hba"] = hba
        return make_proxy(config)
    return make


def enters(proxy, user="app", password="app", database="app", **options):
    assert proxy.execute("SELECT 1", dbname=database, user=user, password=password,
                         **options) == [(1,)]


def refused(proxy, text, user="app", password="app", database="app", **options):
    with pytest.raises(psycopg2.OperationalError) as error:
        proxy.connect(database, user, password, **options)
    assert text in str(error.value)
    return str(error.value)


def stored(server, encryption):
    """What a server stores of the password "app"."""
    server.execute("DROP ROLE IF EXISTS hashed")
    server.execute(f"SET password_encryption = '{encryption}'; "
                   "CREATE ROLE hashed LOGIN PASSWORD 'app'")
    (secret,), = server.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'hashed'")
    return secret


# --- passwords -----------------------------------------------------------------------------------


@pytest.mark.smoke
@pytest.mark.parametrize("method, encryption", [
    ("scram-sha-256", None), ("scram-sha-256", "scram-sha-256"), ("md5", None),
    ("md5", "scram-sha-256"), ("password", None), ("password", "scram-sha-256")])
def test_passwords(guarded, app_postgres, method, encryption):
    proxy = guarded(method, stored(app_postgres, encryption) if encryption else "app")
    enters(proxy, sslmode="require")
    wrong = refused(proxy, 'password authentication failed for user "app"', password="wrong",
                    sslmode="require")
    unknown = refused(proxy, 'password authentication failed for user "nobody"', user="nobody",
                      sslmode="require")
    assert wrong.replace("app", "nobody") == unknown        # nobody learns who exists


def md5_secret(user, password):
    import hashlib
    return "md5" + hashlib.md5((password + user).encode()).hexdigest()


@pytest.mark.parametrize("method", ["md5", "password"])
def test_md5_secrets(guarded, method):
    proxy = guarded(method, md5_secret("app", "app"))
    enters(proxy, sslmode="require")
    refused(proxy, "password authentication failed", password="wrong", sslmode="require")


def test_an_md5_secret_cannot_prove_scram(guarded):
    refused(guarded("scram-sha-256", md5_secret("app", "app")), "password authentication failed")


@pytest.mark.smoke
def test_scram_is_bound_to_the_channel(guarded):
    proxy = guarded()
    enters(proxy, sslmode="require", channel_binding="require")
    refused(proxy, "channel binding", sslmode="disable", channel_binding="require")
    enters(proxy, sslmode="disable", channel_binding="prefer")


def test_scram_secrets_open_servers(make_proxy, app_postgres):
    """No password stands anywhere: the proof a client gives is what the server asks for."""
    (secret,), = app_postgres.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")
    config = plain(app_postgres, auth_type="scram-sha-256")
    config["users"]["app"] = {"password": secret}
    enters(make_proxy(config))


def test_clear_text_only_through_tls(guarded):
    proxy = guarded("password")
    with pytest.raises(ServerError) as error:
        Wire(proxy, "app", user="app", password="app")
    assert error.value.sqlstate == "28000"
    with Wire(proxy, "app", user="app", password="app", tls=True) as client:
        assert client.value("SELECT 1") == "1"
    with pytest.raises(ServerError, match="28P01"):
        Wire(proxy, "app", user="app", password="wrong", tls=True)


def test_a_user_without_a_password(guarded):
    refused(guarded(secret=None), "password authentication failed")


@pytest.mark.parametrize("where", ["password_file", "password_env"])
def test_secrets_from_elsewhere(make_proxy, app_postgres, where):
    def config(folder):
        (folder / "secret").write_text("from elsewhere\n")
        made = plain(app_postgres, auth_type="scram-sha-256")
        made["users"]["app"] = {where: "secret" if where == "password_file" else "APP_SECRET"}
        made["databases"]["app"] |= {"force_user": "app", "force_password": "app"}
        return made
    enters(make_proxy(config, env={"APP_SECRET": "from elsewhere"}), password="from elsewhere")


@pytest.mark.smoke
def test_what_a_stranger_learns(guarded, app_postgres):
    """That a database does not exist is said to whom we know, never before."""
    proxy = guarded("password")
    with pytest.raises(ServerError) as error:
        Wire(proxy, "nowhere", user="app", password="app", tls=True)
    assert error.value.sqlstate == "3D000"
    assert error.value.fields["M"] == 'database "nowhere" does not exist'
    with pytest.raises(ServerError, match="28P01"):
        Wire(proxy, "nowhere", user="app", password="wrong", tls=True)
    proxy.wait_for_log("wrong password")


def salt_shown_to(proxy, user):
    with Wire(proxy) as client:
        client.send_bytes(startup(user, "app"))
        assert client.receive().body[:4] == struct.pack("!i", 10)
        first = b"n,,n=,r=abcdefghijklmnop"
        client.send(message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first))
        challenge = client.receive().body[4:].decode()
        return dict(part.split("=", 1) for part in challenge.split(","))["s"]


def test_the_salt_of_a_stranger_outlasts_a_restart(guarded, app_postgres):
    """As that of a stored secret does."""
    proxy = guarded(secret=stored(app_postgres, "scram-sha-256"))
    before = [salt_shown_to(proxy, user) for user in ("app", "nobody", "nobody else")]
    proxy.stop()
    proxy.start()
    assert [salt_shown_to(proxy, user) for user in ("app", "nobody", "nobody else")] == before
    assert len(set(before)) == 3


def test_certificates_are_reloaded(guarded, authority):
    proxy = guarded()
    certificate, key = (Path(file) for file in authority.server())
    copies = [proxy.folder / file.name for file in (certificate, key)]

    def shown():
        with Wire(proxy, tls=True) as client:
            return client.socket.getpeercert(binary_form=True)
    first = shown()
    old = proxy.connect("app", "app", "app", sslmode="require")
    for copy, file in zip(copies, authority.issue("other")):
        copy.write_bytes(Path(file).read_bytes())
    text = proxy.file.read_text()
    for copy, file in zip(copies, (certificate, key)):
        text = text.replace(str(file), str(copy))
    proxy.write_config(text)
    proxy.reload()
    wait_until(lambda: shown() != first)
    with old.cursor() as cursor:
        cursor.execute("SELECT 1")
    old.close()
    enters(proxy, sslmode="require", channel_binding="require")
    copies[0].write_text("no certificate")
    proxy.reload()
    proxy.wait_for_log("reload_failed.*client_tls: could not load TLS certificate")
    enters(proxy, sslmode="require", channel_binding="require")


def test_every_failed_login_is_logged(guarded):
    proxy = guarded("password", client_login_timeout=0.5)
    who = r"login_failed client=127.0.0.1:\d+"
    with pytest.raises(ServerError):
        Wire(proxy, "nowhere", user="app", password="app", tls=True)
    proxy.wait_for_log(who + r" database=nowhere user=app sqlstate=3D000")
    with pytest.raises(ServerError):
        Wire(proxy, "pgshunt", user="app", password="app", tls=True)
    proxy.wait_for_log(who + r" database=pgshunt user=app sqlstate=42501")
    with Wire(proxy) as silent:
        silent.send_bytes(struct.pack("!ii", 8, 80877103))
        assert silent.until_closed() is not None
    proxy.wait_for_log(who + " sqlstate=08P01: client_login_timeout")
    with socket.create_connection((proxy.host, proxy.port)) as old:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            direct_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            direct_context.check_hostname, direct_context.verify_mode = False, ssl.CERT_NONE
            direct_context.set_alpn_protocols(["http/1.1"])
            direct_context.wrap_socket(old)
    proxy.wait_for_log(who + " sqlstate=08006: TLS handshake failed")


# --- users from files and servers --------------------------------------------------------------


def test_users_from_a_userlist(make_proxy, app_postgres):
    (secret,), = app_postgres.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'")

    def config(folder):
        (folder / "userlist.txt").write_text(f'"app" "{secret}"\n; a comment\n"other" "other"\n')
        made = plain(app_postgres, auth_type="scram-sha-256", auth_file="userlist.txt")
        return {**made, "users": {}}
    proxy = make_proxy(config)
    enters(proxy)
    enters(proxy, user="other", password="other")
    refused(proxy, "password authentication failed", password="wrong")


@pytest.mark.smoke
def test_users_from_a_query(make_proxy, app_postgres):
    app_postgres.execute("CREATE OR REPLACE FUNCTION public.secret_of(who text, OUT name text, "
                         "OUT secret text) SECURITY DEFINER LANGUAGE sql AS $$ SELECT usename, "
                         "passwd FROM pg_shadow WHERE usename = who $$", dbname="app")
    config = plain(app_postgres, auth_type="scram-sha-256", auth_user="other",
                   auth_query="SELECT name, secret FROM secret_of($1)")
    config["users"] = {"other": {"password": "other"}}
    proxy = make_proxy(config)
    enters(proxy)
    refused(proxy, "password authentication failed", password="wrong")
    refused(proxy, "password authentication failed", user="nobody")
    refused(proxy, "password authentication failed", user="x'; DROP TABLE y --")
    app_postgres.execute("DROP FUNCTION public.secret_of", dbname="app")
    refused(proxy, "", user="third", password="x")


def test_a_query_that_fails_is_no_way_in(make_proxy, app_postgres):
    config = plain(app_postgres, auth_type="scram-sha-256", auth_user="other",
                   auth_query="SELECT usename, passwd FROM no_such_table WHERE usename = $1")
    config["users"] = {"other": {"password": "other"}}
    proxy = make_proxy(config)
    refused(proxy, "")
    enters(proxy, user="other", password="other")


# --- rules -------------------------------------------------------------------------------------


RULES = [
    {"database": "second", "user": "all", "method": "reject"},
    {"user": "other", "address": "127.0.0.0/8", "method": "trust"},
    {"type": "hostssl", "user": "/^ap+$", "method": "scram-sha-256"},
    {"user": "remote", "address": "10.0.0.0/8", "method": "trust"},
]


def with_rules(server, authority, rules):
    config = plain(server)
    config["databases"]["second"] = {**config["databases"]["app"], "dbname": "app"}
    config["users"]["remote"] = {"password": "remote"}
    return {**config, "client_tls": tls_files(authority, "prefer"), **rules}


@pytest.mark.smoke
def test_the_first_rule_that_fits_decides(make_proxy, app_postgres, authority):
    check_rules(make_proxy(with_rules(app_postgres, authority, {"hba": RULES})))


def test_rules_from_a_file(make_proxy, app_postgres, authority):
    def config(folder):
        (folder / "hba.conf").write_text("""\
# TYPE  DATABASE  USER     ADDRESS      METHOD
host    second    all      all          reject
host    all       other    127.0.0.0/8  trust
hostssl all       app      all          scram-sha-256
host    all       remote   10.0.0.0/8   trust
""")
        made = with_rules(app_postgres, authority, {})
        made["pgshunt"]["auth_hba_file"] = "hba.conf"
        return made
    check_rules(make_proxy(config))


def check_rules(proxy):
    enters(proxy, user="other", password=None)
    enters(proxy, sslmode="require")
    refused(proxy, "password authentication failed", password="wrong", sslmode="require")
    for user, database, options in (("other", "second", {}), ("app", "app", {"sslmode": "disable"}),
                                    ("remote", "app", {}), ("nobody", "app", {})):
        refused(proxy, "pg_hba.conf", user=user, database=database, **options)
    with pytest.raises(ServerError) as error:
        Wire(proxy, "app", user="remote")
    assert error.value.sqlstate == "28000"


@pytest.mark.parametrize("method, sqlstate", [("trust", None), ("reject", "28000")])
def test_without_rules_one_method_is_for_all(make_proxy, app_postgres, method, sqlstate):
    proxy = make_proxy(plain(app_postgres, auth_type=method))
    if sqlstate:
        with pytest.raises(ServerError, match=sqlstate):
            Wire(proxy, "app", user="app")
    else:
        enters(proxy, password=None)
        enters(proxy, password="anything")


# --- TLS ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode, plainly, through_tls", [
    ("disable", True, False), ("allow", True, True), ("prefer", True, True),
    ("require", False, True)])
def test_modes_towards_clients(guarded, mode, plainly, through_tls):
    proxy = guarded(tls=None if mode == "disable" else mode)
    for sslmode, welcome in (("disable", plainly), ("require", through_tls)):
        if welcome:
            enters(proxy, sslmode=sslmode)
        elif sslmode == "require":
            refused(proxy, "server does not support SSL", sslmode=sslmode)
        else:
            refused(proxy, "SSL connection is required", sslmode=sslmode)
    enters(proxy, sslmode="prefer")


def test_clients_verify_the_proxy(guarded, authority):
    proxy = guarded()
    enters(proxy, sslmode="verify-full", sslrootcert=authority.certificate)
    refused(proxy, "certificate verify failed", sslmode="verify-ca",
            sslrootcert=authority.client("app")[0])


@pytest.fixture
def with_certificates(make_proxy, app_postgres, authority):
    def make(mode="require", **hba):
        config = plain(app_postgres)
        return make_proxy({**config, "client_tls": tls_files(
            authority, mode, ca_file=str(authority.certificate)), "hba": [{**hba}]})
    return make


def shown(authority, name):
    certificate, key = authority.client(name)
    return {"sslmode": "require", "sslcert": certificate, "sslkey": key}


@pytest.mark.smoke
def test_certificates_instead_of_passwords(with_certificates, authority):
    proxy = with_certificates(method="cert")
    enters(proxy, password=None, **shown(authority, "app"))
    refused(proxy, "", password=None, **shown(authority, "somebody"))
    refused(proxy, "certificate", password=None, sslmode="require")
    refused(proxy, "", password=None, sslmode="disable")


def test_certificates_beside_passwords(with_certificates, authority):
    proxy = with_certificates(method="scram-sha-256", options={"clientcert": "verify-full"})
    enters(proxy, **shown(authority, "app"))
    refused(proxy, "password authentication failed", password="wrong", **shown(authority, "app"))
    refused(proxy, "", **shown(authority, "somebody"))
    refused(proxy, "certificate", sslmode="require")


def test_certificates_for_all(with_certificates, authority):
    proxy = with_certificates("verify-ca", method="trust")
    enters(proxy, password=None, **shown(authority, "somebody"))
    refused(proxy, "", password=None, sslmode="require")


def test_a_certificate_with_another_name(with_certificates, authority):
    proxy = with_certificates(method="cert", user="app", options={"map": "somebody"})
    enters(proxy, password=None, **shown(authority, "somebody"))
    refused(proxy, "", password=None, **shown(authority, "app"))


def test_a_certificate_of_another_authority(with_certificates, run):
    from harness import Authority
    stranger = Authority(run.subfolder("stranger"), name="stranger")
    refused(with_certificates(method="cert"), "", password=None, **shown(stranger, "app"))


@pytest.mark.parametrize("early", [b"early", startup("app", "app")])
def test_nothing_may_be_said_before_the_handshake(guarded, early):
    """Who slips plain text in behind the request for TLS could be anybody (CVE-2021-23214)."""
    with Wire(guarded()) as client:
        client.send_bytes(struct.pack("!ii", 8, 80877103) + early)
        received = b""
        try:
            while more := client.socket.recv(1000):
                received += more
        except ConnectionError:
            pass
        assert not received.startswith(b"S")


def direct(proxy, protocols=("postgresql",), version=None):
    """sslnegotiation=direct: TLS from the first byte on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if version:
        context.maximum_version = version
    plain_socket = socket.create_connection((proxy.host, proxy.port), timeout=10)
    return context.wrap_socket(plain_socket)


def over(stream):
    """A Wire over a connection that stands."""
    client = Wire.__new__(Wire)
    client.socket, client.timeout = stream, 10
    client.parameters, client.pid, client.key, client._kept = {}, None, None, b""
    return client


@pytest.mark.smoke
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_from_the_first_byte(guarded, version):
    proxy = guarded("password")
    with over(direct(proxy, version=version)) as client:
        assert client.socket.selected_alpn_protocol() == "postgresql"
        client.login("app", "app", "app")
        assert client.value("SELECT 1") == "1"
        assert len(client.value("SELECT repeat('x', 1000000)")) == 1_000_000


def test_tls_from_the_first_byte_needs_a_protocol(guarded):
    proxy = guarded()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        direct(proxy, ("http/1.1",))
    # Without ALPN TLS itself succeeds; the proxy hangs up behind it.
    with pytest.raises((ssl.SSLError, ConnectionError, ServerClosed)):
        with over(direct(proxy, ())) as client:
            client.login("app", "app", "app")
    with over(direct(proxy)) as client:     # no second helping
        client.send_bytes(struct.pack("!ii", 8, 80877103))
        assert errors(client.until_closed()) == ["08P01"]


def test_a_direct_handshake_byte_by_byte(guarded):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["postgresql"])
    tls = context.wrap_bio(incoming, outgoing)
    with socket.create_connection(("127.0.0.1", guarded("trust").port), timeout=10) as stream:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    stream.sendall(bytes([byte]))
                incoming.write(stream.recv(65536))
        tls.write(startup("app", "app"))
        for byte in outgoing.read():
            stream.sendall(bytes([byte]))
        said = b""
        while b"Z\0\0\0\5I" not in said:
            incoming.write(stream.recv(65536))
            try:
                said += tls.read(65536)
            except ssl.SSLWantReadError:
                pass


# --- other startup packets -----------------------------------------------------------------------


def test_replication_is_refused(make_proxy, app_postgres):
    proxy = make_proxy(plain(app_postgres))
    for value in ("database", "true"):
        with pytest.raises(ServerError, match="0A000 replication"):
            Wire(proxy, "app", user="app", replication=value)
    with Wire(proxy, "app", user="app", replication="false") as client:
        assert client.value("SELECT 1") == "1"


def test_newer_protocols_are_negotiated(make_proxy, app_postgres):
    proxy = make_proxy(plain(app_postgres))
    with Wire(proxy) as client:
        client.send(startup("app", "app", protocol=(3 << 16) + 9999, **{"_pq_.fancy": "1"}))
        answers = client.until_ready()
        assert types(answers)[:2] == "vR"
        assert b"_pq_.fancy" in answers[0].body
        assert rows(client.ask(query("SELECT 1"))) == [["1"]]


def test_settings_of_the_startup_packet(make_proxy, app_postgres):
    proxy = make_proxy(plain(app_postgres, ignore_startup_parameters=["extra_float_digits"]))
    with Wire(proxy, "app", user="app", application_name="me", extra_float_digits="nonsense",
              options=r"-c work_mem=7MB --search-path=left,right -c DateStyle=German,\ DMY") as client:
        assert client.parameters["application_name"] == "me"
        assert client.parameters["DateStyle"] == "German, DMY"
        assert client.query("SELECT current_setting('work_mem'), "
                            "translate(current_setting('search_path'), ' \"', '')") \
            == [["7MB", "left,right"]]
    with pytest.raises(ServerError, match="22023|42704|22P02"):
        with Wire(proxy, "app", user="app", work_mem="nonsense") as client:
            client.query("SELECT 1")
