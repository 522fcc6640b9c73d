"""The generated part of docs/paper.md: a summary, a section for each question of the paper, and every record used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import images, kinds, questions
from .lines import Line, table
from .records import Records

SECTIONS: dict[str, Callable[[Records], str]] = {
    "ResNet-18, 20 to 120 images (Figs. 1, 5, 6, 19, 20, 23 to 40)": images.resnet,
    "Time and memory (Tab. 3)": images.resources,
    "MLPs (Figs. 4, 18, C.5)": images.mlp,
    "Larger images, SVHN, ResNet-50 (C.1, C.2)": images.others,
    "Linearity (Tab. 1)": questions.linearity,
    "Guessed learning rate and batch size (Figs. 2, 3, 7)": questions.rates,
    "Where the dummies start (Fig. 8)": questions.start,
    "Unknown number of images (Figs. 9, 10)": questions.size,
    "Distance (App. B, Fig. 11)": questions.distance,
    "Total variation (C.3, Figs. 15 to 17)": questions.variation,
    "Vision transformers (C.6, Fig. 22)": kinds.transformers,
    "Sentences (C.7, Tab. 2)": kinds.sentences,
    "The published loop beside ours": questions.loop,
}


@dataclass(frozen=True)
class Unrecorded:
    """A number of docs/benchmarks.md that no results file has: what it is of, and the command that would record it."""

    what: str
    command: str
    file: str = ""
    wanted: tuple[tuple[str, Any], ...] = ()

    def still(self, records: Records) -> bool:
        """Whether no row of the file has the wanted values yet."""
        rows = records.rows(self.file) if self.file else []
        return not any(all(row.get(name) == value for name, value in self.wanted) for row in rows)


UNRECORDED = (
    Unrecorded("n = 20 with a swapped head", "no benchmark has this row yet: it was a scan by hand"),
    Unrecorded("ResNet-20, one and two images, three seeds",
               "python -m benchmarks.cover resnet20-1 resnet20-2 --seeds 0 1 2", "cover", (("row", "resnet20-1"),)),
    Unrecorded("MLP and conv net with the recipe given and inferred", "python -m benchmarks.inference unknown",
               "inference", (("group", "unknown"), ("asked", "inferred"))),
    Unrecorded("`span` on 500 images of the MLP", "python -m benchmarks.attacks mlp-500 --attack span",
               "attacks", (("row", "mlp-500"),)),
    Unrecorded("`haim` on the binary MLP trained to rest with weight decay", "no benchmark has this victim yet"),
    Unrecorded("SME over weights of the total variation on seven victims", "no benchmark has these rows yet"),
    Unrecorded("two and four images of a ViT, seeds 1 and 2", "benchmarks.vit has one seed a row"),
    Unrecorded("`rewrite` on `n4-adamw`", "python -m benchmarks.text n4-adamw-rewrite --seeds 1",
               "text", (("row", "n4-adamw-rewrite"),)),
)  # fmt: skip


def lines(records: Records) -> list[Line]:
    """Return every line that has a number of the paper, one a number."""
    found = [*images.resnet_lines(records), *images.mlp_lines(records), *images.other_lines(records)]
    return [line for line in found if line.printed and line.headline]


def summary(records: Records) -> str:
    """Return what was reached, as counts and not as averages."""
    found = lines(records)
    own = [line for line in found if line.printed and line.printed.attack == "SimuDy"]
    rest = [line for line in found if line not in own]
    return f"""Mean SSIM that the paper prints, beside ours on the same kind of victim and in its scoring:

{
        table(
            ("", "numbers", "ours is higher", "ours is lower", "not run here"),
            [
                ("SimuDy", *_counts(own)),
                ("the attacks that it compares with, in its authors' forms", *_counts(rest)),
            ],
        )
    }

What the paper measures on ResNet-18 and we on smaller networks (Figs. 2, 3, 7 to 11, C.3) is not counted: it shows
how the attack behaves, not how good it is."""


def _counts(found: list[Line]) -> tuple[str, ...]:
    differences = {line.printed.item: line.difference for line in found if line.printed}
    higher = [item for item, value in differences.items() if value is not None and value > 0]
    lower = [item for item, value in differences.items() if value is not None and value <= 0]
    missing = [item for item, value in differences.items() if value is None]
    return str(len(differences)), *(
        f"{len(items)}: {', '.join(items)}" if items else "0" for items in (higher, lower, missing)
    )


def page(records: Records) -> str:
    """Return the generated part as Markdown, without its markers."""
    told = summary(records)
    parts = [f"## {title}\n\n{section(records).strip()}" for title, section in SECTIONS.items()]
    sections = "\n\n".join(parts)
    still = [(part.what, f"`{part.command}`" if part.command.startswith("python") else part.command)
             for part in UNRECORDED if part.still(records)]  # fmt: skip
    where = [(str(group.number), group.source, group.versions, group.spent) for group in records.used.values()]
    return f"""{told}

{sections}

## Not on record

Numbers of [benchmarks](benchmarks.md) that no file of `benchmarks/results/` has. They are not repeated here.

{table(("what", "what would record it"), still)}

## Records

Every row that this page has a number from, with hardware, versions and what it took.

{table(("", "record", "hardware, versions", "seconds, peak memory"), where)}
"""
