"""Files beside the weights: what is read of them, and what hostile ones do."""

import json
import re

import pytest
from tokenizers import Tokenizer

from memaudit.audit.checkpoints.weights import CheckpointError
from memaudit.audit.families.beside import LARGEST, Beside, UnknownArchitecture, read_beside

from ...hf import WORDS
from ...texts import byte_level, wordpiece

SENTENCE = "the old cat saw a garden ."


def tokens(beside: Beside, text: str = SENTENCE) -> list[str]:
    return Tokenizer.from_str(beside.tokenizer()).encode(text).tokens


def write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def test_a_folder_without_a_configuration_holds_nothing(tmp_path):
    assert read_beside(write(tmp_path, vocab__txt="a\nb\n")) == Beside()


def test_files_lie_in_the_folder_or_beside_the_file(tmp_path):
    write(tmp_path, config__json="{}", vocab__txt="\n".join(WORDS))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert read_beside(str(tmp_path)) == read_beside(str(tmp_path / "model.safetensors"))


def test_the_first_folder_that_has_a_file_counts(tmp_path):
    one = write(tmp_path / "one", config__json='{"a": 1}')
    two = write(tmp_path / "two", config__json='{"a": 2}', vocab__txt="\n".join(WORDS))
    found = read_beside(one, two)
    assert found.settings == {"a": 1}
    assert dict(found.files).keys() == {"vocab.txt"}


def test_a_vocabulary_becomes_the_tokenizer_of_bert(tmp_path):
    found = read_beside(write(tmp_path, config__json="{}", vocab__txt="\r\n".join(WORDS) + "\r\n"))
    assert tokens(found) == wordpiece(WORDS).encode(SENTENCE).tokens
    assert tokens(found, "The CAT")[1:3] == ["the", "cat"]


def test_a_vocabulary_with_capitals_keeps_them(tmp_path):
    found = read_beside(write(tmp_path, config__json="{}", vocab__txt="\n".join((*WORDS, "Paris"))))
    assert tokens(found, "Paris THE") == ["[CLS]", "Paris", "[UNK]", "[SEP]"]
    settings = json.dumps({"do_lower_case": True})
    found = read_beside(write(tmp_path, tokenizer_config__json=settings))
    assert tokens(found, "THE")[1] == "the"


def test_byte_pairs_become_the_tokenizer_of_roberta(tmp_path):
    model = json.loads(byte_level().to_str())["model"]
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    merges = "\n".join(["#version: 0.2", *pairs, ""])
    found = read_beside(write(tmp_path, config__json="{}", vocab__json=json.dumps(model["vocab"]), merges__txt=merges))
    assert tokens(found, "the cat run") == byte_level().encode("the cat run").tokens
    made = Tokenizer.from_str(found.tokenizer())
    assert made.decode(made.encode("the cat run").ids) == "the cat run"


def test_no_tokenizer(tmp_path):
    with pytest.raises(UnknownArchitecture, match="No tokenizer lies beside the weights") as refusal:
        read_beside(write(tmp_path, config__json="{}", merges__txt="a b")).tokenizer()
    assert "vocab.txt" in refusal.value.hint


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "vocab.txt"])
def test_not_utf_8(tmp_path, name):
    write(tmp_path, config__json="{}")
    (tmp_path / name).write_bytes(b"\xff\xfe{")
    with pytest.raises(CheckpointError, match=f"{name} is not UTF-8"):
        read_beside(str(tmp_path))


def test_too_large(tmp_path):
    write(tmp_path, config__json="{}")
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is larger than 32 MiB"):
        read_beside(str(tmp_path))


def test_what_is_no_file_is_not_there(tmp_path):
    (tmp_path / "config.json").mkdir()
    assert read_beside(str(tmp_path)) == Beside()


@pytest.mark.parametrize(
    "config", ["", "no JSON", "[1]", "3", "[" * 10**6, "9" * 10**5, '{"a": 1'], ids=lambda config: config[:20]
)
def test_a_configuration_that_is_none_is_empty(config):
    assert Beside(config).settings == {}


HOSTILE = {
    "tokenizer.json": ["no JSON", "{}", "[" * 10**5, "[]", '{"model": {"type": "BPE", "vocab": {"a": -1}}}'],
    "vocab.txt": ["just\nwords", "[CLS]\n" * 1000],
    "vocab.json": ["{}", '{"a": -1}', '{"a": 1e999}', '{"a": %d}' % 2**70, "[" * 10**6],
}


@pytest.mark.parametrize(
    ("name", "content"), [(name, text) for name, some in HOSTILE.items() for text in some], ids=lambda part: part[:20]
)
def test_hostile_tokenizers_are_refused_in_one_sentence(name, content):
    files = ((name, content), ("merges.txt", "a b\nx y"))
    with pytest.raises(UnknownArchitecture) as refusal:
        Beside("{}", files).tokenizer()
    assert re.fullmatch(r"The tokenizer beside the weights cannot be read \([^\n]*\)\.", refusal.value.message)
