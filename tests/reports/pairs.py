"""Photographs, what an attack might make of them, and the numbers of both."""

from pathlib import Path

import numpy as np
import skimage
from PIL import Image
from scipy.stats import mannwhitneyu
from skimage.metrics import structural_similarity

from memaudit.audit.report.exhibit import Picture
from memaudit.audit.report.results import Decoy, Dummy, Match, Metrics, Scores

PHOTOS = {
    "astronaut.png": "person",
    "chelsea.png": "cat",
    "coffee.png": "cup",
    "rocket.jpg": "rocket",
    "camera.png": "person",
    "hubble_deep_field.jpg": "sky",
    "coins.png": "coin",
    "ihc.png": "tissue",
    "moon.png": "moon",
    "retina.jpg": "retina",
}
SIDE = 32
DETAILS = ("ssim_paper", "psnr")


def draw_pictures(root: Path) -> None:
    noise = np.random.default_rng(0)
    source = Path(skimage.__file__).parent / "data"
    for i, name in enumerate(PHOTOS):
        photo = Image.open(source / name).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        photo.save(picture(root, "originals", i))
        strength = 0.1 + 0.07 * i
        pixels = np.asarray(photo) / 255
        blurred = (1 - strength) * pixels + strength * pixels.mean((0, 1))
        found = blurred + strength * 0.35 * noise.standard_normal(pixels.shape)
        Image.fromarray((found.clip(0, 1) * 255).astype(np.uint8)).save(picture(root, "simudy", i))


def picture(root: Path, kind: str, i: int) -> Path:
    path = root / "pictures" / kind / f"{i:03}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def match(root: Path, i: int, name: str, label: str) -> Match:
    paths = [picture(root, kind, i) for kind in ("originals", "simudy")]
    one, two = (np.asarray(Image.open(path)) / 255 for path in paths)
    ssim = float(structural_similarity(one, two, channel_axis=2, data_range=1.0))
    mse = float(((one - two) ** 2).mean())
    truth, guess = (Picture(path=path.relative_to(root).as_posix()) for path in paths)
    return Match(
        sample=i,
        name=f"train/{label}/{name}",
        label=label,
        dummy=i,
        scores=scores(ssim, -10 * float(np.log10(mse)), mse),
        nearest=ssim,
        p_value=0.0099 if ssim > 0.5 else 0.14,
        q_value=0.033 if ssim > 0.5 else 0.2,
        rank=1 if ssim > 0.3 else 2 + i,
        recovered=ssim > 0.5,
        truth=truth,
        reconstruction=guess,
    )


def scores(ssim: float, psnr: float, mse: float) -> Scores:
    return Scores(similarity=ssim, details={"ssim_paper": ssim * 0.9, "psnr": psnr, "mse": mse})


def dummy(i: int, insignificant: bool = False) -> Dummy:
    shown = Picture(path=f"pictures/simudy/{i:03}.png")
    return Dummy(dummy=i, label=i % 10, influence=3.2 / (1 + i), exhibit=shown, insignificant=insignificant)


def metrics(pairs: list[Match], records: int = len(PHOTOS)) -> Metrics:
    ssim = [pair.scores.similarity for pair in pairs]
    recovered = sum(pair.recovered for pair in pairs)
    null = np.sort(np.random.default_rng(2).normal(0.15, 0.05, 200)).tolist()
    observed = sorted(pair.nearest for pair in pairs)
    return Metrics(
        records=records,
        matching="hungarian",
        criterion="SSIM of at least 0.4",
        similarity_mean=float(np.mean(ssim)),
        similarity_max=max(ssim),
        details_mean={name: float(np.mean([pair.scores.details[name] for pair in pairs])) for name in DETAILS},
        details_max={"ssim_paper": max(ssim) * 0.9},
        recovered=recovered,
        recovered_fraction=recovered / records,
        recovered_interval=(0.067, 0.652),
        pairs=len(pairs),
        control_pairs=200,
        control_recovered=0,
        control_similarity_mean=0.118,
        control_similarity_max=0.204,
        null_kind="control",
        null=null,
        null_size=len(null),
        observed=observed,
        p_value=float(mannwhitneyu(observed, null, alternative="greater").pvalue),
        detectable=0.437,
        tpr_at_1_fpr=float(np.mean(np.array(observed) > np.quantile(null, 0.99))),
        identifiable=sum(pair.rank == 1 for pair in pairs),
        nearest=records,
        pool=records + len(null),
        decoys=[
            Decoy(name="mean of the training images", similarity_mean=0.131, similarity_max=0.208),
            Decoy(name="smoothed noise", similarity_mean=0.067, similarity_max=0.112),
        ],
    )
