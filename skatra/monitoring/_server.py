"""The exporter: one thread, two pages, no patience."""

import asyncio
import base64
import contextlib
import errno
import hashlib
import hmac
import ipaddress
import os
import re
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any, Self, TypeVar

from skatra.monitoring._catalogue import LABELS
from skatra.monitoring._database import DatabaseReader
from skatra.monitoring._instruments import enable, recorder
from skatra.monitoring._render import CONTENT_TYPE, Page

MAX_REQUEST = 8192
MAX_CONNECTIONS = 256
READ_SECONDS = 2.0
WRITE_SECONDS = 5.0
CHUNK = 16384
"""Bytes at a time; a record of TLS holds as many."""

_Result = TypeVar("_Result")


class MetricsServer:
    """An HTTP server of ``/metrics`` and ``/healthz``; made by `serve_metrics`.

    All connections live in one thread's event loop and each is a task from the moment
    it is accepted, so that neither a TLS handshake nor a silent client holds up others:
    it costs a file descriptor for two seconds and no thread. Beyond 256 connections,
    handshakes included, the oldest that has not sent its request is closed.

    Parameters
    ----------
    page : Page
        Renders the metrics.
    host : str
        Address to listen on.
    port : int
        Port to listen on; 0 lets the system choose.
    tls : ssl.SSLContext or None
        None serves plain HTTP.
    secret : bytes or None
        SHA-256 of the expected Authorization header.
    readers : sequence of DatabaseReader, default=()
        Databases that are read at each scrape.

    Attributes
    ----------
    url : str
        Of the metrics page.
    port : int
        The real one, if 0 was asked for.

    Examples
    --------
    >>> from urllib.request import urlopen
    >>> from skatra import monitoring
    >>> server = monitoring.serve_metrics(port=0)
    >>> urlopen(server.url).read().decode().count("skatra_build_info{")
    1
    >>> server.close()
    >>> monitoring.disable()
    """

    def __init__(
        self,
        page: Page,
        *,
        host: str,
        port: int,
        tls: ssl.SSLContext | None,
        secret: bytes | None,
        readers: Sequence[DatabaseReader] = (),
    ) -> None:
        self._page = page
        self._secret = secret
        self._tls = tls
        self._readers = readers
        self._clients: dict[asyncio.Task[Any], bool] = {}
        self._page_task: asyncio.Future[bytes] | None = None
        self._painted = self._sent = 0  # numbers of pages
        self._painter = ThreadPoolExecutor(1, thread_name_prefix="skatra-metrics-page")
        self._listener = _listen(host, port)
        self.port = int(self._listener.getsockname()[1])
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http{'s' if tls else ''}://{shown}:{self.port}/metrics"
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_ignore)
        self._thread = threading.Thread(
            target=self._run, name="skatra-metrics", daemon=True
        )
        self._thread.start()
        if hasattr(os, "register_at_fork"):
            closing = partial(_close_in_child, weakref.ref(self._listener))
            os.register_at_fork(after_in_child=closing)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        accepting = self._loop.create_task(self._accept())
        self._loop.run_forever()
        tasks = [accepting, *self._clients]
        for task in tasks:
            task.cancel()
        ended = asyncio.gather(*tasks, return_exceptions=True)
        self._loop.run_until_complete(ended)
        self._listener.close()
        self._loop.close()

    async def _accept(self) -> None:
        """Give each connection a task at once; its handshake is its own affair."""
        while True:
            try:
                connection, _ = await self._loop.sock_accept(self._listener)
            except OSError:  # no descriptor is free until some client is cut off
                await asyncio.sleep(0.05)
                continue
            self._make_room()
            task = self._loop.create_task(self._client(connection))
            self._clients[task] = True
            task.add_done_callback(partial(self._forget, connection))

    def _forget(self, connection: socket.socket, task: asyncio.Task[Any]) -> None:
        """Close a connection, also of a task that was cancelled before it began."""
        self._clients.pop(task, None)
        connection.close()

    def wait_for_scrape(
        self,
        timeout: float = float("inf"),
        *,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Wait until a page of metrics that was asked for meanwhile has been sent.

        What counts before the first scrape begins there, so that ``increase()`` sees
        nothing of it: after a restart a counter that is back where it ended looks as if
        it had stood still.

        Parameters
        ----------
        timeout : float, default=inf
            Seconds.
        should_stop : callable, default=never
            Asked ten times a second.

        Returns
        -------
        bool
            Whether one has been sent.
        """
        wanted, end = self._painted + 1, time.monotonic() + timeout
        while self._sent < wanted:
            if should_stop() or time.monotonic() >= end:
                return False
            time.sleep(0.1)
        return True

    def close(self) -> None:
        """Stop serving; connections under way are cut."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5.0)
        self._painter.shutdown(wait=False, cancel_futures=True)
        for reader in self._readers:
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    async def _client(self, connection: socket.socket) -> None:
        """Answer one request, whole, or cut the client off."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101
        stream = _Stream(self._loop, connection, self._tls)
        try:
            async with asyncio.timeout(READ_SECONDS):
                status, path = await self._request(stream)
            self._clients[task] = False
            body, kind, number = b"", "text/plain; charset=utf-8", 0
            if status is HTTPStatus.OK and path == "/metrics":
                try:
                    body, number = await self._metrics()
                    kind = CONTENT_TYPE
                except Exception as error:  # noqa: BLE001 - the client gets an answer
                    recorder().failed("exporter", error)
                    status = HTTPStatus.INTERNAL_SERVER_ERROR
            elif status is HTTPStatus.OK:
                body = b"ok\n"
            async with asyncio.timeout(WRITE_SECONDS):
                body = body or status.phrase.encode() + b"\n"
                head = _head(status, kind, len(body))
                await stream.send(head + body if stream.wants_body else head)
            self._sent = max(self._sent, number)
        except (OSError, TimeoutError, EOFError, asyncio.CancelledError):
            pass  # cut off; an exception kept by the task would keep the task, too

    def _make_room(self) -> None:
        """Cut off the oldest client, first of those that have not asked yet."""
        while len(self._clients) >= MAX_CONNECTIONS:
            waiting = (task for task, is_silent in self._clients.items() if is_silent)
            oldest = next(waiting, next(iter(self._clients)))
            self._clients.pop(oldest)
            oldest.cancel()

    async def _request(self, stream: "_Stream") -> tuple[HTTPStatus, str]:
        """Return the status that a request deserves, and its path."""
        head = b""
        while (end := head.find(b"\r\n\r\n")) < 0 and len(head) <= MAX_REQUEST:
            head += await stream.receive()
        if not 0 <= end <= MAX_REQUEST:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, ""
        first, *lines = head[:end].decode("latin-1").split("\r\n")
        stream.wants_body = not first.startswith("HEAD ")
        parts = first.split(" ")
        if len(parts) != 3 or not re.fullmatch(r"HTTP/1\.\d", parts[2]):
            return HTTPStatus.BAD_REQUEST, ""
        method, path = parts[0], parts[1].partition("?")[0]
        if path not in {"/metrics", "/healthz"}:
            return HTTPStatus.NOT_FOUND, path
        if method != "GET":
            return HTTPStatus.METHOD_NOT_ALLOWED, path
        if path == "/metrics" and not self._may_read(lines):
            return HTTPStatus.UNAUTHORIZED, path
        return HTTPStatus.OK, path

    def _may_read(self, lines: list[str]) -> bool:
        if self._secret is None:
            return True
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip().lower() == "authorization":
                scheme, _, rest = value.strip().partition(" ")
                header = f"{scheme.capitalize()} {rest.strip()}"
                given = hashlib.sha256(header.encode()).digest()
                return hmac.compare_digest(given, self._secret)
        return False

    async def _metrics(self) -> tuple[bytes, int]:
        """Return the page and its number; scrapes of the same moment share one."""
        if self._page_task is None or self._page_task.done():
            self._painted += 1
            self._page_task = asyncio.ensure_future(
                self._loop.run_in_executor(self._painter, self._page.render)
            )
        number = self._painted
        return await asyncio.shield(self._page_task), number


class _Stream:
    """Bytes of one client, through TLS or not.

    asyncio's own streams keep 256 kB for each TLS client in a cycle of references that
    only the garbage collector ends. Here a client that has said nothing costs no more
    than its socket, and what it costs is gone when it is.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._context = tls
        self._tls: ssl.SSLObject | None = None
        self.wants_body = True
        self._read, self._written = ssl.MemoryBIO(), ssl.MemoryBIO()

    async def receive(self) -> bytes:
        """Return the next bytes.

        Raises
        ------
        EOFError
            If there are none.
        OSError
            If the client is gone or speaks no TLS.
        """
        if self._context is None:
            found = await self._arrived()
        else:
            if self._tls is None:
                await self._feed()
                self._tls = self._context.wrap_bio(
                    self._read, self._written, server_side=True
                )
                await self._until_done(self._tls.do_handshake)
            found = await self._until_done(partial(self._tls.read, CHUNK))
        if not found:
            raise EOFError
        return found

    async def send(self, data: bytes) -> None:
        """Send everything and say that nothing follows."""
        if self._tls is None:
            await self._leave(data)
        else:
            for start in range(0, len(data), CHUNK):
                self._tls.write(data[start : start + CHUNK])
                await self._flush()
            with contextlib.suppress(ssl.SSLError):  # does not wait for the answer
                self._tls.unwrap()
            await self._flush()
        self._connection.shutdown(socket.SHUT_WR)

    async def _until_done(self, step: Callable[[], _Result]) -> _Result:
        """Repeat a step of TLS with more of the client's bytes until it succeeds."""
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._feed()
            except ssl.SSLError:
                await self._flush()  # says why
                raise
            else:
                await self._flush()
                return result

    async def _feed(self) -> None:
        found = await self._arrived()
        if not found:
            raise EOFError
        self._read.write(found)

    async def _flush(self) -> None:
        if self._written.pending:
            await self._leave(self._written.read())

    # The loop's own sock_recv and sock_sendall keep an error in a future that the
    # error's traceback leads to: a cycle.

    async def _arrived(self) -> bytes:
        while True:
            with contextlib.suppress(BlockingIOError):
                return self._connection.recv(CHUNK)
            await self._ready(self._loop.add_reader, self._loop.remove_reader)

    async def _leave(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            with contextlib.suppress(BlockingIOError):
                left = left[self._connection.send(left) :]
                continue
            await self._ready(self._loop.add_writer, self._loop.remove_writer)

    async def _ready(
        self, watch: Callable[..., None], unwatch: Callable[[socket.socket], Any]
    ) -> None:
        """Wait until the socket can be read or written."""
        woken = asyncio.Event()
        watch(self._connection, woken.set)
        try:
            await woken.wait()
        finally:
            unwatch(self._connection)


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; say of which address it could not be one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        way_out = (
            "another program listens there. Pass another port, or 0 for a free one."
            if taken
            else f"{error.strerror}. Pass an address of this machine."
        )
        msg = f"cannot listen on host={host!r}, port={port}: {way_out}"
        raise OSError(error.errno, msg) from None
    listener.setblocking(False)
    return listener


def _tls_context(certfile: Any, keyfile: Any) -> ssl.SSLContext | None:
    """Return the context of a certificate and its key, None without any."""
    if certfile is None:
        if keyfile is not None:
            raise ValueError(
                f"keyfile={os.fspath(keyfile)!r} needs the certfile that it belongs "
                "to; without one nothing is encrypted."
            )
        return None
    for name, path in (("certfile", certfile), ("keyfile", keyfile)):
        if path is not None and not os.path.isfile(path):  # noqa: PTH113
            raise FileNotFoundError(errno.ENOENT, f"{name} is no file", os.fspath(path))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    name, path = ("certfile", certfile) if keyfile is None else ("keyfile", keyfile)

    def _no_password() -> str:
        raise ValueError(
            f"{name}={os.fspath(path)!r} must hold a key without a password, which "
            "nobody could type when the service starts. `openssl pkey -in KEY -out "
            "PLAIN` takes it off; let nobody else read the result."
        )

    try:
        tls.load_cert_chain(certfile, keyfile, _no_password)
    except ssl.SSLError as error:
        key = "the key in it" if keyfile is None else f"keyfile={os.fspath(keyfile)!r}"
        raise ValueError(
            f"certfile={os.fspath(certfile)!r} and {key} must be a certificate and its "
            f"own key in PEM, got {error.reason or error}."
        ) from None
    return tls


def _close_in_child(known: "weakref.ref[socket.socket]") -> None:
    """Close a forked child's copy of a listener, which nobody there answers."""
    if (listener := known()) is not None:
        listener.close()


def _ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Say nothing of clients that break their connection."""
    del loop, context


def _head(status: HTTPStatus, kind: str, length: int) -> bytes:
    """Return the head of a response; it names no software and no version."""
    extra = ""
    if status is HTTPStatus.UNAUTHORIZED:
        extra = 'WWW-Authenticate: Basic realm="metrics"\r\n'
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        extra = "Allow: GET\r\n"
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {length}\r\n"
        f"Cache-Control: no-store\r\n{extra}Connection: close\r\n\r\n"
    ).encode("latin-1")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def serve_metrics(
    *,
    host: str = "127.0.0.1",
    port: int = 9464,
    databases: Sequence[str | os.PathLike[str] | DatabaseReader] = (),
    certfile: str | os.PathLike[str] | None = None,
    keyfile: str | os.PathLike[str] | None = None,
    credentials: str | None = None,
) -> MetricsServer:
    """Serve this process' metrics to Prometheus, in a thread of its own.

    Two pages exist: ``/metrics`` and ``/healthz`` (which needs no password). Silent,
    slow and malformed clients are cut off after seconds; a database that is locked,
    missing or damaged never fails a scrape.

    Parameters
    ----------
    host : str, default="127.0.0.1"
        Address to listen on. Any other than loopback needs `credentials`, and these
        need TLS.
    port : int, default=9464
        0 takes a free one; see the server's ``port``.
    databases : sequence of path-like, default=()
        Database files, at most 10, whose size, rows and newest times are exported. The
        process needs to read them; while one is in use, its ``-wal`` and ``-shm``, too,
        and where these are missing, to write in its folder.
    certfile, keyfile : path-like, default=None
        PEM files: serve TLS (1.2 or newer).
    credentials : str, default=None
        "user:password" of HTTP basic authentication.

    Returns
    -------
    MetricsServer
        Its ``url`` is for Prometheus; ``close`` it, or use it as a context.

    Raises
    ------
    ValueError
        If a public address lacks a password, or a password over the network lacks
        TLS; if certificate and key do not belong together or are none; if the key
        has a password; if the port is out of range; if two databases have the same
        file name, or they are more than 10.
    OSError
        If the port is taken, the address is none of this machine's, or a file is
        missing.

    Examples
    --------
    >>> from urllib.request import urlopen
    >>> from skatra import monitoring
    >>> with monitoring.serve_metrics(port=0) as server:
    ...     page = urlopen(server.url).read().decode()
    >>> "skatra_signals_total" in page
    True
    >>> monitoring.disable()
    """
    if not is_loopback(host) and (credentials is None or certfile is None):
        raise ValueError(
            f"host={host!r} can be reached from other machines: pass credentials and "
            "certfile, or listen on 127.0.0.1 and let a proxy do both."
        )
    if credentials is not None and ":" not in credentials:
        raise ValueError(
            "credentials must be 'user:password', got text without a colon."
        )
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be in [0, 65535], got {port}.")
    tls = _tls_context(certfile, keyfile)
    secret = None
    if credentials is not None:
        header = "Basic " + base64.b64encode(credentials.encode()).decode()
        secret = hashlib.sha256(header.encode()).digest()
    readers = [
        item if isinstance(item, DatabaseReader) else DatabaseReader(item)
        for item in databases
    ]
    names = [reader.name for reader in readers]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"databases must differ in their file names, which are their labels, got "
            f"several called {twice[0]!r}. Serve each from a process of its own."
        )
    if len(names) > (cap := LABELS["database"].cap):
        raise ValueError(
            f"databases must be at most {cap} databases, whose names are labels, got "
            f"{len(names)}. Serve the others from a process of its own."
        )
    enable(databases=names)
    return MetricsServer(
        Page(readers),
        host=host,
        port=port,
        tls=tls,
        secret=secret,
        readers=readers,
    )
