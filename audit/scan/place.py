"""Where a scan keeps its states: keys of everything that a result depends on."""

import dataclasses
from functools import cache
from pathlib import Path

import torch

from ... import __version__
from ...attacks.contract.attack import Attack, generator
from ...attacks.contract.recipe import Recipe
from ...attacks.contract.victim import Victim
from ...attacks.simulation.trainstep import gradient
from .. import plugins
from ..run.cards import GROUP as ATTACKS
from ..run.store import Job, Place, Store, job_parts, key
from .scene import Scene

_PRESENTATION = (
    "out", "outputs", "fail_if", "fail_on", "name", "evidence", "context", "max_time", "max_memory", "executor",
)  # fmt: skip
"""Fields of a request that do not affect the numbers of its answer."""


def run_folder(scene: Scene) -> Path:
    """Return the folder that belongs to a request: the one it names, or one named after what it asks."""
    if scene.request.out:
        return Path(scene.request.out)
    fields = [field.name for field in dataclasses.fields(scene.request) if field.name not in _PRESENTATION]
    question = [getattr(scene.request, name) for name in fields]
    return Path("memaudit-runs") / key(_digests(scene), repr(question), __version__)


def _digests(scene: Scene) -> tuple[str, str]:
    return scene.pair.before.sha256, scene.pair.after.sha256


def job_place(scene: Scene, store: Store) -> Place:
    """Return where the state of an attack on a recipe belongs: keyed by everything that its result depends on."""
    victim = scene.victim
    machine = [__version__, torch.__version__, str(victim.like.device), torch.get_num_threads()]
    machine += ["tf32"] if scene.request.tf32 else []

    @cache
    def network() -> list[object]:
        return [_digests(scene), behaviour(victim), victim.shape, repr(victim.medium)]

    def job(attack: Attack, recipe: Recipe, *more: str, seed: int = scene.request.seed) -> Job:
        parts = job_parts(attack, recipe, seed)
        return store.job(key(network(), machine, plugins.origin(ATTACKS, attack.name), parts, *more))

    return job


def behaviour(victim: Victim) -> str:
    """Return a digest of what the network computes: the user's own model file may change between two scans."""
    x = torch.randn(1, *victim.shape, generator=generator(0)).to(victim.like)
    grads = gradient(victim, tuple(victim.theta0.values()), x, torch.zeros(1, dtype=torch.long, device=x.device))
    with torch.no_grad():
        numbers = [victim.logits(victim.theta0, x).flatten().tolist(), [float(grad.norm()) for grad in grads]]
    return key(numbers)
