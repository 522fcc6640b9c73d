"""What a row that was not run would take: estimated from what was measured, in proportion to images and updates."""

from memaudit.attacks.cover import Cover
from memaudit.attacks.simudy import SimuDy

from .records import Records, Row

TIMED = 20
"""Images of the rows of ``python -m benchmarks.questions cost``."""
DEEPER = 1.298 / 0.555
"""Multiplications of ResNet-50 over those of ResNet-18, CIFAR stems, by ``torch.utils.flop_counter``."""
EPOCHS = 20
"""Of the victims; with batches of 20 as many steps as images."""
SIZES = (20, 30, 40, 50, 90, 120)
"""Numbers of images that `cover` was measured on."""
UNKNOWN = "not estimated"
HOW = f"""What was not run, and its cost: of `cover` the lowest and the highest pace of the measured rows (an image
and an update), times images and the default's {Cover.iterations} updates; the wide range is that of machines that
were shared. Of the other attacks the seconds of the first updates on 20 images on one thread of this CPU, times the
schedule, in proportion to the images; of `simudy` the seconds of one gradient of [four images and 32
steps](#the-published-loop-beside-ours), in proportion to images and steps. None has been timed on a GPU."""


def hours(seconds: float) -> str:
    """Return a stretch of time in the unit that suits it, to two digits."""
    unit, name = (3600.0, "h") if seconds >= 3600 else (60.0, "min") if seconds >= 60 else (1.0, "s")
    return f"{seconds / unit:.2g} {name}"


def _updates(row: Row) -> int:
    return int(row["settings"].get("iterations", Cover.iterations))


def cover(records: Records, n: int, ratio: float = 1.0) -> str:
    """Estimate `cover` on n images of the pretrained ResNet-18 from the rows of other n.

    Seconds for an image and an update, the lowest and the highest of all rows with that hardware, times n and the
    default number of updates, times ``ratio`` for a network of so many times the multiplications; memory of the row of
    the nearest n.
    """
    told = []
    for label, place in (("H100", "an H100"), (" 1 threads", "one CPU thread")):
        rows = [
            (size, row["seconds"] / (size * _updates(row)), row["peak_memory_bytes"])
            for size in SIZES
            for group in records.cover(f"n{size}") for row in group.rows
            if label in row["hardware"]
        ]  # fmt: skip
        if rows:
            low, high = (hours(pick(pace for _, pace, _ in rows) * n * Cover.iterations * ratio) for pick in (min, max))
            nearest = min(rows, key=lambda row: abs(row[0] - n))
            told.append(f"{low} to {high} on {place}, {nearest[2] / 1e9:.1f} GB as for {nearest[0]} images")
    return "about " + "; ".join(told) if told else UNKNOWN


def updates(records: Records, name: str, n: int = TIMED) -> str:
    """Estimate an attack on n images from its first updates on twenty, in proportion to n."""
    found = records.one("questions", group="cost", asked=name)
    if found is None:
        return "`python -m benchmarks.questions cost` times its updates"
    row = found.first
    told = hours(row["seconds"] * row["schedule"] * n / TIMED)
    memory = f"{row['peak_memory_bytes'] / 1e9:.1f} GB"
    return f"about {told} on one CPU thread; {row['seconds']:.3g} s an update, {memory} for {TIMED} images"


def simulated(records: Records, n: int) -> str:
    """Estimate `simudy` on n images of ResNet-18 from a gradient of the engine's benchmark, by images x steps.

    Memory: the parameters after every step, and what the engine that keeps only these needs beside them.
    """
    rows = {row["engine"]: row for row in records.rows("engine") if (row["network"], row["steps"]) == ("resnet18", 32)}
    if not {"full", "stepwise"} <= set(rows):
        return UNKNOWN
    records.groups("engine", network="resnet18", steps=32)
    full, lean = rows["full"], rows["stepwise"]
    pace, updates = full["seconds"] / (full["samples"] * full["steps"]), SimuDy.iterations
    trajectory = lean["trajectory_bytes"] / lean["steps"] * n
    beside = (lean["peak_bytes"] - lean["trajectory_bytes"]) * TIMED / lean["samples"]
    told = f"about {hours(pace * n * EPOCHS * updates)} on one CPU thread for {updates} updates"
    return f"{told}, from {(trajectory + beside) / 1e9:.1f} GB up"


def transformer(records: Records, n: int = 10) -> str:
    """Estimate `patches` on n images of a ViT-B/16 at 224 x 224 from four of 64 x 64 and the small transformer.

    In proportion to blocks x units squared x tokens x images, which is what the linear layers cost.
    """
    found, large = records.one("vit", row="n4-64"), records.one("vit", row="n1-vit-b")
    if found is None or large is None:
        return UNKNOWN
    ratio = (12 * 768**2 * 197 * n) / (4 * 192**2 * 17 * 4)
    memory = large.first["peak_memory_mb"] / 1e3
    return f"about {hours(found.first['seconds'] * ratio)} on one CPU thread, from {memory:.1f} GB (one image) up"
