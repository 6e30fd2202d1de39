"""What being watched costs: instruments, scrapes, the database reader, bad clients.

One-row, 100-row and 1,000-row predictions of KellyClassifier around LightGBM with
monitoring off and on, in turns; the instruments alone, beside the same five metrics
(calls in progress, duration, rows, probability, failures) on bare prometheus_client and
on OpenTelemetry; a scrape of the full page; reading a database; and scrapes, plain and
over TLS, while another process keeps 200 bad clients on the exporter: silent ones, ones
that drip a request byte by byte or never read the answer, oversized and malformed
requests, handshakes that stop half-way.

limit
    An empty call, and for the page its bytes written once to a socket.

    python benchmarks/bench_monitoring.py            # about three minutes
"""

import contextlib
import gc
import json
import multiprocessing
import os
import platform
import resource
import socket
import ssl
import subprocess
import tempfile
import threading
import urllib.request
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from time import perf_counter, perf_counter_ns, sleep

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from lightgbm import LGBMClassifier

from skatra import monitoring
from skatra.datasets import Database
from skatra.monitoring._database import DatabaseReader
from skatra.monitoring._instruments import recorder
from skatra.monitoring._render import Page
from skatra.sizing import KellyClassifier
from skatra.utils import observation

RESULTS = Path(__file__).parent / "results" / "bench_monitoring.json"
ROWS = (1, 100, 1000)


def fastest(call, number, repeat=7):
    """Return the best mean microseconds of one call."""
    best = float("inf")
    for _ in range(repeat):
        start = perf_counter_ns()
        for _ in range(number):
            call()
        best = min(best, (perf_counter_ns() - start) / number)
    return best / 1e3


def paired(off, on, repeat):
    """Return median microseconds off and the median of on - off, in turns."""
    calm, added = [], []
    for turn in range(repeat):
        first, second = (off, on) if turn % 2 else (on, off)
        start = perf_counter_ns()
        first()
        middle = perf_counter_ns()
        second()
        end = perf_counter_ns()
        a, b = middle - start, end - middle
        plain, watched = (a, b) if turn % 2 else (b, a)
        calm.append(plain)
        added.append(watched - plain)
    return median(calm) / 1e3, median(added) / 1e3


def prometheus_instruments():
    """Return a function that does our work with bare prometheus_client, or None."""
    import prometheus_client as prom

    registry = prom.CollectorRegistry()
    progress = prom.Gauge("p", "p", ["model"], registry=registry).labels("m")
    seconds = prom.Histogram("s", "s", ["model", "method"], registry=registry)
    seconds = seconds.labels("m", "predict_proba")
    rows = prom.Counter("r", "r", ["model", "method"], registry=registry)
    rows = rows.labels("m", "predict_proba")
    edges = [round(0.05 * k, 2) for k in range(1, 21)]
    seen = prom.Histogram("q", "q", ["model"], buckets=edges, registry=registry)
    seen = seen.labels("m")

    def record(values):
        progress.inc()
        start = perf_counter()
        progress.dec()
        seconds.observe(perf_counter() - start)
        rows.inc(len(values))
        for value in values[:, 1].tolist():
            seen.observe(value)

    return record


def opentelemetry_instruments():
    """Return the same on OpenTelemetry, or None if it is not installed."""
    try:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    except ImportError:
        return None
    meter = MeterProvider([InMemoryMetricReader()]).get_meter("bench")
    progress = meter.create_up_down_counter("p")
    seconds = meter.create_histogram("s")
    rows = meter.create_counter("r")
    seen = meter.create_histogram("q")
    model, both = {"model": "m"}, {"model": "m", "method": "predict_proba"}

    def record(values):
        progress.add(1, model)
        start = perf_counter()
        progress.add(-1, model)
        seconds.record(perf_counter() - start, both)
        rows.add(len(values), both)
        for value in values[:, 1].tolist():
            seen.record(value, model)

    return record


def instruments(table):
    """Time the instruments alone, for 1, 100 and 1,000 rows."""
    observer = recorder()
    table("empty call", fastest(lambda: None, 200_000), "us")
    observation.set_observer(None)

    def off():
        if observation.observer is not None:
            raise AssertionError

    table("report when off", fastest(off, 200_000), "us")
    table(
        "record_outcomes when off",
        fastest(lambda: monitoring.record_outcomes("m", (), ()), 200_000),
        "us",
    )
    contenders = {
        "prometheus_client": prometheus_instruments(),
        "OpenTelemetry": opentelemetry_instruments(),
    }
    for n in ROWS:
        values = np.random.default_rng(0).random((n, 2))
        number = 20_000 // n + 20
        with monitoring.scope(model="m", strategy="s"):
            cost = fastest(
                lambda values=values: observer.predict(
                    "predict_proba", lambda _: values, None
                ),
                number,
            )
        table(f"{n} rows, skatra", cost, "us")
        for name, record in contenders.items():
            if record is None:
                table(f"{n} rows, {name}", None, "not installed")
            else:
                table(
                    f"{n} rows, {name}",
                    fastest(lambda r=record, v=values: r(v), number, 3),
                    "us",
                )


def predictions(table):
    """Time predict_proba off and on, in turns."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 20))
    returns = 0.01 * X[:, 0] + rng.normal(scale=0.02, size=3000)
    booster = LGBMClassifier(n_estimators=200, verbose=-1, n_jobs=1)
    model = KellyClassifier(booster).fit(X, returns > 0, returns=returns)
    observer = recorder()

    for n in ROWS:
        rows = X[:n]

        def off(rows=rows):
            observation.observer = None
            model.predict_proba(rows)

        def on(rows=rows):
            observation.observer = observer
            model.predict_proba(rows)

        with warnings.catch_warnings(), monitoring.scope(model="m"):
            warnings.simplefilter("ignore")
            off()
            on()
            calm, added = paired(off, on, 3000 if n == 1 else 600)
        table(f"predict_proba of {n} rows, off", calm, "us")
        table(f"predict_proba of {n} rows, added when on", added, "us")
        table(f"predict_proba of {n} rows, share added", 100 * added / calm, "%")
    observation.set_observer(observer)


def scrapes(table, folder):
    """Time the page, its samples and the database reader."""
    path = folder / "market.db"
    with Database(path, create=True) as db:
        for number in range(50):
            db.write_run(f"run{number}", {})
        reader = DatabaseReader(path)
        page = Page([reader])
        text = page.render()
        table("samples on the page", float(samples(text)), "")
        table("page, bytes", float(len(text)), "B")
        table("rendering the page", fastest(page.render, 5, 5) / 1e3, "ms")
        left, right = socket.socketpair()
        drain = threading.Thread(target=lambda: consume(right), daemon=True)
        drain.start()
        table(
            "limit: its bytes to a socket",
            fastest(lambda: left.sendall(text), 20) / 1e3,
            "ms",
        )
        left.close()
        table("database reader", fastest(reader.read, 50) / 1e3, "ms")
        reader.close()


def samples(text):
    """Return the number of samples on a page."""
    return sum(not line.startswith(b"#") for line in text.splitlines())


def consume(end):
    """Read until the other end closes."""
    while end.recv(1 << 16):
        pass


ATTACKS = {
    "silent": b"",
    "slow loris": b"GET /metrics HTTP/1.1\r\n",
    "slow reader": b"GET /metrics HTTP/1.1\r\n\r\n",
    "oversized": b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 60_000,
    "malformed": b"\xff\x00garbage\r\n\r\n",
    "half a hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}
"""Kinds of bad clients, and what each says."""
SHAKE_HANDS = {"slow loris", "slow reader", "oversized"}
"""Those that misbehave after the TLS handshake; the others never finish it."""


def attack(port, kind, tls):
    """Return a connection that misbehaves."""
    client = socket.socket()
    client.settimeout(20)
    if kind == "slow reader":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    with contextlib.suppress(OSError):
        client.connect(("127.0.0.1", port))
        if tls and kind in SHAKE_HANDS:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            client = context.wrap_socket(client)
        client.setblocking(False)
        client.send(ATTACKS[kind])
    client.setblocking(False)
    return client


def is_open(client, kind):
    """Return whether a bad client is still connected, after it dripped or sipped."""
    try:
        if kind == "slow loris":
            client.send(b"X")
        return bool(client.recv(1))
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return True
    except OSError:
        return False


def besiege(port, kinds, tls, stop):
    """Keep 200 bad clients connected, new ones for those cut off; runs elsewhere."""
    kinds = [kinds[n % len(kinds)] for n in range(200)]
    clients = [attack(port, kind, tls) for kind in kinds]
    while not stop.is_set():
        for place, kind in enumerate(kinds):
            if not is_open(clients[place], kind):
                clients[place].close()
                clients[place] = attack(port, kind, tls)
        stop.wait(0.25)


def hostile(table, folder):
    """Time scrapes, plain and over TLS, calm and beside 200 bad clients."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(  # noqa: S603
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",  # noqa: S607
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    trust = ssl.create_default_context(cafile=str(certificate))
    for protocol, files in (
        ("http", {}),
        ("https", {"certfile": certificate, "keyfile": key}),
    ):
        with monitoring.serve_metrics(port=0, **files) as server:
            context = trust if files else None

            def scrape(url=server.url, context=context):
                start = perf_counter()
                with urllib.request.urlopen(url, timeout=30, context=context) as page:
                    page.read()
                return (perf_counter() - start) * 1e3

            for _ in range(20):
                scrape()
            calm = sorted(scrape() for _ in range(200))
            table(f"{protocol}, calm, median of a scrape", calm[100], "ms")
            table(f"{protocol}, calm, p99", calm[197], "ms")
            siege(table, protocol, server.port, scrape)


def siege(table, protocol, port, scrape):
    """Measure beside each kind of bad client, then beside all for longer."""
    spawn = multiprocessing.get_context("spawn")
    resident = []
    for kinds in (*((kind,) for kind in ATTACKS), tuple(ATTACKS)):
        stop = spawn.Event()
        attacker = spawn.Process(
            target=besiege, args=(port, kinds, protocol == "https", stop), daemon=True
        )
        attacker.start()
        sleep(3.0)
        resident.append(memory())
        took = sorted(scrape() for _ in range(300))
        if len(kinds) > 1:
            end = perf_counter() + 20.0
            while perf_counter() < end:
                resident.append(memory())
                took.append(scrape())
                sleep(0.02)
            took.sort()
        name = kinds[0] if len(kinds) == 1 else "all kinds"
        table(f"{protocol}, 200 x {name}, p99", took[int(0.99 * len(took))], "ms")
        if len(kinds) > 1:
            table(f"{protocol}, 200 x {name}, slowest", took[-1], "ms")
            table(f"{protocol}, threads", float(threading.active_count()), "")
            gc.collect()
            # The first siege fills caches and the allocator's free lists.
            grown = (max(resident[1:]) - resident[0]) / 1e6
            table(f"{protocol}, memory grown from first siege to last", grown, "MB")
        stop.set()
        attacker.join(10.0)


def memory():
    """Return the resident bytes of this process."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    rows = []

    def table(task, value, unit):
        rows.append({"task": task, "value": value, "unit": unit})
        shown = "absent" if value is None else f"{value:.3f}"
        print(f"{task:52} {shown:>12} {unit}", flush=True)

    monitoring.enable(
        models=["m"], strategies=["s"], symbols=["A", "B", "C"], databases=["market.db"]
    )
    instruments(table)
    observation.set_observer(recorder())
    predictions(table)
    with tempfile.TemporaryDirectory() as folder:
        scrapes(table, Path(folder))
        hostile(table, Path(folder))
    versions = {}
    for name in ("prometheus-client", "opentelemetry-sdk", "lightgbm"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    machine = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "load": os.getloadavg()[0],
        "peers": versions,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    document = {"machine": machine, "rows": rows}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
