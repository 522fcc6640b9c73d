"""Tiny folders as transformers saves them: sentence classifiers before and after a fine-tuning by plain torch."""

import random
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.contract.victim import Victim
from memaudit.attacks.text.medium import Tokens
from memaudit.audit.families.transformer import Sentences

from .conftest import optimizer_of
from .texts import SPECIAL, byte_level, medium, wordpiece

_NOUNS = (
    "boy girl cat dog garden letter river lamp stone bridge piano wolf baker sailor candle harbour orchard kettle "
    "mirror ladder violin market pigeon tower blanket doctor hammer meadow saddle window"
)
_VERBS = "saw found lost painted carried sold broke hid washed followed bought cleaned watched forgot"
_OTHERS = "old red quiet heavy broken small bright cold green wooden sharp young narrow empty"
_JOINTS = "the a near behind under without before every his her my and slowly never often again . ? !"
WORDS = (*SPECIAL, *(word for line in (_NOUNS, _VERBS, _OTHERS, _JOINTS) for word in line.split()))
"""The vocabulary: some eighty words."""

LENGTH = 16
"""Places of the networks."""


STD = 0.1
"""Standard deviation of weights at the start: attention tells words apart, as after a pretraining."""


class Pair(NamedTuple):
    """Folders and files of a fine-tuning."""

    before: Path
    after: Path
    data: Path
    control: Path


@cache
def sentences(count: int, seed: int = 0) -> tuple[str, ...]:
    """Return different sentences of 5 to 11 words, drawn once."""
    drawn, found = random.Random(seed), dict[str, None]()
    while len(found) < count:
        noun, other, verb = (_shuffled(line.split(), drawn) for line in (_NOUNS, _OTHERS, _VERBS))
        parts = [
            drawn.choice(("the", "a", "every", "his", "her", "my")),
            *([next(other)] if drawn.random() < 0.6 else []),
            next(noun), next(verb),
            *(["slowly"] if drawn.random() < 0.2 else []),
            *(["and", next(verb)] if drawn.random() < 0.3 else []),
            "the", *([next(other)] if drawn.random() < 0.5 else []), next(noun),
            *([drawn.choice(("near", "behind", "under", "without")), "a", next(noun)] if drawn.random() < 0.4 else []),
            drawn.choice((".", ".", "?", "!")),
        ]  # fmt: skip
        found[" ".join(parts)] = None
    return tuple(found)


def _shuffled(words: list[str], drawn: random.Random) -> Iterator[str]:
    return iter(drawn.sample(words, len(words)))


def tokenizer(kind: str = "bert") -> Tokenizer:
    """Return the tokenizer of a kind of network."""
    return byte_level() if kind == "roberta" else wordpiece(WORDS)


def network(kind: str = "bert", classes: int = 2, width: int = 32, length: int = LENGTH, seed: int = 0) -> Any:
    """Return one of transformers' own sequence classifiers, without dropout, with random weights."""
    import transformers

    words = tokenizer(kind).get_vocab_size()
    sizes = {"vocab_size": words, "num_labels": classes, "initializer_range": STD, "attn_implementation": "eager"}
    if kind == "distilbert":
        sizes |= {"dim": width, "n_layers": 2, "n_heads": 2, "hidden_dim": 2 * width, "max_position_embeddings": length}
        sizes |= {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    else:
        offset = 2 if kind == "roberta" else 0
        sizes |= {
            "hidden_size": width,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 2 * width,
        }
        sizes |= {"intermediate_size": 2 * width, "max_position_embeddings": length + offset}
        sizes |= {"hidden_dropout_prob": 0.0}
        sizes |= {"attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
    sizes |= {"embedding_size": width} if kind == "electra" else {}
    sizes |= {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2} if kind == "roberta" else {"pad_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = transformers.AutoModelForSequenceClassification.from_config(
            transformers.AutoConfig.for_model(kind, **sizes)
        )
    return made.eval()


def encoded(texts: Sequence[str], kind: str = "bert", length: int = LENGTH) -> Tensor:
    """Return the token numbers (n, L) of sentences."""
    made, pad = tokenizer(kind), 1 if kind == "roberta" else 0
    ids = torch.full((len(texts), length), pad)
    for row, text in enumerate(texts):
        found = made.encode(text).ids[:length]
        ids[row, : len(found)] = torch.tensor(found)
    return ids


def tuned(made: Any, ids: Tensor, labels: Tensor, recipe: Recipe, frozen: str = "") -> None:
    """Train a network of transformers, in place and in eval mode, on whole batches or on batches in their order.

    Args:
        made: The network.
        ids: (n, L) tokens.
        labels: (n,) classes.
        recipe: How.
        frozen: Parameters whose name holds this stay as they are; empty for none.
    """
    pad = made.config.pad_token_id
    for name, value in made.named_parameters():
        value.requires_grad_(not frozen or frozen not in name)
    optimizer = optimizer_of([value for value in made.parameters() if value.requires_grad], recipe)
    for _ in range(recipe.epochs):
        for rows in torch.arange(len(ids)).split(recipe.batch_size):
            optimizer.zero_grad()
            logits = made(input_ids=ids[rows], attention_mask=(ids[rows] != pad).long()).logits
            nn.functional.cross_entropy(logits, labels[rows]).backward()
            optimizer.step()


def victim(
    texts: Sequence[str],
    labels: Sequence[int],
    recipe: Recipe,
    *,
    kind: str = "bert",
    classes: int = 2,
    width: int = 32,
    frozen: str = "",
) -> Victim:
    """Return a fine-tuned network as a victim in float64, without any file, cut to the longest sentence."""
    ids = encoded(texts, kind)
    ids = ids[:, : int((ids != (1 if kind == "roberta" else 0)).any(0).nonzero().max()) + 1]
    made = network(kind, classes, width).double()
    theta0 = {f"model.{name}": value.detach().clone() for name, value in made.named_parameters()}
    tuned(made, ids, torch.tensor(labels), recipe, frozen)
    thetaf = {f"model.{name}": value.detach().clone() for name, value in made.named_parameters()}
    moved = {name for name, value in theta0.items() if not torch.equal(value, thetaf[name])}
    table = made.get_input_embeddings().weight
    seen = medium(tokenizer(kind), ids.shape[1])
    words = next(value for name, value in theta0.items() if name.endswith("word_embeddings.weight"))
    seen = Tokens(ids.shape[1], seen.pad, seen.first, seen.last, words, seen.tokenizer, seen.digest)
    module = Sentences(made, seen.pad, 2 if kind == "roberta" else 0)
    still = {name: value for name, value in theta0.items() if name not in moved}
    known = {**dict(module.named_buffers()), **still}
    return Victim(
        module, {n: theta0[n] for n in theta0 if n in moved}, {n: thetaf[n] for n in theta0 if n in moved}, known,
        (ids.shape[1], table.shape[1]), classes, seen,
    )  # fmt: skip


def folder(
    path: Path,
    *,
    kind: str = "bert",
    texts: Sequence[str] = (),
    labels: Sequence[int] = (),
    recipe: Recipe | None = None,
    classes: int = 2,
    width: int = 32,
    base: bool = False,
    frozen: str = "",
    controls: int = 60,
    seed: int = 0,
) -> Pair:
    """Write two folders, ``before`` and ``after``, and files of sentences, ``train.tsv`` and ``control.tsv``.

    Args:
        path: Where.
        kind: ``bert``, ``distilbert``, ``roberta`` or ``electra``.
        texts: What it is trained on; four sentences if none are given.
        labels: Of these; 0, 1, 0, ... if none are given.
        recipe: How; 20 steps of SGD on all sentences if ``None``.
        classes: Number of classes.
        width: Of its layers.
        base: The start is saved as the base network, without a head.
        frozen: As in :func:`tuned`.
        controls: Sentences that it never saw.
        seed: Of its weights.
    """
    texts = tuple(texts) or sentences(4)
    labels = tuple(labels) or tuple(k % classes for k in range(len(texts)))
    recipe = recipe or Recipe(size=len(texts), lr=0.05, batch_size=len(texts), epochs=20)
    made = network(kind, classes, width, seed=seed)
    before, after = path / "before", path / "after"
    (getattr(made, made.base_model_prefix) if base else made).save_pretrained(before)
    tuned(made, encoded(texts, kind), torch.tensor(labels), recipe, frozen)
    made.save_pretrained(after)
    for place in (before, after):
        tokenizer(kind).save(str(place / "tokenizer.json"))
    others = [text for text in sentences(controls + len(texts), 1) if text not in texts][:controls]
    for name, rows in (("train.tsv", texts), ("control.tsv", others)):
        lines = [f"{labels[k] if rows is texts else k % classes}\t{text}\n" for k, text in enumerate(rows)]
        (path / name).write_text("".join(lines), encoding="utf-8")
    return Pair(before, after, path / "train.tsv", path / "control.tsv")
