"""Laws of the exporter: it answers whatever clients and databases do."""

import base64
import contextlib
import os
import re
import shutil
import socket
import sqlite3
import ssl
import stat
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from skatra import monitoring
from skatra.datasets import Database
from skatra.monitoring._database import DatabaseReader
from skatra.monitoring._server import MAX_CONNECTIONS, MAX_REQUEST


@pytest.fixture
def server():
    """Serve on a free port of loopback."""
    with monitoring.serve_metrics(port=0) as found:
        yield found
    monitoring.disable()


def fetch(url, timeout=20, **headers):
    """Return status, headers and body."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


def speak(port, data, timeout=10):
    """Return what the server answers to raw bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout) as client:
        with contextlib.suppress(OSError):
            client.sendall(data)
        answer = b""
        with contextlib.suppress(OSError):
            while part := client.recv(65536):
                answer += part
        return answer


def rows(text, name):
    """Return label text -> value of a metric on a page."""
    found = re.findall(rf"^{name}(?:{{(.*)}})? (\S+)$", text, flags=re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_two_pages_and_no_version(server):
    """/metrics and /healthz exist; nothing names the software."""
    status, headers, body = fetch(server.url)
    base = server.url.removesuffix("/metrics")

    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert headers["Server"] is None
    assert "skatra_build_info" in body
    assert "_created" not in body
    assert fetch(f"{base}/healthz")[2] == "ok\n"
    assert fetch(f"{base}/")[0] == 404
    assert fetch(f"{base}/metrics/../etc")[0] == 404
    assert server.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"GET /metrics SPDY/3\r\n\r\n", b"400"),
        (b"\xff\xfe\x00\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * MAX_REQUEST * 2, b"431"),
        (
            b"GET /metrics HTTP/1.1\r\nX: " + b"y" * MAX_REQUEST * 2 + b"\r\n\r\n",
            b"431",
        ),
    ],
)
def test_malformed_and_oversized_requests_are_refused(server, request_bytes, status):
    """Each has its status; the server goes on."""
    answer = speak(server.port, request_bytes)

    assert answer == b"" or answer.split()[1] == status
    assert fetch(server.url)[0] == 200


def test_silent_clients_cost_nothing(server):
    """More silent clients than places: scrapes still answer, and they are cut off."""
    silent = [
        socket.create_connection(("127.0.0.1", server.port))
        for _ in range(MAX_CONNECTIONS + 20)
    ]
    slow = socket.create_connection(("127.0.0.1", server.port))
    slow.sendall(b"GET /metrics HTTP/1.1\r\n")
    for _ in range(5):
        assert fetch(server.url)[0] == 200
    slow.settimeout(20)
    assert slow.recv(10) == b""
    for client in [*silent, slow]:
        client.close()

    assert fetch(server.url)[0] == 200


def test_a_slow_reader_holds_up_nobody(server):
    """Who asks and never reads does not keep others waiting."""
    lazy = socket.create_connection(("127.0.0.1", server.port))
    lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    lazy.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")

    assert fetch(server.url)[0] == 200
    lazy.close()


def test_a_password_guards_metrics_but_not_health():
    """Wrong or missing: 401; right: the page."""
    with monitoring.serve_metrics(port=0, credentials="prom:s3cret") as server:
        right = base64.b64encode(b"prom:s3cret").decode()
        wrong = base64.b64encode(b"prom:other").decode()
        health = server.url.replace("metrics", "healthz")
        answers = [
            fetch(server.url)[0],
            fetch(server.url, Authorization=f"Basic {wrong}")[0],
            fetch(server.url, Authorization=f"Basic {right}")[0],
            fetch(health)[0],
        ]
    monitoring.disable()

    assert answers == [401, 401, 200, 200]


@pytest.mark.parametrize(
    "options",
    [
        {"host": "0.0.0.0"},  # noqa: S104 - refused
        {"host": "0.0.0.0", "credentials": "a:b"},  # noqa: S104 - refused
        {"credentials": "no colon"},
    ],
)
def test_the_network_needs_password_and_tls(options):
    """Anything but loopback without both is refused, and says what to do."""
    with pytest.raises(ValueError, match="credentials"):
        monitoring.serve_metrics(port=0, **options)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a key")
def test_tls_silence_does_not_block_the_handshakes_of_others(tmp_path):
    """Clients that connect and say nothing do not stop a scrape over TLS."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    trust = ssl.create_default_context(cafile=str(certificate))
    with monitoring.serve_metrics(port=0, certfile=certificate, keyfile=key) as server:
        silent = [
            socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)
        ]
        plain = speak(server.port, b"GET /metrics HTTP/1.1\r\n\r\n")
        with urllib.request.urlopen(server.url, timeout=20, context=trust) as answer:
            status = answer.status
        for client in silent:
            client.close()
    monitoring.disable()

    assert status == 200
    assert b"skatra" not in plain


def settled(path):
    """Return the rows a reader gives, once it had time."""
    reader = DatabaseReader(path)
    found = reader.read()
    for _ in range(100):
        if found["db_collect_success"][0][1] or not Path(path).exists():
            break
        time.sleep(0.05)
        found = reader.read()
    reader.close()
    return found


def test_a_database_is_described(tmp_path):
    """Sizes are the file system's, rows are the tables'."""
    path = tmp_path / "x.db"
    with Database(path, create=True) as db:
        db.write_run("first", {})
        found = settled(path)
        size = float(path.stat().st_size)

    assert found["db_collect_success"] == [(("x.db",), 1.0)]
    assert found["db_size_bytes"] == [(("x.db",), size)]
    assert (("x.db", "runs"), 1.0) in found["db_table_rows"]
    written = found["db_last_write_timestamp_seconds"][0][1]
    assert abs(written - time.time()) < 60


def damaged(path):
    """Overwrite a database's header."""
    path.write_bytes(os.urandom(8192))


def missing(path):
    """Remove the file."""
    path.unlink()


@pytest.mark.parametrize("harm", [damaged, missing])
def test_a_bad_database_never_fails_a_scrape(tmp_path, harm):
    """The page answers and says that the file could not be read."""
    path = tmp_path / "x.db"
    Database(path, create=True).close()
    harm(path)
    with monitoring.serve_metrics(port=0, databases=[path]) as server:
        pages = [fetch(server.url) for _ in range(2)]
    monitoring.disable()

    for status, _, body in pages:
        assert status == 200
        assert rows(body, "skatra_db_collect_success") == {'database="x.db"': 0.0}


def test_a_locked_database_never_holds_up_a_scrape(tmp_path):
    """An exclusive lock of another program costs the deadline and no more."""
    path = tmp_path / "x.db"
    Database(path, create=True).close()
    owner = sqlite3.connect(path, isolation_level=None)
    owner.execute("PRAGMA journal_mode = DELETE")
    owner.execute("BEGIN EXCLUSIVE")
    with monitoring.serve_metrics(port=0, databases=[path]) as server:
        pages = [fetch(server.url) for _ in range(3)]
        owner.rollback()
        for _ in range(100):
            later = fetch(server.url)[2]
            if rows(later, "skatra_db_collect_success") == {'database="x.db"': 1.0}:
                break
            time.sleep(0.1)
    owner.close()
    monitoring.disable()

    for status, _, body in pages:
        assert status == 200
        assert rows(body, "skatra_db_collect_success") == {'database="x.db"': 0.0}
        assert rows(body, "skatra_db_size_bytes")
    assert rows(later, "skatra_db_collect_success") == {'database="x.db"': 1.0}


def test_textfiles_appear_whole(tmp_path):
    """The file is complete, world-readable, replaced at once, without leftovers."""
    monitoring.enable(models=["m"])
    path = tmp_path / "skatra.prom"
    path.write_text("old")
    monitoring.write_textfile(path)
    monitoring.disable()

    assert "skatra_build_info" in path.read_text()
    assert "process_" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match=r"\.prom"):
        monitoring.write_textfile(tmp_path / "skatra.txt")
