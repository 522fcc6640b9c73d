"""Tiny causal language models as transformers saves them, before and after a fine-tuning by plain torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor

from .hf import WORDS, Pair, sentences

PLACES = 24
"""Of the networks."""


def tokenizer() -> Tokenizer:
    """Return one that knows every word of the sentences."""
    words = ["<unk>", *(word for word in WORDS if not word.startswith("["))]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def encoded(texts: Sequence[str]) -> list[Tensor]:
    """Return the tokens (1, L) of each text."""
    made = tokenizer()
    return [torch.tensor([made.encode(text).ids]) for text in texts]


def network(seed: int = 0, width: int = 32) -> Any:
    """Return transformers' own GPT-2 of two layers, with random weights and without dropout."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": width, "n_layer": 2, "n_head": 2, "n_positions": PLACES}
    drops = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(GPT2Config(vocab_size=tokenizer().get_vocab_size(), **sizes, **drops, **ends)).eval()


def tuned(made: Any, texts: Sequence[str], epochs: int, lr: float = 3e-3, seed: int = 0) -> None:
    """Train a network in place with AdamW, a few texts at a time, each by itself: no padding, no mask."""
    known, order = encoded(texts), torch.Generator().manual_seed(seed)
    steps = torch.optim.AdamW(made.parameters(), lr)
    for _ in range(epochs):
        for rows in torch.randperm(len(known), generator=order).split(8):
            steps.zero_grad()
            for row in rows.tolist():
                (made(input_ids=known[row], labels=known[row]).loss / len(rows)).backward()
            steps.step()


def folder(path: Path, members: int = 40, others: int = 1100, epochs: int = 15, seed: int = 0) -> Pair:
    """Write two folders, ``before`` and ``after``, and files of sentences, ``train.txt`` and ``control.txt``.

    The network before knows the language: it was trained on other sentences.

    Args:
        path: Where.
        members: Sentences of the fine-tuning.
        others: Held-out ones.
        epochs: Of the fine-tuning.
        seed: Of weights and sentences.
    """
    drawn = sentences(members + others + 100, seed)
    train, control, language = drawn[:members], drawn[members : members + others], drawn[members + others :]
    made = network(seed)
    tuned(made, language, 6)
    made.save_pretrained(path / "before")
    tuned(made, train, epochs)
    made.save_pretrained(path / "after")
    for place in ("before", "after"):
        tokenizer().save(str(path / place / "tokenizer.json"))
    for name, rows in (("train.txt", train), ("control.txt", control)):
        (path / name).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return Pair(path / "before", path / "after", path / "train.txt", path / "control.txt")
