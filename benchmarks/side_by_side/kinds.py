"""Sections of the page about other kinds of networks: vision transformers and sentences."""

from . import costs
from .lines import table
from .records import Group, Records

SHOWN = 15
"""Sentences in the paper's Table 2, about: its columns are broken over lines."""


def transformers(records: Records) -> str:
    """Return appendix C.6: images out of vision transformers."""
    rows = [_transformer(group) for group in records.groups("vit")]
    head = ("row", "SSIM of each image, audit mode", "strangers", "ended", "seconds", "peak, MB", "record")
    return f"""The paper shows ten images of ImageNet at 224 x 224 out of a fine-tuned ViT (Fig. 22, no number, the
size of the ViT not said), with a term on the position embedding. Ours is `patches` on networks from a random start.
One image of 224 x 224 comes back all but exactly even from ViT-B/16 (`n1-vit-b`); **several images do not, but for
two after one step**, and of ten images of 224 x 224 there is no row: the paper is ahead here, by its pictures. That
row, not run: {costs.transformer(records)}; from the four images below it would hardly show more than they do.

{table(head, rows)}
"""


def _transformer(group: Group) -> tuple[str, ...]:
    row = group.first
    scores = ", ".join(f"{value:.3f}" for value in row["ssim"])
    return (f"`{row['row']}`", scores, f"{row['ssim_strangers']:.2f}", row["status"], f"{row['seconds']:.0f}",
            f"{row['peak_memory_mb']:.0f}", group.reference)  # fmt: skip


def sentences(records: Records) -> str:
    """Return appendix C.7: sentences."""
    rows = [_sentences(group) for group in records.groups("text")]
    head = ("row", "ROUGE-1", "ROUGE-2", "ROUGE-L", "strangers", "exact", "seconds", "record")
    return f"""The paper shows some {SHOWN} sentences of CoLA out of a fine-tuned TinyBERT, most with their words out
of order, without a number (Table 2). Ours is `tokens` on MiniLM with a fresh head, sentences of CoLA; the kind of
optimiser is known. Values of each seed; "exact" is the share of sentences that are right in every token, "strangers"
ROUGE-L with sentences that were not trained on. A row with "strangers" in its record was trained on other sentences
than it is compared with. What the rows are: [sentences](benchmarks.md#sentences).

{table(head, rows)}
"""


def _sentences(group: Group) -> tuple[str, ...]:
    row = group.first
    name = f"`{row['row']}`" + " against strangers" * row["strangers"]
    told = (group.text(key) for key in ("rouge_1", "rouge_2", "rouge_l", "rouge_l_strangers"))
    return name, *told, group.text("exact", 2), group.text("seconds", 0), group.reference
