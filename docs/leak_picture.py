"""The picture of the README: two figures of the demo's report, side by side.

    make leak-image

Needs chromium, and the report that ``skatra demo`` writes.
"""

import re
import sys
import tempfile
from pathlib import Path

from screenshots import chromium

TITLES = ("How much the splitter lies", "What each splitter would have promised")
WIDTH, HEIGHT, SCALE = 1020, 424, 1.6


def main(report: Path, picture: Path) -> None:
    """Draw the named figures of a report on one white card each."""
    page = report.read_text(encoding="utf-8")
    style = re.search(r"<style>.*?</style>", page, flags=re.DOTALL)
    found = re.findall(r"<figure.*?</figure>", page, flags=re.DOTALL)
    figures = [next(f for f in found if title in f) for title in TITLES]
    if style is None:
        raise SystemExit(f"{report} has no style: is it a report?")
    with tempfile.TemporaryDirectory() as folder:
        card = Path(folder) / "card.html"
        card.write_text(
            f"<!doctype html><meta charset='utf-8'>{style.group()}<style>"
            "body{padding:8px} .figures{margin:0;grid-template-columns:1fr 1fr}</style>"
            f"<div class='figures'>{''.join(figures)}</div>",
            encoding="utf-8",
        )
        chromium(
            f"--screenshot={picture.resolve()}",
            f"--window-size={WIDTH},{HEIGHT}",
            f"--force-device-scale-factor={SCALE}",
            card.as_uri(),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
