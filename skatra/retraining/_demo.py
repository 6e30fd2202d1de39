"""The whole story on bundled data: no edge on real indices, a planted one found."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skatra.datasets import Database, load_index_bars, make_edge_bars
from skatra.retraining._config import RetrainConfig
from skatra.retraining._figures import require_report_libraries
from skatra.retraining._report import write_report
from skatra.retraining._result import RetrainResult
from skatra.retraining._retrain import retrain
from skatra.retraining._session import Observer

INTRODUCTION = (
    "The same pipeline twice: bars from SQLite, triple-barrier labels, LightGBM tuned "
    "under purged cross-validation, positions by Kelly, a gate at the end. First on "
    "twenty years of real index bars, where the honest answer is that these features "
    "hold no edge; then on a simulated series in which an edge was planted."
)


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What :func:`run_demo` made.

    Attributes
    ----------
    real, planted : RetrainResult
        The run on index bars and the run on the planted edge.
    database, report : Path
        Files written; ``report`` is None when it was not asked for.
    """

    real: RetrainResult
    planted: RetrainResult
    database: Path
    report: Path | None

    def to_dict(self) -> dict[str, Any]:
        """Return every figure and path, ready for JSON.

        Returns
        -------
        dict
            Plain dicts, lists, numbers and strings; NaN and infinities are None.
        """
        return {
            "runs": [self.real.to_dict(), self.planted.to_dict()],
            "database": str(self.database),
            "report": None if self.report is None else str(self.report),
        }


def run_demo(
    folder: Path | str,
    *,
    n_jobs: int = 1,
    report: bool = True,
    progress: Callable[[str, str], None] | None = None,
    observe: Observer | None = None,
) -> DemoResult:
    """Run the whole pipeline on real index bars and on a planted edge.

    Parameters
    ----------
    folder : path-like
        Receives ``market.db``, ``models/`` and ``report.html``.
    n_jobs : int, default=1
        Threads, one fit each; the figures do not depend on it.
    report : bool, default=True
        Whether to write ``report.html`` (needs ``skatra[plot]``).
    progress : callable, optional
        Called with the run's title and the stage's name as each stage starts.
    observe : callable, optional
        Called with every event of both runs, as by :func:`retrain`.

    Returns
    -------
    DemoResult
        Both results and where they were written.

    Examples
    --------
    >>> from skatra.retraining import run_demo
    >>> result = run_demo("skatra-demo", n_jobs=-1)  # doctest: +SKIP
    >>> result.planted.verdict.promoted  # doctest: +SKIP
    True
    """
    if report:
        require_report_libraries()
    folder = Path(folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "market.db"
    with Database(database, create=True) as db:
        real_bars, planted_bars = load_index_bars(), make_edge_bars(5000, edge=0.25)
        db.write_bars(real_bars)
        db.write_bars(planted_bars)
    runs = []
    for title, bars in (
        ("S&P 500 and NASDAQ, daily, 1999 to 2018", real_bars),
        ("A simulated series with a planted edge", planted_bars),
    ):
        config = RetrainConfig(
            database=database,
            models=folder / "models",
            symbols=tuple(bars.index.get_level_values("symbol").unique()),
            n_jobs=n_jobs,
        )
        announce = None if progress is None else _bind(progress, title)
        runs.append(retrain(config, title=title, progress=announce, observe=observe))
    path = None
    if report:
        if progress is not None:
            progress("Report", "report")
        path = write_report(
            runs,
            folder / "report.html",
            title="skatra demo: does your backtest survive purging?",
            introduction=INTRODUCTION,
        )
    return DemoResult(runs[0], runs[1], database, path)


def _bind(progress: Callable[[str, str], None], title: str) -> Callable[[str], None]:
    return lambda stage: progress(title, stage)
