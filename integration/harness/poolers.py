"""Other poolers of Debian's, configured as the proxy is, for comparisons."""

import shutil
import socket

from harness.run import free_port, processes_in, server_account, spawn, wait_until


class Pooler:
    """A running pooler before one server. `port` is where it listens, `pids()` are its processes."""

    def __init__(self, folder, command, port):
        self.folder = folder
        self.port = port
        spawn(command, cwd=folder, log=folder / "log", account=server_account())
        wait_until(lambda: socket.create_connection(("127.0.0.1", port), 1).close() is None,
                   what=f"{command[0]} listens")

    def pids(self):
        return processes_in(self.folder)


def install(account, sources, folder):
    """Copies of certificate and key that the pooler's account may read."""
    for source in sources:
        target = folder / source.name
        shutil.copy(source, target)
        shutil.chown(target, account.pw_uid, account.pw_gid)
        target.chmod(0o600)
    return [folder / source.name for source in sources]


def pgbouncer(run, server, authority, *, user, secret, auth, mode="transaction"):
    account = server_account()
    folder = run.subfolder(f"pgbouncer-{auth}-{mode}", account)
    certificate, key = install(account, authority.server(), folder)
    port = free_port()
    users = folder / "users.txt"
    users.write_text(f'"{user}" "{secret}"\n')
    ini = folder / "pgbouncer.ini"
    ini.write_text(f"""[databases]
bench = host=127.0.0.1 port={server.port} dbname=bench
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = {auth}
auth_file = {users}
pool_mode = {mode}
default_pool_size = 20
max_client_conn = 20000
client_tls_sslmode = allow
client_tls_cert_file = {certificate}
client_tls_key_file = {key}
server_tls_sslmode = disable
log_connections = 0
log_disconnections = 0
""")
    return Pooler(folder, ["pgbouncer", ini], port)


def pgpool(run, server, authority):
    """pgpool-II as a pooler only. It has sessions of its own for each client process and no
    transaction pooling; the server must trust its clients, since pgpool passes logins on."""
    account = server_account()
    folder = run.subfolder("pgpool", account)
    certificate, key = install(account, authority.server(), folder)
    port = free_port()
    conf = folder / "pgpool.conf"
    conf.write_text(f"""
backend_clustering_mode = 'raw'
backend_hostname0 = '127.0.0.1'
backend_port0 = {server.port}
listen_addresses = '127.0.0.1'
port = {port}
pcp_port = {free_port()}
unix_socket_directories = '{folder}'
pcp_socket_dir = '{folder}'
pid_file_name = '{folder}/pgpool.pid'
logdir = '{folder}'
work_dir = '{folder}'
num_init_children = 32
max_pool = 1
enable_pool_hba = off
ssl = on
ssl_cert = '{certificate}'
ssl_key = '{key}'
memory_cache_enabled = off
""")
    return Pooler(folder, ["pgpool", "-n", "-f", conf], port)
