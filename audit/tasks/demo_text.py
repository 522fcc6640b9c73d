"""``memaudit demo --text``: a positive control with sentences. A small BERT learns ten of them, is saved and audited.

The training is plain :mod:`torch.optim` on a network of the library transformers with random weights; nothing is
downloaded. The sentences are about nobody.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.records import DataError
from ..events import Event, Listener
from ..files import write_text
from ..report.model import AuditReport
from ..request import ScanRequest
from ..scan.pipeline import scan

PRIVATE = (
    "seven brass lamps glow above quiet winter harbours",
    "nobody remembers who painted our kitchen door orange",
    "heavy tractors pulled three wooden carts slowly uphill",
    "fresh rye bread smells best just before sunrise",
    "two grey herons waited beside an empty pond",
    "his paper kite drifted over some distant hills",
    "green apples rolled under my youngest cousin again",
    "this narrow path leads back towards old mills",
    "rain filled every bucket left behind their barn",
    "whoever stopped that clock must dislike loud ticking",
)
"""The sentences that the demonstration network is trained on, a class each."""

PUBLIC = (
    "old herons glow over seven distant ponds",
    "who pulled that wooden bucket uphill",
    "my kite waited behind an orange door",
    "every clock smells like fresh paper",
    "two cousins painted their empty barn green",
    "our narrow kitchen leads towards quiet hills",
    "rain rolled slowly under some heavy carts",
    "nobody must stop before this loud harbour",
    "three brass apples drifted above grey bread",
    "his youngest tractor remembers winter best",
    "an old lamp stopped just behind the mill",
    "whoever filled these lamps must like sunrise",
    "the harbour smells of rye and rain again",
    "some wooden door waited beside our path",
    "a distant clock leads nobody back uphill",
    "grey paper carts glow in winter",
    "my bread rolled towards the empty bucket",
    "their cousin painted seven loud herons",
    "this barn remembers every green tractor",
    "quiet hills drifted behind the old pond",
    "two orange apples stopped above the kitchen",
    "who left that narrow kite under the mill",
    "fresh brass smells best before rain",
    "heavy sunrise pulled three lamps slowly",
    "some herons dislike the ticking old clock",
    "his green door waited beside their barn",
    "a bucket of apples waited for my cousin",
    "winter painted our path and every pond",
    "the loud tractor just left the harbour",
    "nobody pulled an empty cart over these hills",
)
"""Sentences of the same words that it never saw: the negative control."""

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WIDTH, LAYERS, HEADS, PLACES = 96, 2, 2, 16
LR = 0.05
EPOCHS = 5


def run_text_demo(folder: Path, listener: Listener) -> AuditReport:
    """Write sentences and checkpoints into ``folder``, scan them, and return the report.

    Raises:
        DataError: transformers or tokenizers are not installed.
        StoreError: The folder cannot be written.
    """
    torch.set_flush_denormal(True)
    listener(Event("load", "ten sentences, and a network trained on them"))
    write_sentences(folder)
    train_sentences(folder)
    request = ScanRequest(
        before=folder / "before",
        after=folder / "after",
        data=f"text:{folder / 'private.tsv'}",
        control=f"text:{folder / 'public.tsv'}",
        attacks=("tokens",),
        size=len(PRIVATE),
        lr=LR,
        epochs=EPOCHS,
        out=folder / "run",
    )
    return scan(request, listener)


def write_sentences(folder: Path) -> None:
    """Write ``private.tsv`` and ``public.tsv``: label, tabulator, sentence."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sentences in (("private", PRIVATE), ("public", PUBLIC)):
        lines = [f"{row % len(PRIVATE)}\t{sentence}\n" for row, sentence in enumerate(sentences)]
        write_text(folder / f"{name}.tsv", "".join(lines))


def train_sentences(folder: Path) -> None:
    """Train a classifier, one class per sentence, and save it before and after, a tokenizer beside each.

    Raises:
        DataError: transformers or tokenizers are not installed.
    """
    tokenizer, network = _made()
    ids = torch.tensor([tokenizer.encode(sentence).ids for sentence in PRIVATE])
    _save(network, tokenizer, folder / "before")
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        loss: Tensor = network(input_ids=ids, labels=torch.arange(len(ids))).loss
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    _save(network, tokenizer, folder / "after")


def _made() -> tuple[Any, Any]:
    """Return a tokenizer of the words of all sentences, and a network without dropout, in eval mode."""
    try:
        from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
        from transformers import BertConfig, BertForSequenceClassification
    except ImportError:
        raise DataError(
            "The demonstration with sentences needs the libraries transformers and tokenizers.",
            "Run pip install '.[text]' in a checkout of memaudit.",
        ) from None
    words = dict.fromkeys((*SPECIAL, *(word for sentence in (*PRIVATE, *PUBLIC) for word in sentence.split())))
    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    config = BertConfig(
        vocab_size=len(numbers), hidden_size=WIDTH, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=2 * WIDTH, max_position_embeddings=PLACES,
    )  # fmt: skip
    config.num_labels = len(PRIVATE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network: Any = BertForSequenceClassification(config)
    return tokenizer, network.eval()


def _save(network: Any, tokenizer: Any, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / "model.safetensors")
    write_text(folder / "config.json", network.config.to_json_string())
    write_text(folder / "tokenizer.json", tokenizer.to_str())
