"""The pooled SQLite database and the dataset loader."""

from skatra.datasets._async import AsyncConnection
from skatra.datasets._database import Database
from skatra.datasets._frames import WriteReport
from skatra.datasets._ingest import IngestReport, ingest_bars
from skatra.datasets._join import SQLiteDatasetLoader
from skatra.datasets._label_files import read_label_times
from skatra.datasets._lightgbm import lightgbm_dataset
from skatra.datasets._loader import iter_batches, load_dataset
from skatra.datasets._pool import SQLiteConnectionPool
from skatra.datasets._registry import get_db_pool
from skatra.datasets._restore import restore_backup
from skatra.datasets._samples import load_index_bars, make_edge_bars

__all__ = [
    "AsyncConnection",
    "Database",
    "IngestReport",
    "SQLiteConnectionPool",
    "SQLiteDatasetLoader",
    "WriteReport",
    "get_db_pool",
    "ingest_bars",
    "iter_batches",
    "lightgbm_dataset",
    "load_dataset",
    "load_index_bars",
    "make_edge_bars",
    "read_label_times",
    "restore_backup",
]
