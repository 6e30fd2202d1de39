"""Signals: the champion on the newest bars, within limits, settled by its labels."""

import dataclasses
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skatra.datasets import Database, make_edge_bars
from skatra.exceptions import (
    DatabaseNotFoundError,
    EmptyDataError,
    ModelNotFoundError,
    StaleDataError,
    StaleModelError,
)
from skatra.features import price_features
from skatra.retraining import (
    RetrainConfig,
    SignalLimits,
    load_champion,
    make_signals,
    promote_model,
    read_card,
    retrain,
    watch_signals,
)
from skatra.retraining._dataset import label_set_name
from skatra.retraining._limits import cut_by, limited

NOW = "2006-02-20"
OPEN = SignalLimits(max_position=9.0, max_exposure=99.0, split=False)


@pytest.fixture
def served(small_run, small_config, tmp_path):
    """Return a database of the bars alone, and the models folder."""
    path = tmp_path / "live.db"
    with Database(path, create=True) as db:
        db.write_bars(small_run.bars)
    promote_model(small_config.models, small_run.run_id)
    return path, small_config.models


def test_signals_are_the_champion_on_the_newest_bar(served, small_run):
    """Probability and position equal those that the run computed for that row."""
    path, models = served
    report = make_signals(path, models, now=NOW, limits=OPEN)
    with Database(path) as db:
        stored = db.signals(small_run.run_id)
        said = db.predictions(small_run.run_id)
        newest = db.bars()["close"].iloc[[-1]]
        problems = db.check()
    with Database(small_run.config.database) as db:
        row = db.features("base").iloc[[-1]]
    champion = load_champion(models)

    assert report.run_id == small_run.run_id
    assert list(stored.index) == list(newest.index)
    assert stored["probability"].tolist() == champion.predict_proba(row)[:, 1].tolist()
    assert stored["position"].tolist() == champion.decision_function(row).tolist()
    assert stored["price"].tolist() == newest.tolist()
    assert said["value"].tolist() == stored["probability"].tolist()
    assert problems == []


def test_settlements_are_the_labels_that_the_model_learned(served, small_run):
    """Signals of many days, settled later, end when and as the stored labels do."""
    path, models = served
    days = small_run.bars.index.get_level_values(1)[-30:]
    for day in days:
        report = make_signals(path, models, now=day, limits=OPEN)
    with Database(path) as db:
        said = db.predictions(small_run.run_id)
        problems = db.check()
    with Database(small_run.config.database) as db:
        labels = db.labels(label_set_name(small_run.config))
    done = said.dropna(subset=["t1"])
    known = labels.loc[done.index]

    assert len(said) == 30
    assert report.unsettled == len(said) - len(done) - 1
    assert len(done) >= 19
    assert done["t1"].tolist() == known["t1"].tolist()
    np.testing.assert_allclose(done["ret"], known["ret"])
    assert set(labels.index) & set(said.index) == set(done.index)
    assert problems == []


def test_nothing_is_known_too_early(served, small_run):
    """What was settled on a day did not need a later bar."""
    path, models = served
    days = small_run.bars.index.get_level_values(1)[-30:]
    for day in (days[0], days[8]):
        make_signals(path, models, now=day)
    with Database(path) as db:
        said = db.predictions(small_run.run_id)

    assert said.index.get_level_values(1).tolist() == [days[0], days[8]]
    assert not (said["t1"] > days[8]).any()


def test_doing_it_again_changes_nothing(served):
    """The same bars give the same rows, written once."""
    path, models = served
    first = make_signals(path, models, now=NOW)
    with Database(path) as db:
        before = db.signals()
    again = make_signals(path, models, now=NOW)
    with Database(path) as db:
        after = db.signals()

    pd.testing.assert_frame_equal(first.signals, again.signals)
    pd.testing.assert_frame_equal(before, after)
    assert again.exposure == first.exposure


def test_a_new_champion_starts_with_the_next_bar(small_run, small_config, tmp_path):
    """Promoted between two rounds on one bar it bets there no second time."""
    config = dataclasses.replace(
        small_config, models=tmp_path / "models", seed=8, n_estimators=5, n_paths=0
    )
    second = retrain(config).run_id
    first = small_run.run_id
    shutil.copytree(small_run.model_path, config.models / first)
    path, bars = tmp_path / "live.db", small_run.bars
    with Database(path, create=True) as db:
        db.write_bars(bars.iloc[:-1])
    promote_model(config.models, first)
    made = make_signals(path, config.models, now=NOW, limits=OPEN)
    promote_model(config.models, second)
    between = make_signals(path, config.models, now=NOW, limits=OPEN)
    with Database(path) as db:
        before = db.signals()
        db.write_bars(bars)
    after = make_signals(
        path, config.models, now=NOW, limits=dataclasses.replace(OPEN, max_exposure=1.1)
    )

    assert before["model"].tolist() == [first]
    assert between.signals.empty
    assert "another model has bet on its newest bar" in between.left_out["EDGE"]
    assert between.exposure == made.exposure
    assert after.signals.index.get_level_values(1).tolist() == [bars.index[-1][1]]
    assert after.exposure <= 1.1 + 1e-12

    promote_model(config.models, first)
    assert make_signals(path, config.models, now=NOW, limits=OPEN).signals.empty


def test_models_of_two_folders_bet_for_themselves(small_run, small_config, tmp_path):
    """Each signals every bar, whoever comes first; the other's bets are exposure."""
    config = dataclasses.replace(
        small_config, models=tmp_path / "fast", seed=8, n_estimators=5, n_paths=0
    )
    promote_model(config.models, retrain(config).run_id)
    promote_model(small_config.models, small_run.run_id)
    path, bars = tmp_path / "live.db", small_run.bars
    with Database(path, create=True) as db:
        db.write_bars(bars.iloc[:-3])
    for last in (-3, -2, -1):
        with Database(path) as db:
            db.write_bars(bars.iloc[: len(bars) + last + 1])
        for models in (config.models, small_config.models):
            report = make_signals(path, models, now=NOW, limits=OPEN)
            assert len(report.signals) == 1
            assert report.left_out == {}
            _, held = open_book(path)
            assert report.exposure == pytest.approx(held.abs().sum())
    with Database(path) as db:
        assert db.signals()["model"].value_counts().tolist() == [3, 3]


@pytest.mark.parametrize(("stake", "done"), [(0.1, "bet on"), (0.0, "signalled")])
def test_a_model_served_before_blocks_its_bar_gone_or_not(
    served, small_run, tmp_path, stake, done
):
    """The pointer remembers it when its folder is gone; a stranger blocks nothing."""
    path, _ = served
    models, day = tmp_path / "models", small_run.bars.index[-1][1]
    shutil.copytree(small_run.model_path, models / small_run.run_id)
    promote_model(models, small_run.run_id)
    pointer = json.loads((models / "CURRENT").read_text())
    bet(path, small_run, "stranger", "EDGE", day, stake)
    free = make_signals(path, models, now=NOW)
    with Database(path) as db, db.transaction() as connection:
        connection.execute("DELETE FROM signals WHERE model <> 'stranger'")
    (models / "CURRENT").write_text(json.dumps(pointer | {"before": ["stranger"]}))
    blocked = make_signals(path, models, now=NOW)

    assert len(free.signals) == 1
    assert blocked.signals.empty
    assert blocked.left_out["EDGE"].startswith(f"another model has {done} its newest")


def test_a_settled_bet_is_no_position(served, small_run):
    """A symbol without newer bars whose bet is settled is left out, with the reason."""
    path, models = served
    bars = small_run.bars.droplevel(0)
    with Database(path) as db:
        db.write_bars(bars.iloc[:-30], "GONE")
    options = {"symbols": ["EDGE", "GONE"], "allow_stale": True}
    before = make_signals(path, models, now=bars.index[-30], **options)
    after = make_signals(path, models, now=NOW, **options)

    assert "GONE" in before.signals.index.get_level_values(0)
    assert after.notes[0].startswith("1 bet on GONE settled at its last close")
    assert after.signals.index.get_level_values(0).tolist() == ["EDGE"]
    assert "is settled" in after.left_out["GONE"]


def open_book(path):
    """Return all signals, and the positions of those that are not settled."""
    with Database(path) as db:
        signals = db.signals()
        done = db.read_sql("SELECT symbol, t0 FROM settlements JOIN symbols USING(sid)")
    times = pd.to_datetime(done["t0"].astype("int64"), utc=True)
    closed = pd.MultiIndex.from_arrays([done["symbol"], times])
    return signals, signals.loc[~signals.index.isin(closed), "position"]


rounds = st.lists(
    st.tuples(
        st.sets(st.sampled_from("ABC")),
        st.sampled_from([0.05, 0.2, 1.0]),
        st.sampled_from([0.1, 0.3, 1.0]),
        st.booleans(),
    ),
    min_size=2,
    max_size=6,
)


@settings(max_examples=8, deadline=None)
@given(rounds=rounds)
def test_a_bet_stands_and_the_book_keeps_its_cap(small_run, small_config, rounds):
    """Whichever bars are late and whatever the limits: rows stay, caps hold."""
    promote_model(small_config.models, small_run.run_id)
    values = small_run.bars.droplevel(0)
    days = values.index[-10:]
    bars = {
        name: values.iloc[-320 - 40 * k : len(values) - 40 * k].set_axis(
            values.index[-320:]
        )
        for k, name in enumerate("ABC")
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "live.db")
        with Database(path, create=True) as db:
            for name in "ABC":
                db.write_bars(bars[name].iloc[:-9], name)
        for day, (there, max_position, max_exposure, split) in zip(
            days, rounds, strict=False
        ):
            with Database(path) as db:
                for name in there:
                    db.write_bars(bars[name].loc[:day], name)
            before, _ = open_book(path)
            limits = SignalLimits(
                max_position=max_position, max_exposure=max_exposure, split=split
            )
            now = day + pd.Timedelta("1h")
            options = {"now": now, "limits": limits, "allow_stale": True}
            report = make_signals(
                path, small_config.models, symbols=list("ABC"), **options
            )
            after, held = open_book(path)
            stood = held[held.index.isin(before.index)].abs().sum()

            pd.testing.assert_frame_equal(after[after.index.isin(before.index)], before)
            assert after.index.is_unique
            assert held.abs().sum() <= max(max_exposure, stood) + 1e-12
            assert report.exposure == pytest.approx(held.abs().sum())
            told = after.loc[report.signals.index, report.signals.columns]
            pd.testing.assert_frame_equal(told, report.signals)
            assert report.signals.index.get_level_values(0).tolist() == list("ABC")
        again = make_signals(path, small_config.models, symbols=list("ABC"), **options)
        pd.testing.assert_frame_equal(again.signals, report.signals)
        assert again.exposure == report.exposure


def test_stale_bars_and_models_are_refused_unless_told(served):
    """Each with its own error; nothing is written."""
    path, models = served
    with pytest.raises(StaleDataError, match=r"max_data_age.*--allow-stale"):
        make_signals(path, models, now="2006-03-20")
    with pytest.raises(StaleModelError, match=r"max_model_age=2 days.*--allow-stale"):
        make_signals(path, models, now="2006-02-20", max_model_age="2D")
    with pytest.raises(StaleModelError, match=r"by default.*--allow-stale"):
        make_signals(path, models, now="2008-03-20")
    with Database(path) as db:
        assert db.signals().empty
    assert len(make_signals(path, models, allow_stale=True).signals) == 1


def test_symbols_that_cannot_be_scored_are_named(served, small_run):
    """Too short, too old, without bars: the others go on."""
    path, models = served
    bars = small_run.bars.droplevel(0)
    with Database(path) as db:
        db.write_bars(bars.iloc[-20:], "SHORT")
        db.write_bars(bars.iloc[:-50], "OLD")
        db.write_labels(
            pd.DataFrame(
                {
                    "t1": bars.index[:1],
                    "ret": 0.1,
                    "label": 1,
                    "side": 1,
                    "touched": "time",
                },
                index=pd.MultiIndex.from_product(
                    [["EMPTY"], bars.index[:1]], names=["symbol", "t0"]
                ),
            ),
            "other",
        )
    names = ["EDGE", "SHORT", "OLD", "EMPTY"]
    report = make_signals(path, models, now=NOW, symbols=names)

    assert list(report.signals.index.get_level_values(0)) == ["EDGE"]
    assert set(report.left_out) == {"SHORT", "OLD", "EMPTY"}
    assert "newest bar" in report.left_out["OLD"]
    with pytest.raises(EmptyDataError, match="at least 252 bars"):
        make_signals(path, models, now=NOW, symbols=["SHORT"])


def test_without_a_champion_there_are_no_signals(served, tmp_path):
    """The folder is named."""
    with pytest.raises(ModelNotFoundError, match="no model is promoted"):
        make_signals(served[0], tmp_path / "models")


def test_watching_makes_a_round_every_so_often(served, tmp_path):
    """Until asked to stop; errors go to who wants them, and the rounds go on."""
    path, models = served
    errors, waits = [], iter([False, False, True])
    rounds = watch_signals(
        path, models, every=1e-9, now=NOW, should_stop=lambda: next(waits)
    )
    assert len([report.run_id for report in rounds]) == 2
    for _ in watch_signals(
        path,
        models,
        every=0.01,
        now="2006-03-20",
        on_error=errors.append,
        should_stop=lambda: len(errors) >= 2,
    ):
        pass
    assert [type(error) for error in errors] == [StaleDataError] * 2
    held = []
    before = {"before": lambda: held.append(1)}
    next(watch_signals(path, models, every=60, now=NOW, **before))
    with pytest.raises(ModelNotFoundError):
        next(watch_signals(path, models / "absent", every=60, **before))
    for options in ({"max_data_age": "5"}, {"symbols": ["ABSENT"]}):
        with pytest.raises((ValueError, EmptyDataError)):
            next(watch_signals(path, models, every=60, now=NOW, **before, **options))
    with pytest.raises(DatabaseNotFoundError):
        next(watch_signals(tmp_path / "absent.db", models, every=60, **before))
    assert held == [1]
    with pytest.raises(ValueError, match="every must be a positive"):
        next(watch_signals(path, models, every=0))


def test_watching_goes_on_after_bad_data_but_not_from_the_start(served, tmp_path):
    """What was right once may come right again; what never was is told at once."""
    path, models = served
    errors = []

    def watch(*places, **options):
        return watch_signals(
            *places,
            every=1e-9,
            on_error=errors.append,
            should_stop=lambda: len(errors) >= 2,
            **({"now": NOW} | options),
        )

    for places, options, wrong in (
        ((path, tmp_path / "absent"), {}, ModelNotFoundError),
        ((tmp_path / "absent.db", models), {}, DatabaseNotFoundError),
        ((path, models), {"symbols": ["ABSENT"]}, EmptyDataError),
        ((path, models), {"max_data_age": "soon"}, ValueError),
    ):
        with pytest.raises(wrong):
            next(watch(*places, **options))
    assert errors == []

    rounds = watch(path, models)
    next(rounds)
    moved = models.rename(tmp_path / "moved")
    assert list(rounds) == []
    moved.rename(models)
    assert [type(error) for error in errors] == [ModelNotFoundError] * 2


def test_symbols_that_the_champion_never_saw_need_naming(served, small_run):
    """A new symbol in the database is no bet; by name it is."""
    path, models = served
    with Database(path) as db:
        db.write_bars(small_run.bars.droplevel(0), "NEW")
    usual = make_signals(path, models, now=NOW)
    both = make_signals(path, models, now=NOW, symbols=["EDGE", "NEW"])

    assert usual.signals.index.get_level_values(0).tolist() == ["EDGE"]
    assert both.signals.index.get_level_values(0).tolist() == ["EDGE", "NEW"]


def test_a_symbol_with_a_missing_feature_is_left_out_alone(tmp_path):
    """The others are scored; where training rows were finite, none else is."""
    two = ["A", "B"]
    bars = pd.concat(
        {
            name: make_edge_bars(900, edge=0.5, seed=k).droplevel(0)
            for k, name in enumerate(two)
        },
        names=["symbol", "time"],
    )
    path, features = tmp_path / "two.db", price_features(bars)
    with Database(path, create=True) as db:
        db.write_bars(bars)
        db.write_features(features, "own")
    config = RetrainConfig(
        database=path,
        models=tmp_path / "models",
        feature_set="own",
        max_holding=5,
        n_splits=2,
        n_estimators=5,
        param_grid={"num_leaves": [4]},
        n_paths=0,
    )
    promote_model(config.models, retrain(config).run_id)
    features.loc[[features.loc[["B"]].index[-1]], "gap"] = np.nan
    with Database(path) as db:
        db.write_features(features, "own", replace=True)
    last = bars.index.get_level_values(1).max()
    report = make_signals(path, config.models, now=last)

    assert report.signals.index.get_level_values(0).tolist() == ["A"]
    assert "gap is not finite" in report.left_out["B"]


def bet(path, small_run, model, symbol, day, stake=0.15):
    """Write a bet that a model made on a symbol at the close of a day."""
    bars = small_run.bars.droplevel(0)
    index = pd.MultiIndex.from_tuples([(symbol, day)], names=["symbol", "t0"])
    row = {
        "probability": 0.6,
        "price": bars.loc[day, "close"],
        "wanted": stake,
        "position": stake,
    }
    with Database(path) as db:
        db.write_signals(pd.DataFrame([row], index=index), model)


def test_a_delisted_symbol_is_settled_at_its_last_close(served, small_run):
    """Once the horizon is over in bars of the others, and not before; it is said."""
    path, models = served
    bars = small_run.bars.droplevel(0)
    days = bars.index
    with Database(path) as db:
        db.write_bars(bars.iloc[:-30], "GONE")
    # The newest bar of the symbol, so that no barrier is ever touched.
    bet(path, small_run, small_run.run_id, "GONE", days[-31])
    held = small_run.config.max_holding
    early = make_signals(path, models, now=days[-31 + held])
    late = make_signals(path, models, now=days[-31 + held + 1])
    with Database(path) as db:
        said = db.predictions(small_run.run_id).loc["GONE"]

    assert not any("GONE" in note for note in early.notes)
    (note,) = late.notes
    assert note.startswith("1 bet on GONE settled at its last close")
    assert f"{days[-31]:%Y-%m-%d}" in note
    assert said["t1"].tolist() == [days[-31]]
    assert said["ret"].tolist() == [0.0]


@pytest.mark.parametrize("after", ["moved", "removed", "ended", "emptied"])
def test_a_bet_whose_bar_is_gone_ends_with_its_horizon(served, small_run, after):
    """From the stored price to the close there, or to the last one; it is said."""
    path, models = served
    bars = small_run.bars.droplevel(0)
    days, held = bars.index, small_run.config.max_holding
    at = len(bars) - 30
    end = {"ended": at + 3, "emptied": at}.get(after, at + held)
    with Database(path) as db:
        left = bars.iloc[: end + 1] if after in ("ended", "emptied") else bars
        db.write_bars(left, "ASTRAY")
    bet(path, small_run, small_run.run_id, "ASTRAY", days[at])
    key = "WHERE sid = (SELECT sid FROM symbols WHERE symbol = 'ASTRAY') AND ts "
    t0 = days[at].as_unit("ns").value
    with Database(path) as db, db.transaction() as connection:
        if after == "moved":
            end -= 1
            connection.execute(f"UPDATE bars SET ts = ts + 3600000000000 {key} = {t0}")
        else:
            sign = ">" if after == "emptied" else "="
            connection.execute(f"DELETE FROM bars {key} {sign} {t0}")
            connection.execute(f"DELETE FROM bars {key} = {t0}")
    early = make_signals(path, models, now=days[at + held - 1])
    late = make_signals(path, models, now=days[at + held + 1])
    again = make_signals(path, models, now=days[at + held + 1])
    with Database(path) as db:
        said = db.predictions(small_run.run_id).loc["ASTRAY"]
        problems = db.check()

    assert early.notes == ()
    assert again.notes == ()
    (note,) = late.notes
    assert note.startswith("1 bet on ASTRAY settled from the stored price")
    assert f"{days[end]:%Y-%m-%d}" in note
    assert said["t1"].tolist() == [days[end]]
    expected = bars["close"].iloc[end] / bars["close"].iloc[at] - 1
    assert said["ret"].tolist() == pytest.approx([expected])
    assert problems == []


def test_bets_of_a_vanished_model_are_settled_or_named(served, small_run):
    """The run in the database knows the labels; without it the horizon ends them."""
    path, models = served
    days = small_run.bars.index.get_level_values(1)
    card = read_card(small_run.model_path)
    with Database(path) as db:
        db.write_run("recorded", card)
    bet(path, small_run, "recorded", "EDGE", days[-30])
    bet(path, small_run, "unknown", "EDGE", days[-30])
    bet(path, small_run, "unknown", "EDGE", days[-3])
    report = make_signals(path, models, now=NOW, limits=OPEN)
    with Database(path) as db:
        settled = db.predictions("recorded")["ret"]

    (note,) = report.notes
    assert settled.notna().all()
    assert report.settled == 1
    assert "2 bets of the model unknown cannot be settled" in note
    assert "1 past the champion's horizon count no longer. Restore" in note
    own = report.signals["position"].abs().sum()
    assert report.exposure == pytest.approx(own + 0.15)


sizes = st.floats(-1, 1).map(lambda x: round(x, 3))


@given(
    wanted=st.lists(sizes, min_size=1, max_size=8),
    held=st.lists(st.tuples(st.integers(0, 9), sizes), max_size=8),
    max_position=st.floats(0.01, 2),
    max_exposure=st.floats(0.01, 4),
    split=st.booleans(),
    standing=st.integers(0, 5),
    concurrency=st.floats(1, 20),
)
def test_limits_hold_whatever_is_wanted(
    wanted, held, max_position, max_exposure, split, standing, concurrency
):
    """No position turns, grows, or takes symbol or book beyond its limit."""
    index = pd.Index([f"S{k}" for k in range(len(wanted))])
    want = pd.Series(wanted, index=index, dtype=float)
    open_positions = pd.Series(
        [size for _, size in held], index=[f"S{k}" for k, _ in held], dtype=float
    )
    limits = SignalLimits(
        max_position=max_position, max_exposure=max_exposure, split=split
    )
    among = {"n_symbols": len(wanted) + standing, "concurrency": concurrency}
    got = limited(want, open_positions, limits, **among)
    before = open_positions.groupby(level=0).sum().reindex(index, fill_value=0.0)
    after = before + got
    room = max(max_exposure - open_positions.abs().sum(), 0.0)

    cut = cut_by(want, open_positions, limits, **among)
    share = max(concurrency, 1.0) * among["n_symbols"] if split else 1.0
    assert ((cut != "") == (got != want / share)).all()
    assert (got * want >= 0).all()
    assert (got.abs() <= want.abs()).all()
    grown = after.abs() > before.abs()
    assert (after.abs()[grown] <= max_position * (1 + 1e-9) + 1e-12).all()
    assert got.abs().sum() <= room * (1 + 1e-9) + 1e-12
    if not held and not split:
        small = want.abs().sum() <= max_exposure and (want.abs() <= max_position).all()
        assert not small or (got == want).all()


@pytest.mark.parametrize("name", ["max_position", "max_exposure"])
def test_limits_must_be_positive(name):
    """A limit of nothing is refused by name."""
    with pytest.raises(ValueError, match=f"{name} must be a positive"):
        SignalLimits(**{name: 0.0})
    assert dataclasses.asdict(SignalLimits())[name] > 0


@pytest.mark.parametrize("name", ["max_data_age", "max_model_age"])
@pytest.mark.parametrize("age", ["soon", "5", 5, -1, "-5D", "0D", " 5.0 ", "1e3"])
def test_ages_are_spans_with_a_unit(tmp_path, name, age):
    """What would mean nanoseconds or nothing is refused by name, before all else."""
    with pytest.raises(ValueError, match=f"{name} must be a positive time span"):
        make_signals(tmp_path / "absent.db", tmp_path, **{name: age})
