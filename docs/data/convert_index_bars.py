"""Convert the index quotes in arch's wheel to skatra/datasets/data/index_bars.npy.

Usage: python docs/data/convert_index_bars.py WHEEL [OUTPUT]

The output holds no time stamp and no compression, so that the same wheel gives the
same bytes on every machine. The script stops when a printed digit would be lost.
"""

import gzip
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

OUTPUT = Path(__file__).parents[2] / "skatra/datasets/data/index_bars.npy"
PRICES = ["Open", "High", "Low", "Close"]


def read(wheel: zipfile.ZipFile, name: str) -> pd.DataFrame:
    """Return one series of the wheel as printed."""
    text = gzip.decompress(wheel.read(f"arch/data/{name}/{name}.csv.gz"))
    return pd.read_csv(io.BytesIO(text), dtype=str)


def convert(wheel: zipfile.ZipFile) -> np.ndarray:
    """Return days, then open, high, low, close (cents) and volume / 10,000 of each."""
    rows = []
    days = None
    for name in ("sp500", "nasdaq"):
        quotes = read(wheel, name)
        dates = pd.to_datetime(quotes["Date"], format="%m/%d/%Y").to_numpy()
        dates = dates.astype("datetime64[D]").astype(np.int64)
        if days is None:
            days = dates
            rows.append(days)
        prices = quotes[PRICES].astype(np.float64).to_numpy().T
        cents = np.round(prices * 100).astype(np.int64)
        volume = quotes["Volume"].astype(np.int64).to_numpy()
        # The vendor printed single-precision numbers with six decimals.
        printed = np.round((cents / 100).astype(np.float32).astype(np.float64), 6)
        if not (
            np.array_equal(days, dates)
            and np.array_equal(printed, prices)
            and np.array_equal(volume // 10_000 * 10_000, volume)
            and quotes["Close"].equals(quotes["Adj Close"])
        ):
            sys.exit(f"{name}: the format would lose something; nothing was written.")
        rows += [*cents, volume // 10_000]
    return np.stack(rows).astype("<i4")


def main() -> None:
    """Write the file and print its checksum."""
    output = Path(sys.argv[2]) if len(sys.argv) > 2 else OUTPUT
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        np.save(output, convert(wheel), allow_pickle=False)
    print(hashlib.sha256(output.read_bytes()).hexdigest(), output.name)  # noqa: T201


if __name__ == "__main__":
    main()
