"""What `tokens` and `rewrite` read off a fine-tuned MiniLM: ``python -m benchmarks.text [ROW ...] [--seeds N]``.

A row is a fine-tuning of MiniLM (6 layers x 384) with a fresh head on sentences of CoLA, in plain PyTorch, padded to
the longest, without dropout. `tokens` knows the kind of optimiser and nothing else: neither how many sentences there
were nor a label or learning rate; `rewrite`, in rows of its own, is told the recipe. Each sentence is paired with one
that was found; beside it stand as many sentences that the victim never saw. A finished row goes to
``benchmarks/results/text.json`` and is not run again; ``--table`` prints the file as Markdown. Seconds are those of the
processor: the machine is shared.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.images.normalisation import PLAIN
from memaudit.attacks.rewrite import Rewrite
from memaudit.attacks.text.medium import Tokens as Medium
from memaudit.attacks.tokens import Tokens
from memaudit.audit.checkpoints.pair import Checkpoint, CheckpointPair
from memaudit.audit.data.opening import open_source
from memaudit.audit.families.beside import Beside, read_beside
from memaudit.audit.families.detect import detect
from memaudit.audit.families.media import medium_of
from memaudit.audit.families.victim import victim
from memaudit.audit.machine.numerics import exact_numerics
from memaudit.audit.run.drive import drive
from memaudit.audit.scoring.pairing import assign
from memaudit.audit.scoring.text import Sentence

from .paper import machine
from .paper_table import load
from .victims import SHARED

RESULTS = Path(__file__).parent / "results" / "text.json"
WEIGHTS = "weights/minilm-l6-fp16"
AWAY = 500
"""Lines of the pack before those that a victim never saw."""


@dataclass(frozen=True)
class Row:
    """One fine-tuning: sentences, steps, and how they were taken.

    Attributes:
        batch: Sentences of each step, in the same order in every epoch; 0 for all.
        joined: So many of the pack's sentences are joined to one.
        rewritten: Steps of `rewrite`, which is told the recipe, from the end of `tokens`; 0 for none.
    """

    size: int
    steps: int = 20
    lr: float = 0.02
    optimizer: str = "sgd"
    momentum: float = 0.0
    weight_decay: float = 0.0
    frozen: bool = False
    batch: int = 0
    joined: int = 1
    rewritten: int = 0


ADAMW: dict[str, Any] = {"lr": 1e-4, "optimizer": "adamw", "weight_decay": 0.01}

ROWS = {
    **{f"n{n}": Row(n) for n in (1, 4, 10, 15)},
    **{f"n{n}-step": Row(n, steps=1, lr=0.05) for n in (1, 4, 10, 15)},
    "n4-lr0.05": Row(4, lr=0.05),
    "n4-momentum": Row(4, momentum=0.9),
    "n4-frozen-step": Row(4, steps=1, lr=0.05, frozen=True),
    "n4-frozen": Row(4, frozen=True),
    "n8-batches": Row(8, batch=4, steps=20),
    "n2-joined2": Row(2, joined=2),
    "n2-joined6": Row(2, joined=6),
    **{f"n{n}-adamw": Row(n, **ADAMW) for n in (1, 4, 15)},
    "n4-adamw-rewrite": Row(4, **ADAMW, rewritten=40),
}


def network(pack: Path, seed: int) -> tuple[nn.Module, Beside]:
    """Return MiniLM with a fresh head, and what lies beside its weights."""
    from transformers import BertConfig, BertForSequenceClassification

    folder = pack / WEIGHTS
    beside = read_beside(str(folder))
    config = BertConfig(**{**beside.settings, "num_labels": 2, "attn_implementation": "eager"})
    torch.manual_seed(seed)
    model = BertForSequenceClassification(config).eval()
    weights = {f"bert.{name}": value.float() for name, value in load_file(folder / "model.safetensors").items()}
    model.load_state_dict(weights, strict=False)
    return model, beside


def pair_of(model: nn.Module, row: Row, ids: Tensor, labels: Tensor, pad: int) -> CheckpointPair:
    """Train a network on sentences, and return it before and after as if read from files."""
    before = {name: value.detach().clone() for name, value in model.state_dict().items()}
    for name, value in model.named_parameters():
        value.requires_grad_(not (row.frozen and ".embeddings." in name))
    learned = [value for value in model.parameters() if value.requires_grad]
    if row.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(learned, lr=row.lr, weight_decay=row.weight_decay)
    else:
        optimizer = torch.optim.SGD(learned, lr=row.lr, momentum=row.momentum, weight_decay=row.weight_decay)
    for step in range(row.steps):
        some = torch.arange(len(ids)).roll(-step * row.batch)[: row.batch or len(ids)]
        optimizer.zero_grad()
        logits = model(input_ids=ids[some], attention_mask=(ids[some] != pad).long()).logits
        cross_entropy(logits, labels[some]).backward()
        optimizer.step()
    after = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return CheckpointPair(*(Checkpoint(side, "torch", side, ("float32",), part, {k: v.dtype for k, v in part.items()})
                            for side, part in (("before", before), ("after", after))))  # fmt: skip


def subject(row: Row, pack: Path, seed: int, strangers: bool) -> tuple[Victim, Sentence, Tensor, Tensor]:
    """Return a victim, the kind of its records, its sentences, and as many that it never saw."""
    model, beside = network(pack, seed)
    names = {name: value.detach() for name, value in model.state_dict().items()}
    architecture, module = detect(names, beside=beside)
    start = CheckpointPair(*(Checkpoint(side, "torch", side, (), names) for side in ("before", "after")))
    _, medium = medium_of(start, architecture, module, beside, PLAIN)
    data = open_source(f"text:{pack / 'cola.tsv'}", architecture.shape, medium=medium)
    data = replace(data, records=joined(data.records, row.joined, medium), labels=data.labels[:: row.joined])
    first = row.size * seed
    away = AWAY // row.joined + first
    places = [slice(first, first + row.size), slice(away, away + row.size)]
    trained = places[1] if strangers else places[0]
    length = int((data.records[trained] != medium.pad).sum(1).max())
    ids, labels = data.records[trained][:, :length], data.labels[trained]
    pair = pair_of(model, row, ids, labels, medium.pad)
    architecture, medium = medium_of(pair, architecture, module, beside, PLAIN)
    made = victim(pair, architecture, module, medium)
    cut = [part[:, : medium.length] for part in (data.records[places[0]], data.records[places[1]])]
    return made, Sentence(medium), cut[0], cut[1]


def joined(records: Tensor, count: int, medium: Medium) -> Tensor:
    """Return sentences (n, L) as longer ones, so many that follow each other as one each."""
    around = {medium.first, medium.last, medium.pad}
    made = torch.full((-(-len(records) // count), records.shape[1]), medium.pad)
    for row, some in zip(made, records.split(count), strict=True):
        words = [medium.first, *(w for ids in some.tolist() for w in ids if w not in around), medium.last]
        row[: len(words)] = torch.tensor(words)[: len(row)]
    return made


def measure(name: str, seed: int, pack: Path, strangers: bool) -> dict[str, Any]:
    """Run one row and score it."""
    row = ROWS[name]
    with exact_numerics():
        made, kind, truth, others = subject(row, pack, seed, strangers)
        used: dict[str, Any] = {name: getattr(row, name) for name in ("optimizer", "momentum", "weight_decay")}
        recipe = Recipe(row.size, row.lr, row.size, row.steps, **used)  # tokens uses its kind alone
        began = time.process_time()
        outcome = drive(Tokens(), made, recipe, seed)
        read = set(outcome.state.constants["tokens"].tolist())
        if row.rewritten:
            outcome = drive(Rewrite(iterations=row.rewritten), made, recipe, seed, start=outcome.state)
        seconds = time.process_time() - began
    found = outcome.reconstruction
    assert found is not None
    seen, own = (set(ids.unique().tolist()) - {made.medium.pad} for ids in (found.records, truth))
    return {
        **scores(kind, truth, found.records, found.inputs),
        "rouge_l_strangers": scores(kind, others, found.records, found.inputs)["rouge_l"],
        "sentences": len(found.records),
        "tokens_read": len(read),
        "tokens_precision": round(len(read & own) / max(len(read), 1), 4),
        "tokens_recall": round(len(read & own) / len(own), 4),
        "tokens_used": round(len(seen & own) / len(own), 4),
        "left": round(found.loss, 5), "steps": outcome.state.step, "seconds": round(seconds, 1),
        "peak_memory_bytes": outcome.peak_bytes, **machine("cpu"),
    }  # fmt: skip


def scores(kind: Sentence, truth: Tensor, found: Tensor, inputs: Tensor) -> dict[str, float]:
    """Return means over the sentences, each paired with one that was found so that ROUGE-L is highest in all."""
    matrix = kind.matrix(truth, found)
    total = dict.fromkeys(("rouge_l", "rouge_1", "rouge_2", "tokens", "exact"), 0.0)
    for sample, guess in assign(matrix.numpy(), "hungarian"):
        details = kind.details(truth[[sample]], found[[guess]], inputs[[guess]])
        for name in total:
            total[name] += float(matrix[sample, guess]) if name == "rouge_l" else details[name]
    return {name: round(value / len(truth), 4) for name, value in total.items()}


HEAD = ("row", "seed", "ROUGE-1", "ROUGE-2", "ROUGE-L", "strangers", "exact", "tokens read: precision, recall", "left",
        "time")  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return results as Markdown, in the order of :data:`ROWS`."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for row in sorted(rows, key=lambda row: (list(ROWS).index(row["row"]), row["strangers"], row["seed"])):
        size = ROWS[row["row"]].size
        lines.append((
            row["row"] + ", against strangers" * row["strangers"], str(row["seed"]), f"{row['rouge_1']:.3f}",
            f"{row['rouge_2']:.3f}", f"{row['rouge_l']:.3f}", f"{row['rouge_l_strangers']:.3f}",
            f"{round(row['exact'] * size)} of {size}", f"{row['tokens_precision']:.3f}, {row['tokens_recall']:.3f}",
            f"{row['left']:.4f}", f"{row['seconds']:.0f} s",
        ))  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure the rows that were asked for, and add them to the results file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help=f"any of {list(ROWS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of head, sentences and attack alike")
    parser.add_argument("--strangers", action="store_true", help="train on other sentences than are compared with")
    parser.add_argument("--data-pack", type=Path, default=SHARED, help="folder of the data pack")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results file as Markdown")
    asked = parser.parse_args(words)
    known = load(asked.results) if asked.results.exists() else []
    if asked.table:
        print(table(known))
    for name in asked.rows:
        for seed in asked.seeds:
            about = {"row": name, "seed": seed, "strangers": asked.strangers}
            if any(all(old[key] == value for key, value in about.items()) for old in known):
                print(f"{name}, seed {seed}: measured before", flush=True)
                continue
            known.append(about | measure(name, seed, asked.data_pack, asked.strangers))
            asked.results.write_text(json.dumps(known, indent=1) + "\n")
            told = ("rouge_1", "rouge_2", "rouge_l", "rouge_l_strangers", "exact", "left", "seconds")
            print(f"{name}, seed {seed}:", ", ".join(f"{key} {known[-1][key]}" for key in told), flush=True)


if __name__ == "__main__":
    main()
