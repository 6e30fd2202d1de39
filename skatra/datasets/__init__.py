"""The pooled SQLite database and the dataset loader."""

from skatra.datasets._pool import SQLiteConnectionPool
from skatra.datasets._registry import get_db_pool

__all__ = [
    "SQLiteConnectionPool",
    "get_db_pool",
]
