"""Hold the demo's figures and files to what the README says of them."""

import json
import re
import sys
from pathlib import Path

JSON = re.compile(r'<script type="application/json"[^>]*>(.*?)</script>', re.DOTALL)


def without_times(runs: list[dict]) -> list[dict]:
    """Return a demo's figures without wall times."""
    for run in runs:
        seconds = run.pop("seconds")
        assert all(value >= 0 for value in seconds.values()), seconds
    return runs


def main() -> None:
    """Check one run's JSON and the report of another."""
    first, report = sys.argv[1:]
    html = Path(report).read_text()
    runs = without_times(json.loads(Path(first).read_text())["runs"])
    shown = without_times([json.loads(found) for found in JSON.findall(html)])
    assert runs == shown, "figures differ between one thread and all, or in the report"

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

    assert "<svg" in html
    assert not re.search(r'(?:src|href)="(?:https?:)?//', html), "report needs network"
    print(real["conclusion"])
    print(planted["conclusion"])
    print("demo: figures equal on two runs and in the report, which is self-contained")


main()
