"""Small tokenizers, made of a handful of words, and the medium of a network that uses one."""

import hashlib
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from memaudit.attacks.text.medium import Tokens

SHARED = Path(__file__).parents[2] / "shared" / "data"
VOCABULARY = SHARED / "weights" / "minilm-l6-fp16" / "vocab.txt"
COLA = SHARED / "cola.tsv"
needs_data = pytest.mark.skipif(not (COLA.exists() and VOCABULARY.exists()), reason="the data pack is not there")

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LINE = "the boy girl cat dog ran saw slept a garden letter wrote old has who my snor ##kel ##s . , ? ! '"
WORDS = tuple(LINE.split())


def wordpiece(words=(*SPECIAL, *WORDS)) -> Tokenizer:
    """Return a tokenizer as of BERT, uncased."""
    numbers = {word: number for number, word in enumerate(words)}
    made = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.add_special_tokens([word for word in SPECIAL if word in numbers])
    made.post_processor = processors.BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    return made


def byte_level() -> Tokenizer:
    """Return a tokenizer as of RoBERTa: <s>, <pad>, </s>, bytes, and a few merges."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    numbers = {word: number for number, word in enumerate(("<s>", "<pad>", "</s>", *letters))}
    merges = []
    for pair in ("t h", "c a", "r u", "Ġ th", "Ġ ca", "Ġ ru", "Ġth e", "Ġca t", "Ġru n"):
        one, two = pair.split(" ")
        merges.append((one, two))
        numbers[one + two] = len(numbers)
    made = Tokenizer(models.BPE(numbers, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<s>", "<pad>", "</s>"])
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return made


def medium(tokenizer: Tokenizer | None = None, length: int = 12, width: int = 8) -> Tokens:
    """Return the medium of a network with random word embeddings for all tokens of a tokenizer."""
    made = tokenizer or wordpiece()
    names = ("[PAD]", "[CLS]", "[SEP]") if made.token_to_id("[PAD]") is not None else ("<pad>", "<s>", "</s>")
    pad, first, last = (made.token_to_id(name) for name in names)
    table = torch.randn(made.get_vocab_size(), width, generator=torch.Generator().manual_seed(0))
    content = made.to_str()
    return Tokens(length, pad, first, last, table, content, hashlib.sha256(content.encode()).hexdigest()[:16])


def minilm(length: int = 64) -> Tokens:
    """Return the medium of MiniLM's vocabulary, with random embeddings."""
    return medium(wordpiece(VOCABULARY.read_text(encoding="utf-8").split("\n")[:-1]), length)
