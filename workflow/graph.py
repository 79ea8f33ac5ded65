"""Draw the DAG of dvc.yaml into docs/workflow.md, its stages taken together by kind."""

from itertools import groupby
from pathlib import Path

import networkx as nx
from dvc.repo import Repo

from ecc.files import atomic_path
from ecc.report.readme import fill

PAGE = Path("docs/workflow.md")


def main() -> None:
    """Rewrite the page, unless its drawing is that of dvc.yaml already."""
    text = PAGE.read_text(encoding="utf-8")
    filled = fill(text, {"dag": drawing(Repo().index.graph)})
    if filled != text:
        with atomic_path(PAGE) as path:
            path.write_text(filled, encoding="utf-8")


def drawing(graph: nx.DiGraph) -> str:
    """A Mermaid flow chart of DVC's graph, in which an edge points to what a stage depends on.

    An edge that others already imply is left out.
    """
    kinds = nx.DiGraph()
    names: dict[str, str] = {}
    for stage in sorted(graph, key=lambda stage: stage.addressing):
        kind, _, item = stage.addressing.partition("@")
        names[kind] = f"{kind} @ …" if item else kind
        kinds.add_node(kind)
        for needed in graph.successors(stage):
            if (other := needed.addressing.partition("@")[0]) != kind:
                kinds.add_edge(other, kind)
    order = list(nx.lexicographical_topological_sort(kinds))
    place = {kind: number for number, kind in enumerate(order)}
    edges = sorted(nx.transitive_reduction(kinds).edges, key=lambda e: (place[e[0]], place[e[1]]))
    lines = [f'    {kind}["{names[kind]}"]' for kind in order]
    lines += [
        f"    {start} --> {' & '.join(end for _, end in ends)}"
        for start, ends in groupby(edges, key=lambda edge: edge[0])
    ]
    return "\n".join(["```mermaid", "flowchart LR", *lines, "```"])


if __name__ == "__main__":
    main()
