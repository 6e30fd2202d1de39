"""Laws of the exporter: it answers whatever clients and databases do."""

import base64
import contextlib
import gc
import os
import re
import shutil
import socket
import sqlite3
import ssl
import stat
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from skatra import monitoring
from skatra.datasets import Database
from skatra.monitoring._database import DatabaseReader
from skatra.monitoring._server import MAX_CONNECTIONS, MAX_REQUEST, _Stream


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
        (b"GET /metrics HTTP/1.xyz\r\n\r\n", b"400"),
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


@pytest.mark.parametrize(("page", "status"), [("metrics", b"405"), ("other", b"404")])
def test_an_answer_to_head_has_no_body(server, page, status):
    """Only a head comes back, as HTTP asks."""
    answer = speak(server.port, f"HEAD /{page} HTTP/1.1\r\n\r\n".encode())
    head, end, body = answer.partition(b"\r\n\r\n")

    assert (head.split()[1], end, body) == (status, b"\r\n\r\n", b"")


def test_a_taken_port_is_named():
    """The error says which address, and how to get another."""
    with (
        monitoring.serve_metrics(port=0) as server,
        pytest.raises(OSError, match=f"port={server.port}: another program.*or 0"),
    ):
        monitoring.serve_metrics(port=server.port)
    monitoring.disable()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keyfile": "{key}"}, "needs the certfile"),
        ({"certfile": "{junk}"}, "must be a certificate and its own key"),
        ({"certfile": "{cert}"}, "the key in it must be a certificate"),
        ({"certfile": "{cert}", "keyfile": "{junk}"}, "keyfile=.*must be a cert"),
        ({"certfile": "{cert}", "keyfile": "{locked}"}, "keyfile=.*without a password"),
        ({"certfile": "none.pem"}, "certfile is no file: 'none.pem'"),
        ({"certfile": "{cert}", "keyfile": "none.pem"}, "keyfile is no file"),
        ({"port": 70_000}, r"port must be in \[0, 65535\]"),
    ],
)
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a key")
def test_wrong_files_of_tls_are_named(pem, tmp_path, options, message):
    """Which file is missing, is none, or does not belong to the other."""
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    locked = tmp_path / "locked.pem"
    lock = ["openssl", "rsa", "-in", pem[1], "-aes128", "-passout", "pass:abcd"]
    subprocess.run([*lock, "-out", locked], check=True, capture_output=True)
    files = {"cert": pem[0], "key": pem[1], "junk": junk, "locked": locked}
    options = {
        name: value.format(**files) if isinstance(value, str) else value
        for name, value in options.items()
    }

    with pytest.raises((ValueError, OSError), match=message):
        monitoring.serve_metrics(**{"port": 0} | options)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_does_not_keep_the_port():
    """Its parent may close the server and open one there again."""
    code = """
import os, signal, time
from skatra import monitoring
server = monitoring.serve_metrics(port=0)
child = os.fork()
if child == 0:
    time.sleep(60)
    os._exit(0)
try:
    time.sleep(0.5)
    server.close()
    monitoring.serve_metrics(port=server.port).close()
finally:
    os.kill(child, signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


def connect(port):
    """Return a new connection."""
    return socket.create_connection(("127.0.0.1", port), 20)


def gone(client):
    """Return whether the server has closed a connection, waiting for it if need be."""
    client.settimeout(20)
    with contextlib.suppress(ConnectionError):
        while part := client.recv(65536):
            assert part
    return True


def silent(port):
    """Connect and say nothing."""
    return connect(port)


def half_a_hello(port):
    """Send the beginning of a TLS handshake, or nonsense where none is spoken."""
    client = connect(port)
    client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    return client


def half_a_request(port):
    """Send a request that never ends."""
    client = connect(port)
    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
    return client


def oversized(port):
    """Send more than a request may hold."""
    client = connect(port)
    with contextlib.suppress(OSError):
        client.sendall(b"GET /metrics HTTP/1.1\r\nX: " + b"y" * MAX_REQUEST * 8)
    return client


def lazy_reader(port):
    """Ask for the page and never read it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
    return client


def nonsense(port):
    """Send what is neither a handshake nor a request."""
    client = connect(port)
    client.sendall(b"\xff\x00garbage\r\n\r\n")
    return client


HOSTILE = [silent, half_a_hello, half_a_request, oversized, lazy_reader]


def descriptors():
    """Return how many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    """Return a certificate for 127.0.0.1, its key, and who trusts it."""
    folder = tmp_path_factory.mktemp("pem")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key, ssl.create_default_context(cafile=str(certificate))


@pytest.fixture(
    params=[
        "http",
        pytest.param(
            "https",
            marks=pytest.mark.skipif(
                shutil.which("openssl") is None, reason="needs openssl for a key"
            ),
        ),
    ]
)
def public(request):
    """Serve with or without TLS; return the server and how to scrape it."""
    certificate = key = trust = None
    if request.param == "https":
        certificate, key, trust = request.getfixturevalue("pem")
    with monitoring.serve_metrics(port=0, certfile=certificate, keyfile=key) as server:

        def scrape():
            with urllib.request.urlopen(server.url, timeout=20, context=trust) as page:
                return page.status

        yield server, scrape
    monitoring.disable()


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_clients_hold_up_nobody_and_are_cut_off(public, hostile):
    """Scrapes are answered beside fifty of them; none has a thread; all are closed."""
    server, scrape = public
    assert scrape() == 200
    before = threading.active_count()
    clients = [hostile(server.port) for _ in range(50)]

    assert [scrape() for _ in range(3)] == [200] * 3
    assert threading.active_count() == before
    assert all(gone(client) for client in clients)
    for client in clients:
        client.close()
    assert scrape() == 200


@pytest.mark.parametrize("hostile", [*HOSTILE, nonsense])
def test_what_a_client_cost_goes_with_it(public, hostile):
    """No connection waits for the garbage collector, which may not come for long."""
    server, scrape = public
    assert scrape() == 200
    gc.collect()
    gc.disable()
    try:
        for number in range(20):
            with hostile(server.port) as client:
                if number % 2:  # resets the connection when it closes
                    no_delay = struct.pack("ii", 1, 0)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_delay)
                client.settimeout(0.01)
                with contextlib.suppress(OSError):
                    client.recv(1)
        with hostile(server.port) as client:
            assert gone(client)
        assert scrape() == 200
        assert streams(at_most=0) == 0
    finally:
        gc.enable()


def streams(at_most):
    """Return how many clients cost memory, once they are few enough or time is up."""
    for _ in range(200):
        left = sum(type(found) is _Stream for found in gc.get_objects())
        if left <= at_most:
            break
        time.sleep(0.05)
    return left


def test_what_a_client_cost_goes_with_it_when_it_makes_room(server):
    """Those that are cut off for newer ones do not wait for the collector either."""
    gc.collect()
    gc.disable()
    try:
        clients = [silent(server.port) for _ in range(MAX_CONNECTIONS + 100)]
        assert streams(at_most=MAX_CONNECTIONS) <= MAX_CONNECTIONS
        for client in clients:
            client.close()
        assert streams(at_most=0) == 0
    finally:
        gc.enable()


def test_a_dripping_client_is_cut_off_however_often_it_speaks(public):
    """The time for a request is for all of it, not for each byte."""
    server, scrape = public
    client = half_a_request(server.port)
    for _ in range(400):
        try:
            client.sendall(b"X")
        except OSError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("a request may last for twenty seconds")
    client.close()

    assert scrape() == 200


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_silent_clients_are_bounded_also_before_their_handshake(public):
    """Beyond the limit the oldest is closed at once, so descriptors do not run out."""
    server, scrape = public
    assert scrape() == 200
    before = descriptors()
    clients = []
    for _ in range(MAX_CONNECTIONS + 100):
        clients.append(silent(server.port))
        if not len(clients) % 50:
            assert scrape() == 200
    held = descriptors() - before - len(clients)
    for client in clients[:50]:
        assert gone(client)
    for client in clients:
        client.close()

    assert held <= MAX_CONNECTIONS + 8
    assert scrape() == 200


def test_a_scheme_of_any_letters_is_refused_like_any_other():
    """Some letters have capitals that no header can hold."""
    with monitoring.serve_metrics(port=0, credentials="prom:s3cret") as server:
        head = b"GET /metrics HTTP/1.1\r\nAuthorization: %b x\r\n\r\n"
        answers = [speak(server.port, head % letter) for letter in (b"\xff", b"\xb5")]
    monitoring.disable()

    assert [answer.split()[1] for answer in answers] == [b"401", b"401"]


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
            fetch(server.url, Authorization=f"basic  {right}")[0],
            fetch(health)[0],
        ]
    monitoring.disable()

    assert answers == [401, 401, 200, 200, 200]


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


def test_databases_of_one_name_are_refused(tmp_path):
    """Their samples would have the same labels, and one of them would vanish."""
    with pytest.raises(ValueError, match="several called 'x"):
        monitoring.serve_metrics(
            port=0, databases=[tmp_path / "a" / "x.db", tmp_path / "b" / "x.db"]
        )


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
