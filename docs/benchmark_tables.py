"""The directive ``benchmark``: what a benchmark last found, as tables and bars."""

import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import figures
import history
import report


class BenchmarkDirective(SphinxDirective):
    """``.. benchmark:: splits`` shows benchmarks/results/bench_splits.json."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        (name,) = self.arguments
        found = figures.load(name)
        if found is None:
            raise self.error(f"benchmarks/results/bench_{name}.json does not exist")
        self.env.note_dependency(str(figures.RESULTS / f"bench_{name}.json"))
        return self.parse_text_to_nodes(report.section(name, found))


class SlowdownsDirective(SphinxDirective):
    """``.. slowdowns::`` lists what is slower than the median of earlier runs."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(history.HISTORY))
        found = history.slowdowns(history.read())
        lines = [f"- {slowdown}" for slowdown in found]
        return self.parse_text_to_nodes("\n".join(lines) or "None.")


def setup(app):
    """Add both directives."""
    app.add_directive("benchmark", BenchmarkDirective)
    app.add_directive("slowdowns", SlowdownsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
