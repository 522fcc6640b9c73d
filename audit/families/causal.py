"""Causal language models from Hugging Face folders: networks that tell the next token, as ``config.json`` describes.

They are no family that attacks are run on: only the exposure of records is measured of them.
"""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...attacks.contract.params import Params
from ...attacks.contract.victim import Victim
from ..plugins import one_line
from .base import Architecture, UnknownArchitecture, misfits, scored, tensor_names
from .beside import Beside
from .hf import filed_names, total
from .weightless import constants, weightless

NOTHING = -1
"""Stands behind the end of a text: no tokenizer has it, so that no token of a text is taken for it."""

MOST_TOKENS = 1024
"""Of a text; longer ones are cut, as at the end of what the network takes."""

_NAMES = re.compile(r"\w+(ForCausalLM|LMHeadModel)")

_IGNORED = (
    "architectures", "auto_map", "attn_implementation", "dtype", "torch_dtype", "quantization_config", "return_dict",
    "torchscript", "trust_remote_code", "use_cache",
)  # fmt: skip
"""Settings that name code, say how outputs are given, or that the tensors tell."""

_COUNTS = re.compile("^(?!.*size).*(layer|depth|block|stage|repeat|level|expert|codebook)")
"""Settings that say how often something is built."""

_FEW = 256
"""So many are built in any case."""

_ALIKE = 1e-5
"""Difference of logits that is rounding, as a share of the largest."""

_TOTAL = 2**24
"""Of all numbers of a list, at most: one that says how often something is built may stand among them."""

_CONSTANTS = 2**28
"""Numbers in all tables that no file holds, at most, such as masks."""


def is_causal(beside: Beside) -> bool:
    """Return whether ``config.json`` names a causal language model."""
    named = beside.settings.get("architectures")
    return isinstance(named, list) and any(isinstance(name, str) and _NAMES.fullmatch(name) for name in named)


def causal(tensors: Params, beside: Beside) -> tuple[Architecture, "NextToken"]:
    """Return the language model that ``config.json`` describes, without weights; nothing of the folder is run.

    Its classes are the tokens: what it is asked for is the next one.

    Raises:
        UnknownArchitecture: It cannot be built, or is not the network of these tensors; or the library is missing.
    """
    make, config = _maker(beside.settings, len(tensors))
    sketch = _built(lambda: _sketch(make))
    filed = _filed(sketch, tensors)
    known = _used(tensors, NextToken(sketch, filed))
    if wrong := misfits(known, NextToken(sketch, filed)):
        raise UnknownArchitecture(
            f"The weights are not those of the {_kind(config)} that config.json describes: {'; '.join(wrong[:3])}.",
            "Pass folders as save_pretrained of transformers writes them, with all weights.",
        )
    module = NextToken(_built(lambda: _tied(weightless(make))), filed)
    table = module.model.get_input_embeddings()
    word = next(name for name, part in module.named_modules() if part is table)
    architecture = Architecture(
        family="causal",
        name=f"{_kind(config)}, {getattr(config, 'num_hidden_layers', '?')} layers x {table.embedding_dim}, causal",
        layout={"pad": NOTHING, "word": f"{word}.weight", "place": "", "offset": 0},
        classes=table.num_embeddings,
        shape=(_length(config), table.embedding_dim),
        medium="text",
    )
    return scored(architecture, module, known), module


class NextToken(nn.Module):
    """A causal language model that takes texts as one tensor.

    Args:
        model: What the library builds.
        filed: Names of tensors in files, by those in ``model``, where the library saves them under other ones.
    """

    def __init__(self, model: Any, filed: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.model: Any = model
        self.filed = {f"model.{name}": other for name, other in (filed or {}).items()}

    def forward(self, x: Tensor, every: bool = False) -> Tensor:
        """Return logits (b, V) of the token behind texts, or with ``every`` (b, L, V) of those behind each place.

        Args:
            x: (b, L) token numbers, :data:`NOTHING` behind the end of a text; or (b, L, D) word embeddings.
            every: Whether logits of each place are wanted.
        """
        self._follow(x.device)
        if x.ndim < 3:
            ids, mask = x.long().clamp(min=0), x.long() != NOTHING
            logits: Tensor = self.model(input_ids=ids, attention_mask=mask.long(), return_dict=True).logits
        else:
            mask = x.new_ones(x.shape[:2], dtype=torch.bool)
            logits = self.model(inputs_embeds=x, return_dict=True).logits
        if every:
            return logits
        last = (mask.sum(1) - 1).clamp(min=0)
        return logits[torch.arange(len(x), device=x.device), last]

    def _follow(self, device: torch.device) -> None:
        """Move constants, which no state dict holds, to where the texts are."""
        for part in self.model.modules():
            for name, value in list(constants(part)):
                part._buffers[name] = value.to(device)


def looks_ahead(victim: Victim) -> bool:
    """Return whether what a network tells of a place depends on later tokens, as in an encoder: it is not causal."""
    length = min(victim.shape[0], 8)
    texts = torch.arange(length, device=victim.like.device).repeat(2, 1) % victim.classes
    texts[1, -1] = (texts[1, -1] + 1) % victim.classes
    with torch.no_grad():
        logits = functional_call(victim.module, {**victim.buffers, **victim.theta0}, (texts,), {"every": True})
    first, second = logits[:, :-1]
    return float((first - second).abs().max()) > _ALIKE * float(first.abs().max())


def _maker(settings: Mapping[str, object], most: int) -> tuple[Callable[[], Any], Any]:
    """Return what builds the library's network, and its configuration.

    Args:
        settings: What ``config.json`` holds.
        most: Layers, at most: each has a tensor. Of a setting that builds nothing, :data:`_FEW` say nothing.
    """
    try:
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError:
        raise UnknownArchitecture(
            "config.json describes a language model, which needs the library transformers.",
            "Run pip install '.[text]' in a checkout of memaudit.",
        ) from None
    kept = {name: value for name, value in settings.items() if name not in _IGNORED and not name.startswith("_")}
    kind = str(kept.pop("model_type", ""))
    _built(lambda: _check(kept, most))
    config = _built(lambda: AutoConfig.for_model(kind, **{**kept, "use_cache": False}))
    _check(config.to_dict(), most)
    make: Any = AutoModelForCausalLM.from_config
    return lambda: make(config, attn_implementation="eager", trust_remote_code=False).eval(), config


def _check(settings: Mapping[str, object], most: int) -> None:
    """Refuse sizes that no network of so many tensors has. Raises :class:`UnknownArchitecture`."""
    for name, value in settings.items():
        limit = max(most, _FEW) if _COUNTS.match(name) else math.inf if isinstance(value, int | float) else _TOTAL
        if not total(value) <= limit:
            raise UnknownArchitecture(f"{name} is {str(value)[:20]} in config.json, which these tensors cannot have.")


def _built(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except UnknownArchitecture:
        raise
    except Exception as error:  # the library may fail in any way on a hostile configuration
        raise UnknownArchitecture(
            f"transformers builds no causal language model from this config.json ({one_line(error)}).",
            "Pass folders as save_pretrained of transformers writes them; models with code of their own are not read.",
        ) from error


def _sketch(make: Callable[[], Any]) -> Any:
    """Return the network on the meta device, where it takes no memory; its own tables must not take too much either."""
    with torch.device("meta"):
        model = make()
    if sum(value.numel() for _, value in model.named_buffers()) > _CONSTANTS:
        raise UnknownArchitecture("The sizes in config.json are absurd: its network has tables of more than 1 GiB.")
    return model


def _tied(model: Any) -> Any:
    model.tie_weights()
    return model


def _filed(model: Any, tensors: Params) -> dict[str, str]:
    """Return the names that the library has for tensors in files, where this file has these."""
    filed: dict[str, str] = filed_names(model)
    renamed = sum(name in tensors for name in filed.values()) > sum(name in tensors for name in filed)
    return filed if renamed else {}


def _used(tensors: Params, module: "NextToken") -> Params:
    """Return tensors without those that the library passes over, such as masks that its older versions saved."""
    patterns = getattr(module.model, "_keys_to_ignore_on_load_unexpected", None) or ()
    wanted = set(tensor_names(module, tensors).values())
    return {
        name: value
        for name, value in tensors.items()
        if name in wanted or not any(re.search(pattern, name) for pattern in patterns)
    }


def _kind(config: Any) -> str:
    return str(config.model_type)


def _length(config: Any) -> int:
    """Return how many tokens of a text are read."""
    said = getattr(config, "max_position_embeddings", None)
    return min(said, MOST_TOKENS) if type(said) is int and said > 0 else MOST_TOKENS
