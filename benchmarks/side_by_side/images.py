"""Sections of the page about images out of the networks that the paper attacks: ResNets and MLPs."""

from ..paper_table import PAPER, WEIGHTS
from . import costs, printed
from .lines import Line, chosen, compared, table
from .printed import Printed
from .records import Group, Records

COVER = "`cover`"


def resnet_lines(records: Records) -> list[Line]:
    """Return ResNet-18 on 20 to 120 images of CIFAR-10, attack by attack."""
    lines: list[Line] = []
    for n in PAPER:
        ours = records.cover(f"n{n}")
        theirs = printed.RESNET["simudy"].get(n)
        if theirs:
            lines += chosen(theirs, ours, n, COVER, costs.cover(records, n))
        else:
            lines += chosen(None, ours, n, COVER, costs.cover(records, n))
        for attack in ("simudy", "twostep", "onestep"):
            lines += _published(records, attack, n)
    return lines


def _published(records: Records, attack: str, n: int) -> list[Line]:
    """Return the attack of the paper's table as `benchmarks.paper` measured it, or what that would cost."""
    theirs = None if attack == "simudy" else printed.RESNET[attack].get(n)
    found = records.groups("paper", n=n, attack=attack, weights=WEIGHTS)
    if found:
        updates = found[0].first["iterations"]
        return chosen(theirs, found, n, f"`{attack}` with the recipe known, {updates} updates", "")
    if theirs:
        return [Line(theirs, None, n, f"`{attack}` with the recipe known", costs.updates(records, attack, n))]
    if attack == "simudy" and n in (20, 120):
        return [Line(None, None, n, "`simudy` from noise, with the recipe known", costs.simulated(records, n))]
    return []


def resnet(records: Records) -> str:
    """Return the section on ResNet-18."""
    best = next(iter(records.cover(f"n{printed.BEST_80.images}")), None)
    found = f"{best.text('recovered', 0)} are recovered (record {best.reference})" if best else "it was not run"
    return f"""Victim: ResNet-18 with a CIFAR stem, pretrained, with a fresh head, 20 epochs of plain SGD (0.01,
batches of 20). The paper does not say on what its network was pretrained, nor how it chose the iterate that it
scored; ours is that of the lowest loss that an attacker sees. There the recipe is known; here it is not, but for the
number of images and the kind of optimiser. Ours is another attack than SimuDy:
[cover](attacks.md#cover-deep-networks). `twostep` and `onestep` are the paper's own forms of Loo and Buzaglo, not
these authors' attacks. "Difference" is ours less the paper's, both in the paper's scoring, averaged over seeds. Where
several rows of ours answer to one number, the first is the one with the present choice of layers and the fewest
changed options, not the best.

{compared(resnet_lines(records))}

{costs.HOW}

{printed.BEST_80.item}: the paper shows the best {printed.FOUND_OF_120} of 120 images; all have a mean SSIM of
{printed.BEST_80.value}. Here {found}. The paper counts what looks right, we count images that resemble no stranger
(SSIM of 0.4 in audit mode, false discovery rate of 1 %), so the counts do not compare.
"""


def resources(records: Records) -> str:
    """Return Table 3: time and memory."""
    rows = []
    for n, paper in PAPER.items():
        groups = records.cover(f"n{n}")
        gpu = [group for group in groups if "H100" in group.first["hardware"] and not group.first["settings"]]
        cpu = [group for group in groups if "x86_64" in group.first["hardware"]]
        missing = "" if groups else costs.cover(records, n)
        rows.append((str(n), f"{paper.hours:.2f} h", f"{paper.megabytes} MB", *_spent(gpu), *_spent(cpu), missing,
                     " ".join(group.reference for group in gpu + cpu)))  # fmt: skip
    head = ("images", "paper: time", "memory", "ours on an H100: seconds", "memory", "ours on CPU threads: seconds",
            "memory", "not run", "record")  # fmt: skip
    return f"""The paper: SimuDy on one RTX 4090. Ours: `cover` on the same kind of victim. Different attacks on
different hardware: the hours say what a result costs, not which code is faster; for that see
[the loops beside each other](#the-published-loop-beside-ours). Memory on the H100 is what torch allocated, on the CPU
the peak of the whole process. The H100 was shared by several processes, and the CPU rows ran for fewer updates (in
the record) on a busy machine: [conditions](benchmarks.md#deep-networks).

{table(head, rows)}
"""


def _spent(groups: list[Group]) -> tuple[str, str]:
    seconds = [value for group in groups for value in group.values("seconds")]
    memory = [value for group in groups for value in group.values("peak_memory_bytes")]
    return ", ".join(f"{value:.0f}" for value in seconds), f"{max(memory) / 1e6:.0f} MB" if memory else ""


def mlp_lines(records: Records) -> list[Line]:
    """Return the MLP of ten classes on 100 images, and the one of two classes on 20."""
    ten = [
        *_scan(records, printed.MLP_SIMUDY, "mlp-100", 100, ["pursuit", "span", "simudy"]),
        *_scan(records, printed.MLP_LOO, "mlp-100", 100, ["twostep", "loo"]),
        *_scan(records, printed.MLP_BUZAGLO, "mlp-100", 100, ["onestep", "buzaglo"]),
    ]
    two = [
        *_scan(records, printed.BINARY_SIMUDY, "binary-20", 20, ["spear", "simudy"]),
        *_scan(records, printed.BINARY_LOO, "binary-20", 20, ["twostep", "loo"]),
        *_scan(records, printed.BINARY_HAIM, "binary-20", 20, ["haim"]),
    ]
    return ten + two


def _scan(records: Records, theirs: Printed, victim: str, n: int, attacks: list[str]) -> list[Line]:
    """Return what the attacks that answer to one of the paper's reached in scans of a victim."""
    groups = [
        group for attack in attacks for group in records.groups("attacks", row=victim, attack=attack, strangers=False)
    ]
    missing = f"minutes: `python -m benchmarks.attacks {victim} --attack {attacks[0]}`"
    if not groups:
        return [Line(theirs, None, n, f"`{attacks[0]}`", missing)]
    return [Line(theirs, group, n, _asked(group), headline=group is groups[0]) for group in groups]


def _asked(group: Group) -> str:
    """Return the attack of a scan and the options that it was given."""
    name = group.first["attack"]
    given = [word.removeprefix(f"{name}.") for word in group.first["asked"] if word.startswith(f"{name}.")]
    return ", ".join([f"`{name}`", *(word.replace("=", " = ") for word in given)])


def mlp(records: Records) -> str:
    """Return the section on MLPs: figures 4 and 18, and appendix C.5."""
    return f"""Victims: MLP d-1000-1000-10, 100 images, full batch (Figs. 4 and 18), and d-1000-1000-1, vehicles
against animals, 20 images (appendix C.5, Fig. 21); 20 epochs of plain SGD at 0.01 from PyTorch's start. Scans through
the console script: recipe given, labels not. `pursuit` and `spear` use that a first dense layer's change lies in the
span of its inputs, which SimuDy does not. `haim` explains weights that training has brought to rest; 20
epochs leave this net next to its start, and it finds nothing here.

{compared(mlp_lines(records))}
"""


def other_lines(records: Records) -> list[Line]:
    """Return other data and networks: appendix C.2."""
    fifty = records.cover("resnet50")
    return [
        *chosen(printed.SVHN, records.cover("svhn"), 20, COVER, costs.UNKNOWN),
        *chosen(printed.RESNET_50, fifty, 20, COVER, _deeper(records)),
    ]


def _deeper(records: Records) -> str:
    if records.one("questions", group="cost", asked="cover, ResNet-50"):
        return costs.updates(records, "cover, ResNet-50")
    return (
        f"by its multiplications, {costs.DEEPER:.1f} times those of ResNet-18: {costs.cover(records, 20, costs.DEEPER)}"
    )


def others(records: Records) -> str:
    """Return the sections C.1 and C.2: larger images, other data, a deeper network."""
    larger = chosen(None, records.cover("tiny"), 10, COVER, costs.UNKNOWN)
    lines = compared([*other_lines(records), *larger])
    return f"""SVHN on ResNet-18 (Fig. 13) and CIFAR-10 on ResNet-50 (Fig. 14): the paper does not say on how many
images. Our ResNet-50 starts from its default initialisation
(batch norm in train mode), as no pretrained one is at hand: what its layers see moves too far for `cover`.
The last line is Tiny ImageNet at 64 x 64 pixels on ResNet-18 (appendix C.1, Fig. 12), of which the paper
shows pictures and no number; here behind a stem of stride 2.

{lines}
"""
