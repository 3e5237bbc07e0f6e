"""Certificates for tests, made by the openssl command."""

import subprocess
from pathlib import Path


class Authority:
    """A certificate authority in a folder. Keys are EC P-256: they cost no time to make."""

    def __init__(self, folder, name="pgshunt test authority", days=30):
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self._days = days
        self.certificate = self.folder / "ca.crt"
        self._key = self.folder / "ca.key"
        if self.certificate.exists():
            return
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes", "-days", days, "-subj", f"/CN={name}", "-keyout", self._key,
                 "-out", self.certificate)

    def issue(self, common_name, *, hosts=()):
        """(certificate, key) for a name; `hosts` such as "DNS:localhost" or "IP:127.0.0.1" make it
        a server's. Issued once, then remembered."""
        stem = self.folder / f"{common_name}{'-server' if hosts else ''}"
        certificate, key = stem.with_suffix(".crt"), stem.with_suffix(".key")
        if certificate.exists():
            return certificate, key
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        extensions.write_text("basicConstraints=CA:FALSE\n" +
                              (f"subjectAltName={','.join(hosts)}\n" if hosts else ""))
        _openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes", "-subj", f"/CN={common_name}", "-keyout", key, "-out", request)
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
                 "-CAcreateserial", "-days", self._days, "-extfile", extensions, "-out", certificate)
        key.chmod(0o600)
        return certificate, key

    def server(self):
        """(certificate, key) of a server on this machine."""
        return self.issue("localhost", hosts=("DNS:localhost", "IP:127.0.0.1"))

    def client(self, user):
        return self.issue(user)


def _openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")
