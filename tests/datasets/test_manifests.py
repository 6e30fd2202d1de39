"""Reading gives what was written or a named error, whatever bit of the file flips."""

import contextlib
import sqlite3
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatra.datasets import Database, _chunks, load_dataset
from skatra.datasets._errors import translate
from skatra.datasets._feature_reader import FeatureReader
from skatra.datasets._features import check_features
from skatra.datasets._label_chunks import check_label_chunks, read_label_arrays
from skatra.datasets._manifests import Manifest
from skatra.datasets._tables import chosen_symbols, find_set
from skatra.exceptions import DatabaseCorruptError, DatabaseError, EmptyDataError
from tests.datasets.scratch import as_version_5

EVER = (-(2**63) + 1, 2**63 - 1)
DAYS = pd.date_range("2000-01-01", periods=70, tz="UTC")
BOUNDS = (DAYS[15].value, DAYS[30].value)
FLIPS = 250


def features(symbols="ABC", value=0.0):
    """Return two features that name their row."""
    index = pd.MultiIndex.from_product([list(symbols), DAYS], names=["symbol", "time"])
    x = np.arange(float(len(index))) + value
    return pd.DataFrame({"x": x, "y": -x}, index=index)


def labels(frame, ret=0.5):
    """Return labels for feature rows."""
    t1 = frame.index.get_level_values(1)
    row = {"t1": t1, "ret": ret, "label": 1, "side": 1, "touched": "time"}
    return pd.DataFrame(row, index=frame.index.set_names(["symbol", "t0"]))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Give a file of two feature sets and a label set in chunks of 20 rows."""
    path = tmp_path_factory.mktemp("small") / "x.db"
    with pytest.MonkeyPatch.context() as patch, Database(path, create=True) as db:
        patch.setattr(_chunks, "MOST_ROWS", 20)
        db.write_features(features(), "base")
        db.write_features(features(value=0.5), "case")
        db.write_labels(labels(features()), "tb")
        db.vacuum()
    return path


def in_memory(data):
    """Open the bytes of a file."""
    plain = bytearray(data)
    plain[18:20] = b"\1\1"  # no write-ahead log
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(bytes(plain))
    return contextlib.closing(connection)


def read_features(connection, symbols=None, columns=None, bounds=EVER, name="base"):
    """Return a frame and its bytes."""
    reader = FeatureReader(connection, name, columns, *bounds)
    frame = reader.frame(chosen_symbols(connection, symbols, [reader.read_set]))
    return list(frame), list(frame.index), frame.to_numpy().tobytes()


def read_labels(connection, bounds=EVER):
    """Return the bytes of every column of the labels."""
    label_set = find_set(connection, "label", "tb"), "tb"
    symbols = chosen_symbols(connection, None, [("label", label_set[0])])
    arrays, counts = read_label_arrays(connection, label_set, symbols, bounds)
    return counts.tolist(), [column.tobytes() for column in arrays.columns()]


READS = {
    "all features": read_features,
    "some features": lambda c: read_features(c, ["B"], ["y"], BOUNDS),
    "another set": lambda c: read_features(c, name="case"),
    "labels": read_labels,
    "some labels": lambda c: read_labels(c, BOUNDS),
}


def places(path):
    """Return where the bytes of every page begin but for the chunks' own values."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        try:
            rows = connection.execute("SELECT name, pageno FROM dbstat").fetchall()
        except sqlite3.OperationalError:
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            rows = [("", page) for page in range(1, pages + 1)]
    values = ("feature_chunks", "label_chunks")
    return size, [(page - 1) * size for name, page in rows if name not in values]


def test_no_flipped_bit_changes_what_is_read(small):
    """In the index, the lists, the symbols, the sets: the same, or a named error."""
    whole = small.read_bytes()
    size, pages = places(small)
    rng = np.random.default_rng(0)
    with in_memory(whole) as connection:
        expected = {what: read(connection) for what, read in READS.items()}
    refused = 0
    for _ in range(FLIPS):
        page = int(rng.choice(pages))
        used = int.from_bytes(whole[page + 5 : page + 7], "big") % size
        head, body = rng.integers(0, 80), rng.integers(used, size)
        place = page + int(rng.choice([head, body, body]))
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        with in_memory(data) as connection:
            for what, read in READS.items():
                try:
                    found = read(connection)
                except Exception as error:  # noqa: BLE001
                    named = translate(error, small)
                    if "no such " not in str(named):  # named by Database
                        assert isinstance(named, DatabaseError), (place, what)
                    refused += 1
                else:
                    assert found == expected[what], (place, what)
    assert refused > FLIPS // 5


@pytest.mark.parametrize("kind", ["feature", "label"])
def test_every_chunk_that_is_gone_is_missed(small, kind):
    """By whoever reads its time and column, and by check()."""
    with in_memory(small.read_bytes()) as connection:
        assert check_features(connection) == check_label_chunks(connection) == []
        chunks = connection.execute(
            f"SELECT chunk_id, t_lo FROM {kind}_chunks WHERE set_id = 1"
        ).fetchall()
        assert len(chunks) == 4 * 3 * {"feature": 3, "label": 6}[kind]
        read = {"feature": read_features, "label": read_labels}[kind]
        for number, start in chunks:
            connection.execute("BEGIN")
            connection.execute(
                f"DELETE FROM {kind}_chunks WHERE chunk_id = ?", (number,)
            )
            with pytest.raises(DatabaseCorruptError, match="are missing"):
                read(connection)
            with pytest.raises(DatabaseCorruptError, match="are missing"):
                read(connection, bounds=(start, start))
            assert check_features(connection) + check_label_chunks(connection)
            connection.execute("ROLLBACK")
        assert check_features(connection) == check_label_chunks(connection) == []


OTHER = "SELECT crc32, chunks FROM {0}_manifests WHERE sid = 1 AND set_id = 1"
TWICE = (
    "INSERT INTO {0}_chunks (set_id, sid, t_lo, col, dtype, n, crc32, data) "
    "SELECT set_id, sid, t_lo + 1, col, dtype, n, crc32, data FROM {0}_chunks "
    "WHERE sid = 2"
)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM {}_manifests WHERE sid = 2",
        "DELETE FROM {}_chunks WHERE sid = 2",
        "UPDATE {}_manifests SET crc32 = crc32 + 1 WHERE sid = 2",
        "UPDATE {}_manifests SET chunks = zeroblob(7) WHERE sid = 2",
        f"UPDATE {{0}}_manifests SET (crc32, chunks) = ({OTHER}) WHERE sid = 2",
        TWICE,
    ],
)
@pytest.mark.parametrize("kind", ["feature", "label"])
def test_lists_and_chunks_must_agree(small, kind, damage):
    """A list that is gone, changed, another symbol's, or names fewer than there are."""
    read = {"feature": read_features, "label": read_labels}[kind]
    with in_memory(small.read_bytes()) as connection:
        connection.execute(damage.format(kind))
        with pytest.raises(DatabaseCorruptError, match=r"'B'.*with replace=True"):
            read(connection)
        problems = check_features(connection) + check_label_chunks(connection)
        assert problems
        assert all("symbol 'B'" in problem for problem in problems)


def test_columns_of_a_set_must_be_those_that_were_written(small):
    """Two that were exchanged, or one that is gone, are not read as if nothing were."""
    to = "UPDATE feature_columns SET name = '{}' WHERE name = '{}';".format
    exchange = to("z", "x") + to("x", "y") + to("y", "z")
    for damage in (exchange, "DELETE FROM feature_columns WHERE name = 'x'"):
        with in_memory(small.read_bytes()) as connection:
            connection.executescript(damage)
            for columns in (None, ["x"], ["y"]):
                with pytest.raises(DatabaseCorruptError, match="fails its checksum"):
                    read_features(connection, columns=columns)


def test_a_symbol_that_is_gone_is_missed(small):
    """When all are read; the others can still be read by name."""
    with in_memory(small.read_bytes()) as connection:
        whole = read_features(connection, "C")
        connection.execute("DELETE FROM symbols WHERE symbol = 'A'")
        for read in (read_features, read_labels):
            with pytest.raises(DatabaseCorruptError, match="the table symbols"):
                read(connection)
        assert read_features(connection, "C") == whole


def test_a_symbol_that_is_gone_concerns_the_sets_that_have_it(small):
    """Other sets, and tables without lists, are read as before."""
    with in_memory(small.read_bytes()) as connection:
        base, labels_set = (
            find_set(connection, kind, name)
            for kind, name in (("feature", "base"), ("label", "tb"))
        )
        connection.execute("DELETE FROM symbols WHERE symbol = 'A'")
        connection.execute(
            "DELETE FROM feature_manifests WHERE sid = 1 AND set_id = ?", (base,)
        )
        assert list(chosen_symbols(connection, None)) == ["B", "C"]
        chosen_symbols(connection, None, [("feature", base)])
        with pytest.raises(DatabaseCorruptError, match="the table symbols"):
            chosen_symbols(connection, None, [("label", labels_set)])


def test_named_symbols_are_looked_up_without_reading_all(small):
    """The whole table is compared with its index only when one is unknown."""
    with in_memory(small.read_bytes()) as connection:
        run = []
        connection.set_trace_callback(run.append)
        assert list(chosen_symbols(connection, ["C", "B"])) == ["B", "C"]
        assert run
        assert all("WHERE s" in statement for statement in run)
        connection.set_trace_callback(None)
        connection.execute("UPDATE symbols SET symbol = 'X' WHERE symbol = 'B'")
        with pytest.raises(EmptyDataError, match=r"no 'B'; it has 'A', 'C', 'X'"):
            chosen_symbols(connection, ["C", "B"])


def test_the_checksum_of_a_list_does_not_depend_on_unicode_tables(tmp_path):
    """Python prints a name as it is or escaped, by what its version knows of it."""
    name = "\u00e9\u0378\U0001fae9"
    frame = features("A").rename(columns={"x": name})
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_features(frame, "base")
        query = "SELECT sid, crc32, chunks FROM feature_manifests"
        sid, crc, chunks = db.read_sql(query).iloc[0]
        assert list(db.features("base")) == [name, "y"]
    columns = r'[["\u00e9\u0378\ud83e\udee9", [1, "f8"]], ["y", [2, "f8"]]]'
    head = f"feature_manifests/1/{columns}/{sid}/".encode("ascii")
    assert crc == zlib.crc32(head + chunks)


def test_chunks_out_of_reach_may_be_missing(small):
    """A range that was read whole is whole."""
    with in_memory(small.read_bytes()) as connection:
        whole = (
            read_features(connection, bounds=BOUNDS),
            read_labels(connection, BOUNDS),
        )
        for kind in ("feature", "label"):
            connection.execute(f"DELETE FROM {kind}_chunks WHERE t_lo > {BOUNDS[1]}")
        assert read_features(connection, bounds=BOUNDS) == whole[0]
        assert read_labels(connection, BOUNDS) == whole[1]


@given(
    starts=st.lists(st.integers(0, 50), unique=True).map(sorted),
    ends=st.tuples(st.integers(-5, 55), st.integers(-5, 55)),
)
def test_a_list_tells_which_chunks_a_range_touches(starts, ends):
    """A chunk reaches up to the next one's start."""
    low, high = sorted(ends)
    found = Manifest(starts, [1] * len(starts)).touching(low, high)
    expected = [
        start
        for start, after in zip(starts, [*starts[1:], 99], strict=False)
        if start <= high and after > low
    ]
    assert found.starts == expected
    assert len(found.counts) == len(expected)


def test_what_was_damaged_can_be_written_again(small, tmp_path):
    """As the message says: with replace=True."""
    path = tmp_path / "x.db"
    path.write_bytes(small.read_bytes())
    with Database(path) as db:
        before = db.features("base"), load_dataset(db, "base", "tb").data
        with db.transaction() as connection:
            connection.execute("UPDATE feature_manifests SET crc32 = 0 WHERE sid = 2")
            connection.execute("DELETE FROM label_chunks WHERE sid = 2 AND col = 0")
        base, case = features().loc[["B"]], features(value=0.5).loc[["B"]]
        with pytest.raises(DatabaseCorruptError):
            db.write_features(base, "base")
        db.write_features(base, "base", replace=True)
        db.write_features(case, "case", replace=True)
        db.write_labels(labels(base), "tb", replace=True)
        assert db.check() == []
        pd.testing.assert_frame_equal(db.features("base"), before[0])
        pd.testing.assert_frame_equal(load_dataset(db, "base", "tb").data, before[1])


def test_a_file_of_version_5_is_upgraded(small, tmp_path):
    """Its chunks are listed; what is read stays the same."""
    path = tmp_path / "x.db"
    path.write_bytes(small.read_bytes())
    with Database(path) as db:
        before = db.features("base"), load_dataset(db, "base", "tb")
    as_version_5(path)
    with Database(path) as db:
        pd.testing.assert_frame_equal(db.features("base"), before[0])
        pd.testing.assert_frame_equal(
            load_dataset(db, "base", "tb").data, before[1].data
        )
        assert db.check() == []
        with db.transaction() as connection:
            connection.execute("UPDATE labels SET ret = 0.25")
        assert set(load_dataset(db, "base", "tb").returns) == {0.25}
        assert db.check() == []
    assert Path(f"{path}.v5.bak").is_file()


@pytest.mark.parametrize("version", [2, 4])
def test_a_wrong_version_in_the_first_page_is_named(small, tmp_path, version):
    """Tables that are there already cannot be made."""
    path = tmp_path / "x.db"
    path.write_bytes(small.read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(DatabaseCorruptError, match="not those that skatra made"):
        Database(path)


def test_a_column_that_another_program_renamed_is_named(small, tmp_path):
    """Reading and check() say so; SQL of the user's own stays SQLite's matter."""
    path = tmp_path / "x.db"
    path.write_bytes(small.read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE feature_columns RENAME COLUMN dtype TO type")
    with Database(path) as db:
        with pytest.raises(DatabaseCorruptError, match="no such column: dtype"):
            db.features("base")
        assert any("no such column: dtype" in problem for problem in db.check())
        with pytest.raises(sqlite3.OperationalError, match="no such column: nope"):
            db.read_sql("SELECT nope FROM bars")


def test_rows_of_a_wrong_type_are_named(small, tmp_path):
    """What the tables' types forbid was not written."""
    path = tmp_path / "x.db"
    path.write_bytes(small.read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        loose = "replace(replace(sql, 'STRICT, ', ''), 'ret REAL', 'ret TEXT')"
        change = f"UPDATE sqlite_schema SET sql = {loose} WHERE name = 'labels'"
        connection.execute(change)
        connection.commit()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE labels SET ret = 'much'")
        connection.execute("UPDATE label_sets SET spec = '{'")
        connection.commit()
    with Database(path) as db:
        with pytest.raises(DatabaseCorruptError, match="the table labels"):
            db.labels("tb")
        with pytest.raises(DatabaseCorruptError, match="the table labels"):
            load_dataset(db, "base", "tb")
        with pytest.raises(DatabaseCorruptError, match="the table label_sets"):
            db.label_sets()


def test_no_flipped_bit_of_the_first_page_is_a_riddle(small, tmp_path):
    """Opening, reading and check() name what is wrong with header and schema."""
    whole = small.read_bytes()
    rng = np.random.default_rng(1)
    used = int.from_bytes(whole[105:107], "big")
    with Database(small) as db:
        expected = db.features("base")
    for number in range(30):
        place = int(rng.choice([rng.integers(100), rng.integers(used, 16_384)]))
        data = bytearray(whole)
        data[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"{number}.db"
        path.write_bytes(data)
        try:
            with Database(path, readonly=number % 2 == 0) as db:
                assert db.features("base").equals(expected)
                db.check()
        except DatabaseError:
            pass


def test_settlements_that_end_before_they_start_are_found(small, tmp_path):
    """As labels are."""
    path = tmp_path / "x.db"
    path.write_bytes(small.read_bytes())
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("INSERT INTO predictions VALUES ('m', 1, 5, 0.6, 0.1)")
        connection.execute("INSERT INTO settlements VALUES ('m', 1, 5, 4, 0.1)")
        connection.commit()
    with Database(path) as db:
        assert "1 settlements end before they start (t1 < t0)." in db.check()


def test_check_sees_one_state_while_others_write(tmp_path):
    """A sound file is sound at every moment."""
    frame = features()
    with Database(tmp_path / "x.db", create=True) as db:
        done = threading.Event()

        def write():
            number = 0
            while not done.is_set():
                number += 1
                db.write_labels(labels(frame, float(number)), "tb")
                wide = pd.concat([frame + number] * (1 + number % 3), axis=1)
                wide.columns = [f"c{k}" for k in range(wide.shape[1])]
                spec = {"columns": wide.shape[1]}
                db.write_features(wide, "base", spec, replace=True)

        thread = threading.Thread(target=write)
        thread.start()
        try:
            until, seen = time.monotonic() + 2, []
            while time.monotonic() < until:
                seen += db.check()
        finally:
            done.set()
            thread.join(60)
        assert seen == []
        assert db.check() == []
