"""Print, write or draw the page: ``python -m benchmarks.side_by_side [--write] [--figure]``.

``--write`` puts the generated part between its markers in docs/paper.md, ``--figure`` draws docs/paper.png. Run both
after any file of ``benchmarks/results/`` has changed.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..engine import fill
from .page import page
from .records import Records

DOCS = Path(__file__).parents[2] / "docs"


def main(words: Sequence[str] | None = None) -> None:
    """Do what was asked; print the page where nothing was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="refresh docs/paper.md")
    parser.add_argument("--figure", action="store_true", help="draw docs/paper.png")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of both")
    asked = parser.parse_args(words)
    if asked.figure:
        from .picture import draw  # matplotlib, which a bare machine may lack

        draw(Records(), asked.docs / "paper.png")
    if asked.write:
        fill(asked.docs / "paper.md", "side by side", page(Records()).rstrip())
    if not (asked.write or asked.figure):
        print(page(Records()))


if __name__ == "__main__":
    main()
