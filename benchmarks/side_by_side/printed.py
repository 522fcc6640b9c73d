"""What the SimuDy paper prints (Tian et al., ICLR 2025), each number once, with the table or figure that has it.

What stands elsewhere already is read from there: figures 1, 5, 19, 20, 23 to 40 and Table 3 in
:data:`benchmarks.paper_table.PAPER`, Table 1 in :data:`benchmarks.linearity.ROWS`.
"""

from dataclasses import dataclass

from ..linearity import ROWS as TABLE_1
from ..paper_table import PAPER


@dataclass(frozen=True)
class Printed:
    """A mean SSIM in the paper's scoring: where it is printed, of which attack, on how many images (0: not said)."""

    item: str
    attack: str
    images: int
    value: float


NUMBERS = {
    "simudy": {20: "1", 50: "5b", 60: "25", 70: "28", 80: "31", 90: "34", 100: "37", 120: "40"},
    "twostep": {50: "5a", 60: "24", 70: "27", 80: "30", 90: "33", 100: "36", 120: "39"},
    "onestep": {20: "19", 50: "20", 60: "23", 70: "26", 80: "29", 90: "32", 100: "35", 120: "38"},
}
"""The figures that have the numbers of ``PAPER``: ResNet-18 on CIFAR-10, by number of images."""

NAMES = {"simudy": "SimuDy", "twostep": "Loo et al.", "onestep": "Buzaglo et al."}
"""What the paper calls them; its "Loo" and "Buzaglo" are its authors' re-implementations."""

RESNET = {
    attack: {n: Printed(f"Fig. {number}", NAMES[attack], n, getattr(PAPER[n], attack)) for n, number in found.items()}
    for attack, found in NUMBERS.items()
}

MLP_LOO = Printed("Fig. 4a", "Loo et al.", 100, 0.1384)
MLP_SIMUDY = Printed("Fig. 4b", "SimuDy", 100, 0.3374)
MLP_BUZAGLO = Printed("Fig. 18", "Buzaglo et al.", 100, 0.1426)
BEST_80 = Printed("Fig. 6", "SimuDy", 120, 0.1196)
LARGER = Printed("Fig. 10", "SimuDy", 40, 0.2295)
EUCLIDEAN = Printed("Fig. 11", "SimuDy", 20, 0.2437)
SVHN = Printed("Fig. 13", "SimuDy", 0, 0.2083)
RESNET_50 = Printed("Fig. 14", "SimuDy", 0, 0.2125)
TV = {
    0.0: Printed("Fig. 15", "SimuDy", 20, 0.1835),
    5e-4: Printed("Fig. 16", "SimuDy", 20, 0.2555),
    2e-3: RESNET["simudy"][20],
    5e-2: Printed("Fig. 17", "SimuDy", 20, 0.2255),
}
"""By the coefficient of the total variation."""
BINARY_HAIM = Printed("Fig. 21a", "Haim et al.", 20, 0.2276)
BINARY_LOO = Printed("Fig. 21b", "Loo et al.", 20, 0.3537)
BINARY_SIMUDY = Printed("Fig. 21c", "SimuDy", 20, 0.5378)

LINEARITY = {row: value for row, (_, _, value) in TABLE_1.items()}
"""Table 1, by our name of the network."""

MATCHED, UNMATCHED = 1.5458, 0.5466
"""Section 4.5: mean norm of the gradients of matched and of unmatched dummies, 60 for 40 images."""
TOO_FEW, ENOUGH = 0.2, 0.08
"""Section 4.5: the loss with 20 and with 60 dummies for 40 images, about."""
FOUND_OF_120 = 80
"""Section 4.2: so many of 120 images can be reconstructed, about."""

ITEMS = (
    "Tab. 1", "Tab. 2", "Tab. 3", "Fig. 2", "Fig. 3", "Fig. 7", "Fig. 8", "Fig. 9", "Fig. 12", "Fig. 22",
    *(found.item for printed in RESNET.values() for found in printed.values()),
    *(found.item for found in (
        MLP_LOO, MLP_SIMUDY, MLP_BUZAGLO, BEST_80, LARGER, EUCLIDEAN, SVHN, RESNET_50, *TV.values(),
        BINARY_HAIM, BINARY_LOO, BINARY_SIMUDY,
    )),
)  # fmt: skip
"""Every table and figure of the paper with a result."""
