"""A way from one process to another that can be closed, as a network policy closes it."""

import contextlib
import socket
import threading


class Road:
    """Passes bytes on between whoever comes to its port and another port; closed, it hangs up on everybody."""

    def __init__(self, port: int, to: int):
        self.to, self.is_closed = to, False
        self.open: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self, is_closed: bool) -> None:
        self.is_closed = is_closed
        for one in list(self.open) if is_closed else []:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            near, _ = self.listener.accept()
            try:
                far = None if self.is_closed else socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                far = None
            if far is None:
                near.close()
                continue
            self.open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        # Whoever passes the other way has seen the end by now, or sees it; the last reference closes the socket.
        self.open -= {one, other}
