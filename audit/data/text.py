"""Sentences in a text file, which the tokenizer of the model's folder turns into token numbers."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor

from ..plugins import one_line
from ..words import count
from .assembly import AS_STORED
from .preparation import Preparation
from .records import MAX_BYTES, DataError, TrainingSet, check_kind
from .sentences import class_indices, read_sentences

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

    from ...attacks.contract.medium import Medium
    from ...attacks.text.medium import Tokens

SCHEME = "text:"


class TextSource:
    """``text:FILE`` or ``text:FILE#COLUMN``; see :func:`.sentences.read_sentences` for the forms of a file."""

    form: ClassVar[str] = "text:FILE[#COLUMN] with sentences: label, tabulator, sentence (.tsv); CSV; JSON lines; lines"

    def accepts(self, spec: str) -> bool:
        """Return whether ``spec`` begins with ``text:``."""
        return spec.startswith(SCHEME)

    def open(self, spec: str) -> "RawText":
        """Read the file. Raises :class:`.records.DataError`; see :func:`.sentences.read_sentences`."""
        place, column = spec.removeprefix(SCHEME), ""
        if "#" in place and not os.path.exists(place):
            place, _, column = place.rpartition("#")
        path = Path(place)
        found = read_sentences(path, column)
        labels, names = class_indices(repr(place), found)
        sentences = tuple(sentence.text for sentence in found)
        return RawText(sentences, tuple(labels), tuple(f"{path.name}:{s.line}" for s in found), names)


@dataclass(frozen=True)
class RawText:
    """Sentences before they are split into tokens.

    Attributes:
        sentences: At least one.
        labels: Class index of each; -1 for unknown.
        names: Of each, for reports: the file and the line.
        class_names: Class index to name; empty if unknown.
    """

    sentences: tuple[str, ...]
    labels: tuple[int, ...]
    names: tuple[str, ...]
    class_names: tuple[str, ...] = ()

    def assembled(
        self,
        spec: str,
        shape: tuple[int, ...] | None = None,
        preparation: Preparation = AS_STORED,
        skip: bool = False,
        medium: "Medium | None" = None,
    ) -> TrainingSet:
        """Split the sentences into tokens (m, L), special ones among them, cut and padded to the network's length.

        Raises:
            DataError: The medium is of another kind; its tokenizer cannot be used; all would take too much memory.
        """
        check_kind(spec, "text", "sentences", medium)
        tokens = cast("Tokens", medium)
        if len(self.sentences) * tokens.length * 8 > MAX_BYTES:
            raise DataError(f"{spec!r} holds too many sentences.", "Give the subset that is to be audited.")
        tokenizer = tokenizer_of(tokens)
        records, cut = tokenised(self.sentences, tokens, tokenizer)
        labels = torch.tensor(self.labels)
        longer = (
            f"{cut} of {count(len(records), 'sentence')} of {spec!r} hold more than the {tokens.length} tokens that "
            "the network sees, and are cut there."
        )
        strange = (
            f"More than half of the tokens of {spec!r} are unknown to the tokenizer beside the weights: it does not "
            "fit these texts."
        )
        return TrainingSet(
            records=records,
            labels=labels,
            names=self.names,
            class_names=self.class_names,
            digest=_digest(records, labels),
            resized=cut > 0,
            warnings=(longer,) * (cut > 0) + (strange,) * _unfit(records, tokens, tokenizer),
        )


def tokenizer_of(medium: "Tokens") -> "Tokenizer":
    """Return the tokenizer of a model.

    Raises:
        DataError: The model has none, or one that the library does not understand; or there is no such library.
    """
    if not medium.tokenizer:
        raise DataError("No tokenizer came with the model.", "Put its tokenizer.json or vocab.txt beside its weights.")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise DataError(
            "Sentences need the package tokenizers, which is not installed.",
            "Run pip install '.[text]' in a checkout of memaudit.",
        ) from None
    try:
        return Tokenizer.from_str(medium.tokenizer)
    except Exception as error:  # The library raises plain exceptions.
        raise _unusable(error) from error


def _encoded(sentence: str, tokenizer: "Tokenizer") -> "Encoding":
    try:
        return tokenizer.encode(sentence)
    except Exception as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> DataError:
    return DataError(
        f"The model's tokenizer.json cannot be used: {one_line(error)}.", "Save it with transformers again."
    )


def tokenised(sentences: Sequence[str], medium: "Tokens", tokenizer: "Tokenizer") -> tuple[Tensor, int]:
    """Return token numbers (m, L) int64 of sentences, and how many of these were cut.

    Raises:
        DataError: The tokenizer knows more tokens than the network, or these have no room in its input.
    """
    special = tokenizer.num_special_tokens_to_add(False)
    if medium.length <= special:
        raise DataError(
            f"The network sees {count(medium.length, 'token')}, and {special} of each sentence are special ones."
        )
    tokenizer.no_padding()
    tokenizer.enable_truncation(medium.length)
    records, cut = torch.full((len(sentences), medium.length), medium.pad), 0
    for row, sentence in enumerate(sentences):
        found = _encoded(sentence, tokenizer)
        records[row, : len(found.ids)] = torch.tensor(found.ids, dtype=torch.long)
        cut += bool(found.overflowing)
    highest, known = int(records.max()) if len(records) else 0, len(medium.table)
    if highest >= known:
        raise DataError(
            f"The model's tokenizer gives token {highest}, and the network knows {known} tokens.",
            "Give the tokenizer.json that belongs to the model.",
        )
    return records, cut


def _unfit(records: Tensor, medium: "Tokens", tokenizer: "Tokenizer") -> bool:
    """Return whether more than half of the tokens, but for those that begin, end and pad, are the unknown one."""
    model = json.loads(medium.tokenizer)["model"]
    number = model.get("unk_id") if model.get("unk_token") is None else tokenizer.token_to_id(model["unk_token"])
    if number is None:
        return False
    frame = torch.tensor([medium.pad, medium.first, medium.last])
    return bool(2 * (records == number).sum() > (~torch.isin(records, frame)).sum())


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
