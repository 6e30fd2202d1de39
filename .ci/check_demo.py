"""Hold the demo's figures and files to what the README says of them."""

import json
import re
import sys
from pathlib import Path


def figures(path: str) -> dict:
    """Return a demo's figures without wall times and paths."""
    document = json.loads(Path(path).read_text())
    for run in document["runs"]:
        seconds = run.pop("seconds")
        assert all(value >= 0 for value in seconds.values()), seconds
    return document["runs"]


def main() -> None:
    """Check two runs' JSON and one report."""
    first, second, report = sys.argv[1:]
    runs = figures(first)
    assert runs == figures(second), "figures differ between n_jobs=1 and n_jobs=2"

    real, planted = runs
    default = [row for row in real["splitters"] if row["model"] == "LightGBM defaults"]
    auc = {row["splitter"]: row["auc"] for row in default}
    leaks = {row["splitter"]: row["leaking_pairs"] for row in default}
    assert auc["KFold(shuffle=True)"] > 0.70, auc
    assert auc["PurgedKFold"] < 0.53, auc
    assert leaks["PurgedKFold"] == 0 < leaks["KFold(shuffle=True)"], leaks
    assert not real["promoted"], real["conclusion"]
    assert real["holdout"]["mean_absolute_position"] < 0.01, real["holdout"]
    assert planted["promoted"], planted["conclusion"]
    assert planted["holdout"]["log_growth_per_year"] > 0, planted["holdout"]

    html = Path(report).read_text()
    assert "<svg" in html
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html), "report needs network"
    print(real["conclusion"])
    print(planted["conclusion"])
    print("demo: figures equal on two runs, report self-contained")


main()
