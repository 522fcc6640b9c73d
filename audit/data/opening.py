"""A data set by its name: read by the source that accepts it, and brought to what the victim sees."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from ..plugins import load_all
from .assembly import AS_STORED
from .base import GROUP, DataError, DataSource, TrainingSet
from .preparation import Preparation

if TYPE_CHECKING:
    from ...attacks.contract.medium import Medium


def open_source(
    spec: str,
    shape: tuple[int, ...] | None = None,
    preparation: Preparation = AS_STORED,
    skip: bool = False,
    medium: "Medium | None" = None,
) -> TrainingSet:
    """Read a data set with the first source that accepts ``spec``, and bring its records to what the network sees.

    RGB becomes grey by the ITU-R 601 weights, grey becomes RGB by repetition; sentences become token numbers.

    Args:
        spec: A path, or what else the installed sources accept.
        shape: Of one input that the victim sees, such as (c, h, w). ``None`` keeps the size of images, which all must
            then share.
        preparation: How images of another size, and photos with an orientation, are brought to it.
        skip: Leave out what cannot be read, which is an error otherwise.
        medium: What records the victim sees; ``None`` stands for images.

    Raises:
        DataError: No source accepts ``spec``, or it holds records of another kind; the set is empty, unreadable or
            above the limits; sizes differ.
    """
    kinds, broken = load_all(GROUP)
    sources = [cast(Callable[[], DataSource], kind)() for kind in kinds.values()]
    for source in sources:
        if source.accepts(spec):
            return source.open(spec).assembled(spec, shape, preparation, skip, medium)
    missing = "" if os.path.exists(spec) else ", and no such file or folder exists"
    forms = "; ".join(source.form for source in sources)
    raise DataError(f"No data source accepts {spec!r}{missing}.", " ".join([f"Accepted: {forms}.", *map(str, broken)]))
