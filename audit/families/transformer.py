"""Sentence classifiers from Hugging Face folders: BERT and its kin, as ``config.json`` and the tensors describe them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...attacks.contract.params import Params
from .base import Architecture, scored
from .beside import Beside
from .media import LENGTH

KINDS = ("bert", "camembert", "distilbert", "electra", "ernie", "mpnet", "roberta", "xlm-roberta")
"""Values of ``model_type`` that are read: encoders that add a position embedding to a word embedding."""

_USUAL = 64
"""Positions of an input where nothing shows how long sentences were."""

_MOST = 2**15
"""Positions, at most, of a table: more are no sentences."""


class Transformer:
    """Encoders with a head for sequence classification, computed by the library ``transformers`` (extra ``text``)."""

    name: ClassVar[str] = "transformer"

    def recognise(self, tensors: Params) -> Architecture | None:
        """Return None: names and shapes alone do not tell the number of attention heads."""
        return None

    def recognise_folder(self, tensors: Params, beside: Beside) -> Architecture | None:
        """Return the network that ``config.json`` describes, with as many classes as the head has rows.

        None where it describes none of :data:`KINDS`, or there is no head.
        """
        settings, classes = beside.settings, _classes(tensors)
        if settings.get("model_type") not in KINDS or not classes:
            return None
        module = _network(beside.config, settings, classes)
        layout = {"config": beside.config, "classes": classes, **_places(module)}
        if layout["positions"] > _MOST:
            return None
        architecture = Architecture(
            family=self.name,
            name=_title(settings, module),
            layout=layout,
            classes=classes,
            shape=(min(_USUAL, layout["positions"]), module.config.hidden_size),
            assumed=(LENGTH,),
            medium="text",
        )
        return scored(architecture, Sentences(module, layout["pad"], layout["offset"]), tensors)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network on the meta device; tables of places are real."""
        layout = architecture.layout
        module = _network(layout["config"], Beside(layout["config"]).settings, layout["classes"])
        return Sentences(module, layout["pad"], layout["offset"])


class Sentences(nn.Module):
    """A sequence classifier that takes sentences as one tensor.

    Args:
        model: What the library builds.
        pad: Number of the token that stands where there is no word: it is not attended to.
        offset: Row of the position table at which sentences begin.
    """

    def __init__(self, model: nn.Module, pad: int, offset: int) -> None:
        super().__init__()
        self.model = model
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
        result: Tensor = self.model(**given, attention_mask=mask.long()).logits
        return result


def _network(config: str, settings: Mapping[str, object], classes: int) -> Any:
    """Return the library's network without weights; nothing of the folder is run."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    kept = {k: v for k, v in settings.items() if k not in ("auto_map", "architectures", "id2label", "label2id")}
    kind = str(kept.pop("model_type"))
    made = AutoConfig.for_model(kind, **{**kept, "num_labels": classes, "torch_dtype": "float32"})
    made._attn_implementation = "eager"  # the others have no second derivative
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(made, attn_implementation="eager").eval()


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
