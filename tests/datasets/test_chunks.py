"""Chunks: even sizes, upgrades from years, and labels that never go stale."""

import contextlib
import sqlite3

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets import Database, load_dataset
from skatra.datasets._chunks import (
    DTYPES,
    MOST_ROWS,
    PACKED,
    ChunkKey,
    decode,
    encode,
)
from skatra.datasets._schema import APPLICATION_ID, SCHEMA_VERSION, apply
from skatra.exceptions import DatabaseCorruptError
from tests.datasets.scratch import as_version_5
from tests.strategies import chunk_values

DAY = 86_400 * 10**9
COPY = (
    "INSERT INTO labels (set_id, sid, t0, t1, ret, label, side, touched) "
    "SELECT set_id, sid, t0 + 1, t1 + 1, ret, label, side, touched FROM labels"
)


def features(symbols, times):
    """Return two features that name their row."""
    index = pd.MultiIndex.from_product([symbols, times], names=["symbol", "time"])
    x = np.arange(float(len(index)))
    return pd.DataFrame({"x": x, "y": -x}, index=index)


def labels_at(index):
    """Return labels for feature rows."""
    t0 = index.get_level_values(1)
    row = {"t1": t0, "ret": 0.5, "label": 1, "side": 1, "touched": "time"}
    return pd.DataFrame(row, index=index.set_names(["symbol", "t0"]))


def sizes(db):
    """Return the rows of each time chunk."""
    with db.pool.get_connection() as connection:
        query = "SELECT n FROM feature_chunks WHERE col = 0 ORDER BY sid, t_lo"
        return [n for (n,) in connection.execute(query)]


@pytest.mark.parametrize("frequency", ["B", "min"])
def test_chunks_hold_about_as_many_rows_whatever_the_bars(tmp_path, frequency):
    """Appends, inserts in the middle and before the start split what fills up."""
    times = pd.date_range("1990-01-01", periods=3 * MOST_ROWS, freq=frequency, tz="UTC")
    frame = features(["A", "B"], times)
    rng = np.random.default_rng(0)
    with Database(tmp_path / "x.db", create=True) as db:
        middle = rng.random(len(frame)) < 0.5
        middle &= frame.index.get_level_values(1) > times[100]
        for part in (frame[middle], frame[~middle].iloc[::-1], frame.iloc[-10:]):
            db.write_features(part, "base")
        pd.testing.assert_frame_equal(
            db.features("base").reset_index(drop=True), frame.reset_index(drop=True)
        )
        low, high = times[MOST_ROWS - 3], times[MOST_ROWS + 3]
        assert len(db.features("base", start=low, end=high)) == 14
        assert db.features("base", start=low, end=low)["x"].tolist() == [
            MOST_ROWS - 3,
            4 * MOST_ROWS - 3,
        ]
        assert sum(sizes(db)) == len(frame)
        assert max(sizes(db)) <= MOST_ROWS
        assert min(sizes(db)) >= MOST_ROWS // 4
        assert db.check() == []


def test_one_more_row_rewrites_only_the_last_chunk(tmp_path):
    """Chunks out of reach keep their rows in the file."""
    times = pd.date_range("1990-01-01", periods=3 * MOST_ROWS + 1, freq="D", tz="UTC")
    frame = features(["A"], times)
    query = "SELECT chunk_id, t_lo, crc32 FROM feature_chunks ORDER BY t_lo, col"
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(frame.iloc[:-1], "base")
        with db.pool.get_connection() as connection:
            before = connection.execute(query).fetchall()
        report = db.write_features(frame.iloc[-1:], "base")
        with db.pool.get_connection() as connection:
            after = connection.execute(query).fetchall()

    assert report.inserted == 1
    assert before[:6] == after[:6]


def version_2(path, frame, labels):
    """Make a file as the second version did: a chunk for each calendar year."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for version in range(2):
            apply(connection, version)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 2")
        connection.execute("INSERT INTO symbols VALUES (1, 'A')")
        connection.execute("INSERT INTO feature_sets VALUES (1, 'base', NULL)")
        connection.execute("INSERT INTO label_sets VALUES (1, 'triple_barrier', NULL)")
        for col, name in enumerate(frame.columns, start=1):
            row = (1, col, name, "f8")
            connection.execute("INSERT INTO feature_columns VALUES (?, ?, ?, ?)", row)
        times = frame.index.get_level_values(1).as_unit("ns")
        for year in sorted(set(times.year)):
            rows = np.flatnonzero(times.year == year)
            columns = [times.asi8, *(frame[name].to_numpy() for name in frame.columns)]
            for col, values in enumerate(columns):
                key = ChunkKey(1, 1, int(year), col)
                connection.execute(
                    "INSERT INTO feature_chunks (set_id, sid, period, col, dtype, n, "
                    "crc32, data) VALUES (1, 1, ?, ?, ?, ?, ?, ?)",
                    (int(year), col, *encode(values[rows], key)),
                )
        for t0, ret in zip(times.asi8.tolist(), labels["ret"], strict=True):
            row = (t0, t0, ret)
            connection.execute(
                "INSERT INTO labels VALUES (1, 1, ?, ?, ?, 1, 1, 'time', NULL)", row
            )
        connection.commit()


def test_a_file_with_chunks_of_years_is_upgraded(tmp_path):
    """Features stay bit for bit, labels get their chunks, a backup stands beside."""
    times = pd.date_range("1995-06-01", periods=2 * MOST_ROWS + 5, freq="D", tz="UTC")
    frame = features(["A"], times)
    frame.iloc[3, 0] = np.nan
    path = tmp_path / "x.db"
    version_2(path, frame, labels_at(frame.index))
    with Database(path) as db:
        stored = db.features("base")
        ds = load_dataset(db)
        problems = db.check()

    assert stored["x"].to_numpy().tobytes() == frame["x"].to_numpy().tobytes()
    assert stored.index.get_level_values(1).equals(times.as_unit("ns"))
    assert len(ds.data) == len(frame)
    assert problems == []
    assert (tmp_path / "x.db.v2.bak").exists()


def test_labels_changed_by_other_programs_are_read_as_they_are(tmp_path):
    """Whatever SQL touches a row of labels, the dataset follows it."""
    days = pd.date_range("2020-01-01", periods=50, tz="UTC")
    frame = features(["A", "B"], days)
    statements = [
        "UPDATE labels SET ret = -0.5, label = -1 WHERE sid = 1 AND label = 1",
        f"DELETE FROM labels WHERE sid = 2 AND t0 / {DAY} % 3 = 0",
        COPY,
        f"UPDATE labels SET touched = 'open' WHERE sid = 1 AND t0 / {DAY} % 2 = 0",
    ]
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(frame, "base")
        db.write_labels(labels_at(frame.index), "triple_barrier")
        for statement in statements:
            with db.pool.get_connection(readonly=False) as connection:
                connection.execute(statement)
            rows = db.labels("triple_barrier")
            closed = rows[rows["touched"] != "open"]
            closed = closed[closed.index.isin(frame.index)]
            ds = load_dataset(db)
            assert ds.returns.sort_index().tolist() == closed["ret"].tolist()
            assert db.check() == []
            db.write_labels(rows.iloc[:1], "triple_barrier")


def test_label_chunks_that_differ_from_their_rows_are_found(tmp_path):
    """check() compares the two."""
    frame = features(["A"], pd.date_range("2020-01-01", periods=5, tz="UTC"))
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_labels(labels_at(frame.index), "triple_barrier")
        with db.pool.get_connection(readonly=False) as connection:
            connection.execute("DROP TRIGGER labels_updated")
            connection.execute("UPDATE labels SET ret = 0.25")
        assert any("chunks and rows differ" in problem for problem in db.check())


@given(values=chunk_values(), packed=st.booleans())
def test_a_chunk_of_any_dtype_comes_back_bit_for_bit(values, packed):
    """Packing loses nothing, is never larger, and the checksum covers it."""
    key = ChunkKey(1, 2, 3, 4)
    name, n, crc, data = encode(values, key, packed=packed)
    stored = (name, n, crc, bytes(data))
    back = decode(stored, key, "it")

    assert back.dtype == values.dtype
    assert back.tobytes() == values.tobytes()
    assert len(data) <= values.nbytes
    assert name.endswith(PACKED) == (len(data) < values.nbytes)
    for k in range(0, len(data), max(1, len(data) // 5)):
        bad = bytearray(data)
        bad[k] ^= 1
        with pytest.raises(DatabaseCorruptError, match="fails its checksum"):
            decode((name, n, crc, bytes(bad)), key, "it")


def dtypes_of(db):
    """Return the stored dtypes of the chunks of features, and their size."""
    with db.pool.get_connection() as connection:
        query = "SELECT dtype, length(data) FROM feature_chunks ORDER BY t_lo, col"
        rows = connection.execute(query).fetchall()
    return {dtype for dtype, _ in rows}, sum(size for _, size in rows)


def test_a_set_stays_packed_until_told_otherwise(tmp_path):
    """What is read, joined and checked is the same; a third of the bytes remain."""
    times = pd.date_range("2000-01-01", periods=2 * MOST_ROWS, tz="UTC")
    frame = features(["A", "B"], times)
    labels = labels_at(frame.index[::3])
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(frame, "plain")
        _, plain = dtypes_of(db)
        with db.pool.get_connection(readonly=False) as connection:
            connection.execute("DELETE FROM feature_chunks")
            connection.execute("DELETE FROM feature_manifests")
        db.write_features(frame.iloc[:100], "base", compression="zlib")
        db.write_features(frame.iloc[100:], "base")
        kinds, packed = dtypes_of(db)
        db.write_labels(labels, "triple_barrier")
        ds = load_dataset(db)
        part = db.features("base", ["y"], "B", times[7], times[-9])

        assert kinds == {"f8z", "i8z"}
        assert packed < plain / 3
        assert db.feature_sets()["base"]["compression"] == "zlib"
        assert ds.data["x"].sort_index().tolist() == frame["x"].iloc[::3].tolist()
        assert part["y"].tolist() == frame["y"].loc["B"].iloc[7:-8].tolist()
        assert db.check() == []

        db.write_features(-frame, "base", compression="none")
        assert dtypes_of(db)[0] <= {"f8", "i8", "i8z"}
        assert db.features("base")["x"].tolist() == (-frame["x"]).tolist()
        with pytest.raises(ValueError, match="compression must be 'zlib'"):
            db.write_features(frame, "base", compression="lz4")


def test_a_flipped_bit_in_a_packed_chunk_is_found(tmp_path):
    """Reading and check() name the set, the symbol and the column."""
    frame = features(["A"], pd.date_range("2000-01-01", periods=500, tz="UTC"))
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(frame, "base", compression="zlib")
        with db.pool.get_connection(readonly=False) as connection:
            query = "SELECT data FROM feature_chunks WHERE col = 2"
            data = bytearray(connection.execute(query).fetchone()[0])
            data[len(data) // 2] ^= 4
            flip = "UPDATE feature_chunks SET data = ? WHERE col = 2"
            connection.execute(flip, (bytes(data),))
        with pytest.raises(DatabaseCorruptError, match="symbol 'A', column 'y'"):
            db.features("base")
        assert len(db.features("base", ["x"])) == 500
        assert any("column 'y'" in problem for problem in db.check())


def test_a_file_of_version_4_is_upgraded(tmp_path):
    """Its sets are not packed, and stay readable; a backup stands beside."""
    path = tmp_path / "x.db"
    frame = features(["A"], pd.date_range("2000-01-01", periods=10, tz="UTC"))
    with Database(path, create=True) as db:
        db.write_features(frame, "base")
    as_version_5(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE feature_sets DROP COLUMN compression")
        connection.execute("PRAGMA user_version = 4")
    with Database(path) as db:
        assert db.info()["schema_version"] == SCHEMA_VERSION
        assert db.feature_sets()["base"]["compression"] == "none"
        assert db.features("base")["x"].tolist() == frame["x"].tolist()
        db.write_features(frame + 1, "base", compression="zlib")
        assert db.check() == []
    assert (tmp_path / "x.db.v4.bak").is_file()


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_an_empty_chunk_is_a_chunk(dtype):
    """No values, packed or not, are no values of that dtype."""
    key = ChunkKey(1, 1, 0, 0)
    values = np.empty(0, dtype=DTYPES[dtype])
    name, n, crc, data = encode(values, key, packed=True)

    assert decode((name, n, crc, bytes(data)), key, "it").dtype == DTYPES[dtype]
