"""A proxy that forwards plain HTTP and tunnels (CONNECT), and records what came through."""

import http.server
import socket
import socketserver
import threading
import urllib.parse


class Proxy:
    """Use as a context manager. `user`: the "name:password" in base64 that it wants, or None."""

    def __init__(self, user: str | None = None):
        self.user = user
        self.targets: list[str] = []

    def __enter__(self):
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_):
        pass


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_method(self):
        proxy = self.server.proxy
        proxy.targets.append(self.path)
        self.close_connection = True
        if proxy.user and self.headers.get("Proxy-Authorization") != f"Basic {proxy.user}":
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n"
                             b"Proxy-Authenticate: Basic realm=\"test\"\r\n"
                             b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            return
        url = urllib.parse.urlsplit("//" + self.path if self.command == "CONNECT" else self.path)
        with socket.create_connection((url.hostname, url.port or 80)) as upstream:
            if self.command == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                target = urllib.parse.urlunsplit(("", "", url.path or "/", url.query, ""))
                lines = [f"{self.command} {target} HTTP/1.1"]
                lines += [f"{name}: {value}" for name, value in self.headers.items()
                          if not name.lower().startswith(("proxy-", "connection"))]
                upstream.sendall("\r\n".join(lines + ["Connection: close", "", ""]).encode())
            back = threading.Thread(target=_copy, args=(upstream, self.connection))
            back.start()
            if self.command == "CONNECT":
                _copy(self.connection, upstream)
            back.join()

    do_GET = do_HEAD = do_CONNECT = handle_method


def _copy(source: socket.socket, sink: socket.socket):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
