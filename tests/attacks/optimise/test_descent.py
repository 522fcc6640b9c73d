"""Records that leave a search, with what its optimiser knows of them."""

import torch

from memaudit.attacks.contract.attack import State
from memaudit.attacks.optimise.descent import kept
from memaudit.attacks.optimise.optim import Adam


def test_what_is_kept_is_as_it_was_in_the_order_asked_for():
    variables = {"scale1": torch.randn(4, 3, 8, 8), "scale2": torch.randn(4, 3, 4, 4)}
    rule = Adam(0.1)
    moved, moments = rule.update(variables, variables, rule.start(variables), 0, 1.0)
    memory = {**moments, "layer.weighted": torch.ones(5, 5), "best.x": torch.ones(4, 3, 8, 8)}
    start = State(1, moved, {"seed": torch.tensor(3)}, memory, 0.5)
    some = kept(start, torch.tensor([2, 0]))
    for name, value in start.variables.items():
        assert torch.equal(some.variables[name], value[[2, 0]])
        for kind in ("mean", "square"):
            assert torch.equal(some.memory[f"{kind}.{name}"], moments[f"{kind}.{name}"][[2, 0]])
    assert all(some.memory[name] is memory[name] for name in ("layer.weighted", "best.x"))
    assert (some.step, some.loss, len(start.variables["scale1"])) == (1, 0.5, 4)
