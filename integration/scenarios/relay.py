"""A network between the proxy and its server that a test can cut at any byte."""

import selectors
import socket
import threading


class Relay:
    """Passes bytes on to a server. Of a connection made while `cut_after` is set only so many bytes of
    answers are passed on, and then `rubbish`, before it is cut; those after it are whole again.
    While `as_from_server` is set, that is all a connection gets."""

    def __init__(self, server):
        self.server = server
        self.cut_after = None
        self.rubbish = b""
        self.as_from_server = None
        self.answered = 0  # bytes, by the last connection
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.as_from_server is not None:
                client.sendall(self.as_from_server)
                threading.Thread(target=self._swallow, args=(client,), daemon=True).start()
            else:
                cut_after, self.cut_after = self.cut_after, None
                threading.Thread(target=self._pass, args=(client, cut_after),
                                 daemon=True).start()

    @staticmethod
    def _swallow(client):
        with client:
            try:
                while client.recv(65536):
                    pass
            except OSError:
                pass

    def _pass(self, client, cut_after):
        answered = 0
        with client, selectors.DefaultSelector() as selector:
            try:
                server = socket.create_connection((self.server.host, self.server.port))
            except OSError:
                return
            with server:
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(client, selectors.EVENT_READ, server)
                selector.register(server, selectors.EVENT_READ, client)
                while True:
                    for key, _ in selector.select():
                        try:
                            got = key.fileobj.recv(65536)
                            if key.fileobj is server and cut_after is not None:
                                got = got[:cut_after - answered]
                            if got and key.fileobj is server:
                                answered = self.answered = answered + len(got)
                            key.data.sendall(got)
                        except OSError:
                            return
                        if cut_after is not None and answered >= cut_after:
                            client.sendall(self.rubbish)
                            return
                        if not got:
                            return

    def close(self):
        self._listener.close()
