"""The one home of Hypothesis strategies."""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

# --- label times and splitters -------------------------------------------------

# --- bars, labels and features -------------------------------------------------

# --- frames for the database ---------------------------------------------------

# --- returns, probabilities and trades -----------------------------------------


def probabilities() -> st.SearchStrategy[float]:
    """Probabilities, 0 and 1 included."""
    return st.floats(0.0, 1.0)


def payoffs() -> st.SearchStrategy[float]:
    """Gains and losses per unit invested, from a basis point to tenfold."""
    return st.floats(1e-4, 10.0)


def trade_returns(
    min_size: int = 0, max_size: int = 40
) -> st.SearchStrategy[list[float]]:
    """Returns of closed trades: losses short of everything, break-evens, gains."""
    moves = st.one_of(st.just(0.0), st.floats(-0.95, -1e-4), st.floats(1e-4, 3.0))
    return st.lists(moves, min_size=min_size, max_size=max_size)


@st.composite
def classed_returns(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Returns with a binary class each: gains and losses, both classes present.

    The class may be the sign of the return, or have little to do with it.
    """
    gains = draw(st.lists(st.floats(1e-3, 2.0), min_size=1, max_size=15))
    losses = draw(st.lists(st.floats(-0.9, -1e-3), min_size=1, max_size=15))
    returns = np.array(gains + losses)
    positive = returns > 0
    if draw(st.booleans()):
        flips = draw(
            st.lists(st.booleans(), min_size=len(returns), max_size=len(returns))
        )
        positive = positive ^ np.array(flips)
        assume(positive.any())
        assume(not positive.all())
    return returns, positive


@st.composite
def concurrent_bets(
    draw: st.DrawFn,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions, lives [t0, t1) in whole days, groups, and times to ask about."""
    n = draw(st.integers(0, 25))
    days = st.integers(0, 20)
    start = np.array(draw(st.lists(days, min_size=n, max_size=n)), dtype=np.int64)
    length = np.array(draw(st.lists(days, min_size=n, max_size=n)), dtype=np.int64)
    position = draw(st.lists(st.floats(-1.0, 1.0), min_size=n, max_size=n))
    group = draw(st.lists(st.sampled_from("AB"), min_size=n, max_size=n))
    times = draw(st.lists(st.integers(-2, 45), max_size=12))
    lives = np.column_stack([start, start + length])
    return (
        np.array(position),
        lives,
        np.array(group, dtype=object),
        np.array(times, dtype=np.int64),
    )
