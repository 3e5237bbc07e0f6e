"""Real PostgreSQL servers, real proxies, and a temporary world that never outlives the test run."""

from harness.certificates import Authority
from harness.postgres import PostgresServer
from harness.proxy import Proxy
from harness.run import Run, free_port, wait_until

__all__ = ["Authority", "PostgresServer", "Proxy", "Run", "free_port", "wait_until"]
