"""What the benchmarks promised, what they measured, and what got slower.

    make bench-report                       # print; leave with 1 if a ratio got worse
    python benchmarks/report.py --record    # and add the last runs to the history

The page "Benchmarks" of the documentation is drawn from the same functions.
"""

import argparse
import sys
from html import escape
from math import log

import history
from figures import PROMISES, Figure, Report, figures, load
from races import Race, races

import skatra


def amount(value: float, unit: str = "") -> str:
    """Return a number as one reads it, with its unit."""
    if value and abs(value) < 1e-3:
        text = f"{value:.1g}"
    elif abs(value) >= 100:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}"
    return f"{text} {unit}".strip()


def target_of(figure: Figure) -> str:
    """Return the target as "at most 1.5 x"."""
    if figure.target is None:
        return "none"
    bound = "at most" if figure.better == "lower" else "at least"
    return f"{bound} {amount(figure.target, figure.unit)}"


def verdict(figure: Figure) -> str:
    """Return met, MISSED, or nothing where nothing was promised."""
    return {None: "", True: "met", False: "MISSED"}[figure.met]


def absent_peers(report: Report) -> list[str]:
    """Return the peers that a run did without."""
    found = list(report.get("not_installed", [])) + list(report.get("missing", {}))
    machine = report.get("machine")
    versions = dict(report.get("versions", {}))
    if isinstance(machine, dict):
        versions |= machine["peers"]
    found += [name for name, v in versions.items() if v in ("absent", "not installed")]
    return list(dict.fromkeys(found))


def bars(race: Race) -> str:
    """Return one race as an HTML table whose bars grow with the logarithm of time."""
    task, runs = race
    least = min(times for _, times in runs)
    most = max(times for _, times in runs)
    span = log(most / least) or 1.0
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="bar"><span class="'
        f'{"ours" if times == 1.0 else "theirs"}" style="width:'
        f'{4 + 96 * log(times / least) / span:.1f}%"></span></td>'
        f"<td>{amount(times)}</td></tr>"
        for name, times in sorted(runs, key=lambda run: run[1])
    )
    return (
        f'<table class="race"><caption>{escape(task)}</caption><thead><tr>'
        "<th>contender</th><th>time, logarithmic</th><th>times skatra's</th>"
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def section(benchmark: str, report: Report) -> str:
    """Return what a benchmark found, as reStructuredText."""
    found, unmeasured = figures(benchmark, report)
    lines = [
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 50 20 30",
        "",
        "   * - figure",
        "     - measured",
        "     - target",
    ]
    for figure in found:
        said = {None: "", True: ": met", False: ": **MISSED**"}[figure.met]
        lines += [
            f"   * - {figure.name}",
            f"     - {amount(figure.value, figure.unit)}",
            f"     - {target_of(figure)}{said}",
        ]
    drawn = "".join(bars(race) for race in races(benchmark, report))
    if drawn:
        lines += ["", ".. raw:: html", "", f"   {drawn}"]
    lines += ["", f"Command: ``python benchmarks/bench_{benchmark}.py``."]
    if unmeasured:
        lines += [f"Not measured in the last run: {'; '.join(unmeasured)}."]
    absent = absent_peers(report)
    if absent:
        lines += [f"Peers absent from the last run: {', '.join(absent)}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print all figures and all slowdowns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="add runs to the history")
    options = parser.parse_args()
    run = history.circumstances(skatra.__version__)
    known = history.read()
    for benchmark in PROMISES:
        report = load(benchmark)
        if report is None:
            print(f"\n{benchmark}: has not run; python benchmarks/bench_{benchmark}.py")
            continue
        found, unmeasured = figures(benchmark, report)
        print(f"\n{benchmark}: python benchmarks/bench_{benchmark}.py")
        for figure in found:
            print(
                f"  {figure.name:58} {amount(figure.value, figure.unit):>14}  "
                f"{target_of(figure):24} {verdict(figure)}".rstrip()
            )
        for name in unmeasured:
            print(f"  {name:58} {'not measured':>14}")
        if absent := absent_peers(report):
            print(f"  absent peers: {', '.join(absent)}")
        if options.record:
            lines = history.new_lines(known, found, run)
            history.append(lines)
            known += lines
    slower = history.slowdowns(known)
    print(f"\nslower than the median of earlier runs: {len(slower) or 'none'}")
    for slowdown in slower:
        print(f"  {slowdown}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
