"""Hold the dashboard to the TypeScript types that Grafana publishes on npm.

Needs npm. Types and compiler are installed in a temporary folder. A misspelt key, an
option or a unit of the wrong type is an error of the compiler.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

DASHBOARD = Path(__file__).parents[1] / "grafana" / "dashboards" / "atra-dashboard.json"
PACKAGES = ("@grafana/schema@13.2.3", "typescript@5.9.3")
# What Grafana writes itself but does not type: a variable's definition, and the query
# of an annotation on Prometheus.
UNTYPED = ("expr", "step", "textFormat", "titleFormat", "useValueForTime")
RAW = "./node_modules/@grafana/schema/dist/types/raw"
PLAIN = """
// Enumerations are nominal in TypeScript; JSON holds their plain values.
type Plain<T> = T extends string ? `${T}`
  : T extends (infer U)[] ? Plain<U>[]
  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""
KINDS = {"timeseries": "FieldConfig", "stat": "", "heatmap": "FieldConfig"}


def source(document):
    """Return a program that compiles if the dashboard has Grafana's types."""
    lines = [
        f"import type {{ Dashboard, Panel, RowPanel }} from '{RAW}/dashboard/x/types.gen';"
    ]
    for kind, field in KINDS.items():
        names = f"Options as {kind}Options"
        names += f", FieldConfig as {kind}Field" if field else ""
        lines.append(
            f"import type {{ {names} }} from "
            f"'{RAW}/composable/{kind}/panelcfg/x/types.gen';"
        )
    lines.append(PLAIN)
    outside = json.loads(json.dumps(document))
    del outside["panels"]
    for variable in outside["templating"]["list"]:
        variable.pop("definition", None)
    for note in outside["annotations"]["list"]:
        for key in UNTYPED:
            note.pop(key, None)
    lines.append(f"export const dashboard: Plain<Dashboard> = {json.dumps(outside)};")
    for number, panel in enumerate(document["panels"]):
        kind = panel["type"]
        name = "RowPanel" if kind == "row" else "Panel"
        lines.append(f"export const p{number}: Plain<{name}> = {json.dumps(panel)};")
        if kind == "row":
            continue
        options = json.dumps(panel["options"])
        lines.append(f"export const o{number}: Plain<{kind}Options> = {options};")
        custom = panel["fieldConfig"]["defaults"].get("custom")
        if custom and KINDS[kind]:
            lines.append(
                f"export const f{number}: Plain<{kind}Field> = {json.dumps(custom)};"
            )
    return "\n".join(lines) + "\n"


def compiled(document, folder):
    """Return what the compiler says, an empty string if nothing."""
    place = Path(folder, "dashboard.ts")
    place.write_text(source(document), encoding="utf-8")
    done = subprocess.run(
        ["node_modules/.bin/tsc", "--strict", "--noEmit", "--skipLibCheck",
         "--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022",
         place.name],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout


def main():
    """Compile the dashboard, then one with faults that must not compile."""
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "package.json").write_text("{}")
        subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund",
             "--ignore-scripts", *PACKAGES],
            cwd=folder, check=True,
        )  # fmt: skip
        complaint = compiled(document, folder)
        if complaint:
            sys.exit(complaint)
        panel = next(p for p in document["panels"] if p["type"] == "timeseries")
        for fault in (
            {"options": {**panel["options"], "legend": {"displayMode": "tabel"}}},
            {"gridPos": {**panel["gridPos"], "h": "eight"}},
            {"colour": "red"},
        ):
            broken = {**document, "panels": [{**panel, **fault}]}
            if not compiled(broken, folder):
                sys.exit(f"the compiler accepts {fault}")
    print("dashboard: compiles against Grafana's types; three faults do not")


if __name__ == "__main__":
    main()
