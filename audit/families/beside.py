"""What lies beside the weights in a folder and says how they are used: a configuration and a tokenizer, as texts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ... import MemauditError
from ..checkpoints.weights import CheckpointError
from ..files import read_regular
from ..plugins import one_line


class UnknownArchitecture(MemauditError):
    """No network fits the checkpoint, or the network that was named does not; the message names what does not fit."""


LARGEST = 2**25
"""Bytes of a file beside the weights: 32 MiB hold a tokenizer of half a million tokens."""

_BYTE_LEVEL_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
"""Tokens of RoBERTa that are no text."""

PREPROCESSOR = "preprocessor_config.json"
"""What says, in Hugging Face folders of image models, how pixels become the network's inputs."""

_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True)
class Beside:
    """Texts of files beside the weights, each empty where there is none.

    Attributes:
        config: ``config.json``, as Hugging Face folders have it.
        files: What a tokenizer is made of, by the name of the file.
        preprocessor: :data:`PREPROCESSOR`.
    """

    config: str = ""
    files: tuple[tuple[str, str], ...] = ()
    preprocessor: str = ""

    @property
    def settings(self) -> dict[str, object]:
        """The configuration; empty where it is absent or no JSON object."""
        return _object(self.config) or {}

    @property
    def preparation(self) -> dict[str, object] | None:
        """How images are prepared; empty where no file says it, ``None`` where the file is no JSON object."""
        return _object(self.preprocessor)

    def tokenizer(self) -> str:
        """Return the content of a ``tokenizer.json``, made from a vocabulary where the folder has only that.

        Raises:
            UnknownArchitecture: There is none, it cannot be used, or the library is missing.
        """
        try:
            found = self._tokenizer(dict(self.files))
        except ImportError:
            raise UnknownArchitecture(
                "This is a text model, and reading its tokenizer needs the library tokenizers.",
                "Run pip install '.[text]' in a checkout of memaudit.",
            ) from None
        except Exception as error:  # a damaged or hostile file may fail in any way
            raise UnknownArchitecture(
                f"The tokenizer beside the weights cannot be read ({one_line(error)}).",
                "Copy tokenizer.json or vocab.txt again from where the model was saved.",
            ) from error
        if not found:
            raise UnknownArchitecture(
                "No tokenizer lies beside the weights of this text model.",
                "Put tokenizer.json, vocab.txt, or vocab.json and merges.txt into the folder of the checkpoint.",
            )
        return found

    def _tokenizer(self, found: Mapping[str, str]) -> str:
        from tokenizers import Tokenizer

        if "tokenizer.json" in found:
            Tokenizer.from_str(found["tokenizer.json"])
            return found["tokenizer.json"]
        if "vocab.txt" in found:
            return _word_pieces(found["vocab.txt"], _object(found.get("tokenizer_config.json", "")) or {})
        if "vocab.json" in found and "merges.txt" in found:
            return _byte_pairs(found["vocab.json"], found["merges.txt"])
        return ""


NOTHING = Beside()


def read_beside(*paths: str) -> Beside:
    """Return what lies in the folders of checkpoints, or in those that hold them; the first that has a file counts.

    Raises:
        CheckpointError: A file cannot be read, is too large or not UTF-8.
    """
    folders = [path if path.is_dir() else path.parent for path in map(Path, paths)]
    config = next((text for folder in folders if (text := _read(folder / "config.json"))), "")
    found: dict[str, str] = {}
    for folder in folders if config else []:
        for name in _TOKENIZERS:
            if text := "" if found.get(name) else _read(folder / name):
                found[name] = text
        if found:
            break
    images = next((text for folder in folders if (text := _read(folder / PREPROCESSOR))), "") if config else ""
    return Beside(config, tuple(found.items()), images)


def _read(file: Path) -> str:
    if not file.is_file():
        return ""
    try:
        content = read_regular(file, LARGEST)
        if len(content) > LARGEST:
            raise CheckpointError(
                f"{file} is larger than {LARGEST // 2**20} MiB.", "Check what lies beside the weights."
            )
        return content.decode()
    except UnicodeDecodeError:
        raise CheckpointError(f"{file} is not UTF-8.", "Copy the file again from where the model was saved.") from None
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror or error}.", "Check the file.") from error


def _object(text: str) -> dict[str, object] | None:
    """Return a JSON object, an empty one for no text, ``None`` for anything else."""
    try:
        found = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _word_pieces(vocabulary: str, settings: dict[str, object]) -> str:
    """Return BERT's tokenizer of a list of word pieces, a line each."""
    from tokenizers import BertWordPieceTokenizer

    words = {line.rstrip("\r"): number for number, line in enumerate(vocabulary.rstrip("\n").split("\n"))}
    cased = any(word != word.lower() for word in words if not word.startswith("["))
    lower = bool(settings.get("do_lower_case", not cased))
    return str(BertWordPieceTokenizer(words, lowercase=lower).to_str())


def _byte_pairs(vocabulary: str, merges: str) -> str:
    """Return RoBERTa's tokenizer of a vocabulary and its merges."""
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing

    words = {str(word): number for word, number in (_object(vocabulary) or {}).items() if isinstance(number, int)}
    lines = (line.rstrip("\r") for line in merges.split("\n") if not line.startswith("#version"))
    made = ByteLevelBPETokenizer(words, [(*line.split(" ", 1),) for line in lines if " " in line])
    made.add_special_tokens([name for name in _BYTE_LEVEL_SPECIAL if name in words])
    ends = [(name, words[name]) for name in ("</s>", "<s>") if name in words]
    if len(ends) == 2:
        made._tokenizer.post_processor = RobertaProcessing(ends[0], ends[1], add_prefix_space=False)
    return str(made.to_str())
