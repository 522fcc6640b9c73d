"""Sentence classifiers from Hugging Face folders: BERT and its kin, as ``config.json`` and tensors describe them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...attacks.contract.params import Params
from .base import Architecture, UnknownArchitecture, scored
from .beside import Beside
from .media import LENGTH

KINDS = ("bert", "camembert", "distilbert", "electra", "ernie", "mpnet", "roberta", "xlm-roberta")
"""Values of ``model_type`` that are read: encoders that add a position embedding to a word embedding."""

_USUAL = 64
"""Positions of an input where nothing shows how long sentences were."""

_MOST = 2**15
"""Positions, at most, of a table: more are no sentences."""

_NUMBERING = ("position_ids", "token_type_ids")
"""Buffers of numbers that older versions of the library saved too."""

_IGNORED = ("architectures", "auto_map", "dtype", "id2label", "label2id", "pruned_heads", "quantization_config")
"""Settings that name code, or that the tensors tell."""


class Transformer:
    """Encoders with a head for sequence classification, computed by the library ``transformers`` (extra ``text``)."""

    name: ClassVar[str] = "transformer"

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return None: names and shapes alone do not tell the number of attention heads."""
        return None

    def recognise_folder(self, tensors: Params, beside: Beside) -> Architecture | None:
        """Return the network that ``config.json`` describes, with as many classes as the head has rows.

        None where it describes none of :data:`KINDS`, or there is no head.

        Raises:
            UnknownArchitecture: What it describes cannot be the network of these tensors, or the library is missing.
        """
        settings, classes = beside.settings, _classes(tensors)
        if settings.get("model_type") not in KINDS or not classes:
            return None
        tensors = {name: value for name, value in tensors.items() if not name.endswith(_NUMBERING)}
        module = _network(settings, classes, len(tensors))
        layout = {"config": beside.config, "classes": classes, **_places(module)}
        architecture = Architecture(
            family=self.name,
            name=_title(settings, module),
            layout=layout,
            classes=classes,
            shape=(min(_USUAL, layout["positions"]), module.get_input_embeddings().embedding_dim),
            assumed=(LENGTH,),
            medium="text",
        )
        return scored(architecture, Sentences(module, layout["pad"], layout["offset"]), tensors)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network on the meta device; tables of places are real."""
        layout = architecture.layout
        module = _network(Beside(layout["config"]).settings, layout["classes"])
        return Sentences(module, layout["pad"], layout["offset"])


class Sentences(nn.Module):
    """A sequence classifier that takes sentences as one tensor.

    Args:
        model: What the library builds.
        pad: Number of the token that stands where there is no word: it is not attended to.
        offset: Row of the position table at which sentences begin.
    """

    def __init__(self, model: Any, pad: int, offset: int) -> None:
        super().__init__()
        self.model: Any = model
        self.pad, self.offset = pad, offset
        self.numbers = model.get_input_embeddings().num_embeddings
        for name, value in list(model.named_buffers()):
            if value.is_meta:
                _set(model, name, torch.arange(value.shape[-1]).expand(value.shape) * name.endswith("position_ids"))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (b, k) of token numbers (b, L), as floats, or of word embeddings (b, L, D).

        A place that holds ``pad`` or zeros is not attended to, wherever it is.
        """
        if x.ndim < 3:
            ids = x.nan_to_num(self.pad).round().long().clamp(0, self.numbers - 1)
            given, mask = {"input_ids": ids}, ids != self.pad
        else:
            given, mask = {"inputs_embeds": x}, (x != 0).any(-1)
        count, length = mask.shape
        if self.model.config.model_type != "distilbert":
            places = torch.arange(self.offset, self.offset + length, device=x.device)
            given["position_ids"] = places.expand(count, length)
        result: Tensor = self.model(**given, attention_mask=mask.long(), return_dict=True).logits
        return result


def _network(settings: Mapping[str, object], classes: int, most: int = _MOST) -> Any:
    """Return the library's network without weights; nothing of the folder is run.

    Args:
        settings: What ``config.json`` holds.
        classes: Of the head.
        most: Layers, at most: each has a tensor.

    Raises:
        UnknownArchitecture: The library is missing, or the sizes are absurd.
    """
    try:
        from transformers import AutoConfig, AutoModelForSequenceClassification
    except ImportError:
        raise UnknownArchitecture(
            "config.json describes a text model, which needs the library transformers.",
            "Run pip install '.[text]' in a checkout of memaudit.",
        ) from None
    kept = {name: value for name, value in settings.items() if name not in _IGNORED}
    kind = str(kept.pop("model_type"))
    made = AutoConfig.for_model(kind, **{**kept, "num_labels": classes, "torch_dtype": "float32"})
    for name, largest in (("num_hidden_layers", most), ("max_position_embeddings", _MOST)):
        size = getattr(made, name)
        if type(size) is not int or not 0 < size <= largest:
            raise UnknownArchitecture(f"{name} is {str(size)[:20]} in config.json, which these tensors cannot have.")
    if type(made.pad_token_id or 0) is not int or not 0 <= (made.pad_token_id or 0) < made.vocab_size:
        raise UnknownArchitecture(f"pad_token_id is {str(made.pad_token_id)[:20]} in config.json, which is no token.")
    made._attn_implementation = "eager"  # the others have no second derivative
    with torch.device("meta"):
        make: Any = AutoModelForSequenceClassification.from_config
        return make(made, attn_implementation="eager").eval()


def _classes(tensors: Params) -> int:
    """Return the rows of the classifier's last matrix, 0 where there is none."""
    for name in ("classifier.out_proj.weight", "classifier.weight"):
        found = next((value for key, value in tensors.items() if key == name and value.ndim == 2), None)
        if found is not None:
            return len(found)
    return 0


def _places(module: Any) -> dict[str, Any]:
    """Return padding token, number of positions, the row at which they begin, and names of the two tables."""
    named = dict(module.named_modules())
    word = next(path for path, part in named.items() if part is module.get_input_embeddings())
    place = next((path for path in named if path.endswith("position_embeddings")), "")
    begins = named[place].padding_idx if place else None
    offset = 0 if begins is None else begins + 1
    return {
        "pad": int(module.config.pad_token_id or 0),
        "positions": (named[place].num_embeddings if place else _USUAL) - offset,
        "offset": offset,
        "word": f"model.{word}.weight",
        "place": f"model.{place}.weight" if place else "",
    }


def _title(settings: Mapping[str, object], module: Any) -> str:
    config = module.config
    return f"{settings['model_type']}, {config.num_hidden_layers} layers x {config.hidden_size}, sequence classifier"


def _set(model: nn.Module, name: str, value: Tensor) -> None:
    path, _, leaf = name.rpartition(".")
    model.get_submodule(path).register_buffer(leaf, value.clone(), persistent=False)
