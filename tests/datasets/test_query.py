"""read_sql: the dtypes of the values, exactly, for any query."""

import contextlib
import sqlite3

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skatra.datasets import Database, make_edge_bars
from skatra.exceptions import DatabaseCorruptError, DatabaseError, QueryTimeoutError
from skatra.features import price_features
from tests.datasets.scratch import fresh

BIG = 2**53 + 1
VALUES = {
    "INTEGER": st.integers(-(2**63), 2**63 - 1),
    "REAL": st.floats(allow_nan=False),
    "TEXT": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    "BLOB": st.binary(max_size=5),
}
DTYPES = {"INTEGER": "int64", "REAL": "float64", "TEXT": "str", "BLOB": "object"}


@settings(max_examples=60)
@given(data=st.data())
def test_every_value_comes_back(data):
    """Any columns with and without NULL, also none at all: value and dtype."""
    kinds = data.draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=4))
    some = [VALUES[kind] for kind in kinds]
    rows = data.draw(
        st.lists(st.tuples(*(v | st.none() for v in some)), max_size=6)
        | st.lists(st.tuples(*some), max_size=6)
    )
    columns = ", ".join(f"c{k} {kind}" for k, kind in enumerate(kinds))
    with fresh() as db:
        with db.pool.get_connection(readonly=False) as connection:
            connection.execute(f"CREATE TABLE t ({columns}) STRICT")
            marks = ", ".join("?" * len(kinds))
            connection.executemany(f"INSERT INTO t VALUES ({marks})", rows)
        frame = db.read_sql("SELECT * FROM t ORDER BY rowid")

    assert list(frame.columns) == [f"c{k}" for k in range(len(kinds))]
    for k, kind in enumerate(kinds):
        values = [row[k] for row in rows]
        back = [None if v is pd.NA or v != v else v for v in frame[f"c{k}"].tolist()]  # noqa: PLR0124
        expected = DTYPES[kind]
        if kind == "INTEGER" and None in values:
            expected = "Int64"
        assert back == values
        assert str(frame[f"c{k}"].dtype) == expected


def test_many_rows_keep_types_that_change_late():
    """A NULL, a text or a real after many blocks changes the whole column rightly."""
    query = f"""
        WITH RECURSIVE c (x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM c WHERE x < 20000)
        SELECT x, iif(x = 15000, NULL, x + {BIG}) AS n, iif(x = 15000, 0.5, x) AS r,
            iif(x = 15000, 0.5, x + {BIG}) AS o, 's' || (x % 7) AS s,
            iif(x < 15000, NULL, x * 0.5) AS f FROM c
    """
    with Database(":memory:") as db:
        frame = db.read_sql(query)

    x = np.arange(20001)
    assert frame.dtypes.astype(str).tolist() == [
        "int64",
        "Int64",
        "float64",
        "object",
        "str",
        "float64",
    ]
    assert frame["n"].isna().sum() == 1
    assert frame["n"].iloc[-1] == 20000 + BIG
    assert frame["o"].iloc[-1] == 20000 + BIG
    assert (frame["r"].drop(15000) == np.delete(x, 15000)).all()
    assert (frame["s"] == pd.Series(x % 7).map("s{}".format)).all()
    assert frame["f"].isna().sum() == 15000


def test_parameters_names_and_mistakes():
    """Both kinds of parameters; repeated names stay; errors say what is wrong."""
    with Database(":memory:") as db:
        assert db.read_sql("SELECT ? AS a, ? AS a", (1, "x")).columns.tolist() == [
            "a",
            "a",
        ]
        assert db.read_sql("SELECT :a AS b", {"a": 5})["b"].tolist() == [5]
        empty = db.read_sql("SELECT ts, open FROM bars WHERE ts > ?", (0,))
        assert empty.dtypes.astype(str).tolist() == ["int64", "float64"]
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            db.read_sql("SELECT * FROM absent")
        with pytest.raises(ValueError, match="must return rows"):
            db.read_sql("BEGIN")
        endless = (
            "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
            "SELECT max(x) FROM c"
        )
        with pytest.raises(QueryTimeoutError):
            db.read_sql(endless, limit=0.05)


@pytest.mark.parametrize("chosen", ["r AS y", "max(r) AS y", "DISTINCT r AS y"])
def test_a_column_without_values_does_not_run_the_query_again(chosen):
    """It ends where it ends on the rows that there are; types are known all the same.

    This one would never end on empty tables, which are what the types are taken from.
    """
    with Database(":memory:") as db:
        db.write_run("r", {})
        with db.pool.get_connection(readonly=False) as connection:
            connection.execute("CREATE TABLE s (r REAL) STRICT")
        frame = db.read_sql(
            "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c "
            "WHERE x < 5 OR NOT EXISTS (SELECT 1 FROM runs)) "
            f"SELECT {chosen} FROM c LEFT JOIN s ORDER BY x DESC;"
        )
    assert frame["y"].isna().all()
    assert len(frame) == (5 if chosen == "r AS y" else 1)
    assert frame["y"].dtype == (object if chosen == "max(r) AS y" else np.float64)


@pytest.mark.parametrize("readonly", [False, True])
def test_a_query_never_writes(tmp_path, readonly):
    """Also in a transaction of its thread, which goes on to write."""
    with Database(tmp_path / "x.db", create=True) as db:
        db.write_run("first", {})
        other = Database(db.path, readonly=readonly)
        delete = "DELETE FROM runs RETURNING run_id"
        with db.transaction():
            db.write_run("second", {})
            assert len(other.read_sql("SELECT run_id FROM runs")) == 2
            for query in (delete, "PRAGMA user_version = 9", "DROP TABLE runs"):
                message = "read_sql only reads, got .*connection.execute of the block"
                with pytest.raises(DatabaseError, match=message):
                    other.read_sql(query)
            db.write_run("third", {})
        with pytest.raises(DatabaseError, match="only reads"):
            other.read_sql(delete)
        with pytest.raises(ValueError, match="must return rows"), db.transaction():
            other.read_sql("ROLLBACK")
        db.write_run("fourth", {})
        assert list(db.runs().index) == ["first", "second", "third", "fourth"]
        assert db.check() == []


@pytest.mark.parametrize("nested", [False, True])
def test_text_that_is_not_utf_8_is_no_damage(nested):
    """A query may make it of anything; in skatra's own tables it is damage."""
    with Database(":memory:") as db:
        db.write_run("r", {})
        block = db.pool.get_connection() if nested else contextlib.nullcontext()
        with block, pytest.raises(DatabaseError, match=r"not UTF-8.*Cast it") as caught:
            db.read_sql("SELECT CAST(x'ff' AS TEXT) AS t")
        assert type(caught.value) is DatabaseError
        with db.transaction() as connection:
            connection.execute("UPDATE runs SET card = CAST(x'ff' AS TEXT)")
        with pytest.raises(DatabaseCorruptError, match="is damaged"):
            db.runs()


def test_a_check_lists_names_that_are_no_text():
    """A flipped bit in a symbol is a finding, and no error of the check."""
    with Database(":memory:") as db:
        db.write_bars(make_edge_bars(30))
        db.write_features(price_features(make_edge_bars(300)), "base")
        with db.transaction() as connection:
            connection.execute("UPDATE symbols SET symbol = CAST(x'ff' AS TEXT)")
        assert any("is damaged" in problem for problem in db.check())


def test_what_follows_a_query_changes_no_dtype():
    """A semicolon, a comment, both, also inside of texts."""
    query = "SELECT sid, symbol, ';' || symbol AS s, symbol AS \"a;b\" FROM symbols"
    with Database(":memory:") as db:
        plain = db.read_sql(query).dtypes
        for end in (";", " -- all", "; -- all; of them", ";\n/* a; b */ ", " ; "):
            pd.testing.assert_series_equal(db.read_sql(query + end).dtypes, plain)
    assert plain.astype(str).tolist() == ["int64", "str", "object", "str"]
