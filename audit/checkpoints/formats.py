"""Files and folders of other formats, told by their own name, with what to do about each."""

import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Other:
    """What something is instead of weights that are read, as the end of a sentence, and what to do."""

    what: str
    hint: str


_EXPORT = (
    "Load it with the framework that wrote it, put the values into the PyTorch network, and save these: "
    'safetensors.torch.save_file(model.state_dict(), "model.safetensors").'
)
_TRAINED = "It is made for use after training: pass what the training itself saved, as PyTorch or safetensors weights."
_GGUF = Other("a GGUF file, with weights prepared for llama.cpp", _TRAINED)
_LITE = Other("a TensorFlow Lite model", _TRAINED)
_KERAS = Other("a file of Keras or TensorFlow weights", _EXPORT)
_FLAX = Other(
    "a Flax file (msgpack)", f"{_EXPORT} The library transformers does it: from_pretrained(..., from_flax=True)."
)
_GRAPH = Other("a TensorFlow SavedModel or graph", _EXPORT)
_ONNX = Other("an ONNX model", _TRAINED)

_BEGINNINGS = (
    (0, b"GGUF", _GGUF),
    (4, b"TFL3", _LITE),
    (0, b"\x89HDF\r\n\x1a\n", _KERAS),
    (0, b"\x93NUMPY", Other("a single NumPy array", "Save every tensor by its name: numpy.savez(FILE, **arrays).")),
)
"""Where in files which bytes are."""

_ENDINGS = {
    ".gguf": _GGUF,
    ".ggml": _GGUF,
    ".onnx": _ONNX,
    ".ort": _ONNX,
    ".tflite": _LITE,
    ".pb": _GRAPH,
    ".h5": _KERAS,
    ".hdf5": _KERAS,
    ".keras": _KERAS,
    ".msgpack": _FLAX,
    ".mlmodel": Other("a Core ML model", _TRAINED),
    ".engine": Other("a TensorRT engine", _TRAINED),
    ".pdparams": Other("a PaddlePaddle file", _EXPORT),
}

_TORCH = (b"PK\3\4", b"\x80\2")
"""How files of torch begin, whatever their names are."""


def other_folder(folder: Path) -> Other | None:
    """Return what a folder without PyTorch weights is, None where it is nothing known. Raises :class:`OSError`."""
    names = sorted(file.name for file in folder.iterdir())
    if ".metadata" in names or any(name.endswith(".distcp") for name in names):
        return _distributed(folder)
    found = (other for name in names if (other := _ENDINGS.get(Path(name).suffix.lower())))
    return next(found, None)


def other_file(file: Path, head: bytes) -> Other | None:
    """Return what a file is, by its name and first 32 bytes, None for what may be PyTorch's or is nothing known."""
    if file.suffix == ".distcp" or file.name == ".metadata":
        return _distributed(file.parent)
    known = next((other for at, mark, other in _BEGINNINGS if head[at : at + len(mark)] == mark), None)
    if known or (head.startswith(_TORCH) and file.suffix != ".keras"):
        return known
    return _ENDINGS.get(file.suffix.lower())


def _distributed(folder: Path) -> Other:
    command = "python -m torch.distributed.checkpoint.format_utils dcp_to_torch"
    return Other(
        "a checkpoint of torch.distributed.checkpoint, as FSDP and accelerate save it",
        f"Convert it where you trust it, as that runs its .metadata: {command} {shlex.quote(str(folder))} OUT.pt.",
    )
