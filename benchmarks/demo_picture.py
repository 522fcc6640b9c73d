"""The README's picture: ``python -m benchmarks.demo_picture RUN`` draws the pairs of a demo's run to docs/demo.png."""

import sys
from pathlib import Path

from PIL import Image

from memaudit.audit.report.file import load

SIDE, GAP, MARGIN = 92, 4, 14


def main() -> None:
    """Draw originals above their reconstructions, the most similar first."""
    run = Path(sys.argv[1])
    matches = sorted(load(run).attacks[0].matches, key=lambda match: -match.scores.similarity)
    width = 2 * MARGIN + len(matches) * (SIDE + GAP) - GAP
    sheet = Image.new("RGB", (width, 2 * MARGIN + 2 * SIDE + GAP), "white")
    for column, match in enumerate(matches):
        for row, exhibit in enumerate((match.truth, match.reconstruction)):
            with Image.open(run / exhibit.path) as picture:
                large = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(large, (MARGIN + column * (SIDE + GAP), MARGIN + row * (SIDE + GAP)))
    sheet.save(Path(__file__).resolve().parents[1] / "docs" / "demo.png", optimize=True)


if __name__ == "__main__":
    main()
