"""Pictures of search trees: the part that was visited most, as a graph and as a page whose branches open.

Everything is shown from the point of view of the player to move in the root: values are turned by the sign of the
discounts on the way, so that one colour means good for that player wherever it appears.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from trajopt.files import write_atomically
from trajopt.view.page import card, facts_list, header, page, section, tiles
from trajopt.view.plot import inline_svg
from trajopt.view.style import GRID, INK, MUTED, styled

if TYPE_CHECKING:
    from trajopt.solvers.search.tree import Child, SearchTree

_TONES = LinearSegmentedColormap.from_list("bad to good", ["#d6455d", "#e8ebf0", "#1f9e78"])
_OPEN = 2
"""Levels of the most visited line that are open at first."""


@dataclass
class Branch:
    """A node of the tree that is shown.

    Attributes
    ----------
    node
        Its number in the tree; -1 where the process ends.
    label
        What led here.
    visits, share
        Of the edge that leads here, and of its parent's visits.
    value
        Of that edge, for the player to move in the root.
    prior
        Of that edge.
    exact
        Whether the value is certain.
    kind
        Who moves here: "decision", "chance", "sampled" or "end".
    view
        +1 or -1, what turns values of this node's children into those of the root's player.
    children
        Those that are shown.
    hidden
        How many there are besides.
    place
        Horizontal place and depth in the graph.
    """

    node: int
    label: str
    visits: int
    share: float
    value: float
    prior: float
    exact: bool
    kind: str
    view: float
    children: list[Branch] = field(default_factory=list)
    hidden: int = 0
    place: tuple[float, int] = (0.0, 0)

    def walk(self) -> Iterator[Branch]:
        """Yield it and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()


def most_visited(tree: SearchTree, count: int) -> Branch:
    """The root with the ``count`` most visited nodes below it; no node is shown without its parent."""
    root = Branch(tree.root, "now", tree.visits, 1.0, float(tree.node()["value"]), 1.0, bool(tree.node()["exact"]),
                  tree.kind(), 1.0)  # fmt: skip
    waiting: list[tuple[int, int, Branch, Branch]] = []
    order = 0

    def open_branch(branch: Branch) -> None:
        nonlocal order
        children = tree.children(branch.node) if branch.node >= 0 else []
        branch.hidden = len(children)
        for child in children:
            order += 1
            heapq.heappush(waiting, (-child.visits, order, branch, _branch_of(tree, branch, child)))

    open_branch(root)
    for _ in range(count):
        if not waiting:
            break
        _, _, parent, branch = heapq.heappop(waiting)
        parent.children.append(branch)
        parent.hidden -= 1
        open_branch(branch)
    return root


def _branch_of(tree: SearchTree, parent: Branch, child: Child) -> Branch:
    visits = max(int(tree.node(parent.node)["visits"]), 1)
    names = tree.process.action_names
    named = parent.kind == "decision" and names is not None
    label = names[child.action] if named and names is not None else str(child.action)
    if parent.kind != "decision":
        label = f"chance {label}"
    return Branch(
        child.node, label, child.visits, child.visits / visits, parent.view * child.value, child.prior, child.exact,
        tree.kind(child.node) if child.node >= 0 else "end", parent.view * math.copysign(1.0, child.discount or 1.0),
    )  # fmt: skip


def plot_tree(tree: SearchTree, nodes: int = 40) -> Figure:
    """Draw the most visited nodes, the root on top.

    Parameters
    ----------
    tree
        Of a search.
    nodes
        How many to draw besides the root.

    Returns
    -------
    Figure
        Discs are decisions, diamonds chance, squares ends; areas grow with visits, colours tell values as the player to
        move in the root sees them, a dark rim that they are certain.
    """
    root = most_visited(tree, nodes)
    width = _lay_out(root)
    branches = list(root.walk())
    depth = max(branch.place[1] for branch in branches)
    scale = max([abs(branch.value) for branch in branches if np.isfinite(branch.value)], default=0.0) or 1.0
    with styled(**{"axes.grid": False}):
        figure = Figure(figsize=(min(max(5.0, 0.42 * width), 11.0), 1.1 + 0.85 * depth), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axis_off()
        for branch in branches:
            for child in branch.children:
                (x0, y0), (x1, y1) = branch.place, child.place
                axes.plot([x0, x1], [-y0, -y1], color=MUTED, lw=0.6 + 4.0 * child.share, alpha=0.55, zorder=1)
        markers = {"decision": "o", "chance": "D", "sampled": "D", "end": "s"}
        for branch in branches:
            size = 30.0 + 620.0 * math.sqrt(branch.visits / max(root.visits, 1))
            color = _TONES(0.5 + 0.5 * float(np.clip(np.nan_to_num(branch.value) / scale, -1.0, 1.0)))
            x, y = branch.place
            axes.scatter([x], [-y], s=size, marker=markers[branch.kind], color=[color], zorder=2,
                         edgecolors=INK if branch.exact else GRID, linewidths=1.4 if branch.exact else 0.8)  # fmt: skip
            axes.annotate(branch.label, (x, -y), xytext=(0, 5 + math.sqrt(size) / 2), textcoords="offset points",
                          ha="center", va="bottom", fontsize=7.5, color=INK)  # fmt: skip
        axes.set_xlim(-0.8, width - 0.2)
        axes.set_ylim(-depth - 0.6, 0.9)
        axes.set_title(
            f"{tree.process.label}  ·  {tree.visits:,} visits, value {root.value:+.3f}; "
            f"{len(branches) - 1} of {max(tree.size - 1, 0):,} nodes below the root"
        )
    return figure


def _lay_out(root: Branch) -> float:
    """Give leaves places side by side and parents one in the middle of theirs; returns how many leaves there are."""
    leaves = 0.0

    def settle(branch: Branch, depth: int) -> None:
        nonlocal leaves
        for child in branch.children:
            settle(child, depth + 1)
        if branch.children:
            middle = 0.5 * (branch.children[0].place[0] + branch.children[-1].place[0])
            branch.place = (middle, depth)
        else:
            branch.place = (leaves, depth)
            leaves += 1.0

    settle(root, 0)
    return leaves


_STYLE = """<style>
.branch { margin-left: 1.1em; } .outline > .branch { margin-left: 0; }
.branch summary { cursor: pointer; } .branch summary, .leaf { display: flex; gap: 10px; align-items: center;
  padding: 3px 0; font-size: 14px; flex-wrap: wrap; }
.leaf { margin-left: 1.1em; } .branch summary::before { content: "▸"; color: var(--muted); width: 0.9em; }
.branch[open] > summary::before { content: "▾"; } .branch summary::-webkit-details-marker { display: none; }
.leaf::before { content: ""; width: 0.9em; }
.move { font-weight: 600; min-width: 3.2em; } .bar { width: 110px; height: 8px; border-radius: 4px;
  background: var(--grid); overflow: hidden; flex: none; }
.bar i { display: block; height: 100%; background: var(--body); }
.count { color: var(--muted); font-variant-numeric: tabular-nums; min-width: 9.5em; }
.worth { font-variant-numeric: tabular-nums; min-width: 4.5em; } .more { color: var(--muted); margin-left: 2.2em;
  font-size: 13px; } .position { margin: 2px 0 8px 2.2em; }
pre { font: 13px/1.25 ui-monospace, "DejaVu Sans Mono", monospace; margin: 0; overflow-x: auto; }
</style>"""


def write_tree(tree: SearchTree, path: str | Path, nodes: int = 300) -> Path:
    """Write the most visited nodes as one self-contained HTML file whose branches open; returns its path."""
    path = Path(path)
    text = tree_page(tree, nodes)
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def tree_page(tree: SearchTree, nodes: int = 300) -> str:
    """The page as HTML."""
    root = most_visited(tree, nodes)
    name, best = tree.process.label, max(root.children, key=lambda branch: branch.visits, default=None)
    verdict = "certain" if root.exact else "estimated"
    entries = [
        ("Value", f"{root.value:+.4f}", "for the player to move, " + verdict, "good" if root.exact else ""),
        ("Most visited", best.label if best else "none", f"{best.share:.0%} of visits" if best else "", ""),
        ("Visits", f"{tree.visits:,}", "of the root", ""),
        ("Nodes", f"{tree.size:,}", "in memory", ""),
    ]
    outline = f'<div class="outline">{_position(tree, root)}{_below(tree, root, _OPEN)}</div>'
    legend = [
        ("colours, values", "as the player to move in the root sees them"),
        ("rows", "move, share of its parent's visits, visits, value, prior; a row opens to what follows"),
    ]
    return page(
        f"{name}: search tree",
        [
            _STYLE,
            header(name, verdict, "good" if root.exact else "none", "a search tree, its most visited branches"),
            tiles(entries),
            section("What was visited most", card(inline_svg(plot_tree(tree), "tree", name))),
            section("Branch by branch", card(outline)),
            section("How to read it", card(facts_list(legend))),
        ],
    )


def _below(tree: SearchTree, branch: Branch, opened: int) -> str:
    """Rows of the children; the first one is open, and so on for ``opened`` levels."""
    rows = [_row(tree, child, 0 if number else opened) for number, child in enumerate(branch.children)]
    if branch.hidden > 0:
        rows.append(f'<div class="more">and {branch.hidden:,} more</div>')
    return "".join(rows)


def _row(tree: SearchTree, branch: Branch, opened: int) -> str:
    tone = "good" if branch.value > 0.0 else "bad" if branch.value < 0.0 else "none"
    sure = " certain" if branch.exact else ""
    line = (
        f'<span class="move">{escape(branch.label)}</span>'
        f'<span class="bar"><i style="width:{100 * branch.share:.1f}%"></i></span>'
        f'<span class="count">{branch.share:.1%} · {branch.visits:,}</span>'
        f'<span class="worth {tone}">{branch.value:+.3f}{sure}</span>'
        f'<span class="count">prior {branch.prior:.3f}</span>'
    )
    if not branch.children and branch.node < 0:
        return f'<div class="leaf">{line}<span class="count">the end</span></div>'
    if not branch.children:
        return f'<div class="leaf">{line}</div>'
    return (
        f'<details class="branch"{" open" if opened else ""}><summary>{line}</summary>{_position(tree, branch)}'
        f"{_below(tree, branch, max(opened - 1, 0))}</details>"
    )


def _position(tree: SearchTree, branch: Branch) -> str:
    """The position as its process draws it; "" where it cannot."""
    if tree.process.render is None or branch.node < 0:
        return ""
    return f'<div class="position"><pre>{escape(tree.process.render(tree.state_of(branch.node)))}</pre></div>'
