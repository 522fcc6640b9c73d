"""Which family a checkpoint belongs to."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import cast

from torch import nn

from ... import MemauditError
from ...attacks.contract.params import Params
from ..checkpoints.weights import quoted
from ..plugins import PluginError, load, load_all, one_line
from .base import GROUP, IMAGE_SIZE, Architecture, Family, FolderFamily, UnknownArchitecture, misfits
from .beside import NOTHING, Beside

_OWN_MODEL = (
    "Pass the network with --model torchvision:NAME, --model timm:NAME, --model FILE.py:FUNCTION or "
    "--model PKG.MOD:FUNCTION."
)


def detect(
    tensors: Params, spec: str = "auto", image_size: int | None = None, beside: Beside = NOTHING
) -> tuple[Architecture, nn.Module]:
    """Find the network that a state dict belongs to.

    Args:
        tensors: Parameters and buffers by name.
        spec: ``auto`` to try every family, the name of one family, or a network of the user's own as in
            :mod:`.custom`.
        image_size: Height and width of the images in pixels, for networks that do not fix it.
        beside: What lies beside the weights.

    Raises:
        UnknownArchitecture: Nothing fits exactly, or the network contradicts ``image_size``.
        PluginError: There is no family of this name.
    """
    if ":" in spec:
        from .custom import fit, runs_code

        return fit(spec, tensors, image_size, None if runs_code(spec) else _usual(tensors, beside))
    if spec.endswith(".py"):
        from .custom import function_of

        raise function_of(spec)
    if spec == "auto":
        families, broken = load_all(GROUP)
    else:
        families, broken = {spec: load(GROUP, spec)}, ()
    candidates, failed = _candidates(cast("Mapping[str, Callable[[], Family]]", families), tensors, beside)
    if not candidates or candidates[0][0].score < 1:
        raise _unknown(tensors, candidates, (*broken, *failed))
    architecture, module = candidates[0]
    return _resized(architecture, image_size), module.eval()


def _usual(tensors: Params, beside: Beside) -> int | None:
    """Return the height of images where no network is named; None where none is recognised."""
    try:
        architecture, _ = detect(tensors, beside=beside)
    except UnknownArchitecture:
        return None
    return architecture.shape[1] if architecture.medium == "image" else None


def _candidates(
    families: Mapping[str, Callable[[], Family]], tensors: Params, beside: Beside
) -> tuple[list[tuple[Architecture, nn.Module]], list[MemauditError]]:
    """Return what each family recognises, best score first, and one error for each family that broke or refused."""
    found: list[tuple[Architecture, nn.Module]] = []
    failed: list[MemauditError] = []
    for name, factory in families.items():
        try:
            family = factory()
            if isinstance(family, FolderFamily):
                architecture = family.recognise_folder(tensors, beside)
            else:
                architecture = family.recognise(tensors)
            if architecture:
                found.append((architecture, family.build(architecture)))
        except UnknownArchitecture as error:
            failed.append(error)
        except Exception as error:  # one family must not hide the others
            failed.append(PluginError(f"The family {name!r} failed on this checkpoint ({one_line(error)})."))
    return sorted(found, key=lambda pair: -pair[0].score), failed


def _unknown(
    tensors: Params, candidates: list[tuple[Architecture, nn.Module]], failed: tuple[MemauditError, ...]
) -> UnknownArchitecture:
    refused = [str(error) for error in failed if isinstance(error, UnknownArchitecture)]
    broken = [str(error) for error in failed if not isinstance(error, UnknownArchitecture)]
    hint = " ".join([*refused, _OWN_MODEL, *broken])
    if not candidates:
        return UnknownArchitecture(f"The checkpoint, with {quoted(tensors)}, resembles no known model family.", hint)
    nearest = ", ".join(f"{found.family} ({found.name}) {found.score:.0%}" for found, _ in candidates)
    wrong = "; ".join(misfits(tensors, candidates[0][1])[:3])
    return UnknownArchitecture(f"The checkpoint fits no known network; nearest are {nearest}: {wrong}.", hint)


def _resized(architecture: Architecture, image_size: int | None) -> Architecture:
    if image_size is None:
        return architecture
    if architecture.medium != "image":
        raise UnknownArchitecture(
            f"{architecture.name} takes no images, so that --image-size means nothing.", "Leave --image-size out."
        )
    channels, height, width = architecture.shape
    if IMAGE_SIZE not in architecture.assumed and (height, width) != (image_size, image_size):
        raise UnknownArchitecture(
            f"{architecture.name} takes images of {height}x{width}, not of {image_size}x{image_size}.",
            "Leave --image-size out: the weights fix the size.",
        )
    rest = tuple(fact for fact in architecture.assumed if fact != IMAGE_SIZE)
    return replace(architecture, shape=(channels, image_size, image_size), assumed=rest)
