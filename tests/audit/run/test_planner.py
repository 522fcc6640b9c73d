"""Which attacks run and why: rules over what was read, and the choice on real pairs and with a stranger's plugin."""

import dataclasses
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from memaudit.attacks.contract.card import Card, Sight
from memaudit.attacks.simudy import SimuDy
from memaudit.audit.plugins import PluginError
from memaudit.audit.request import ScanRequest
from memaudit.audit.run import planner
from memaudit.audit.run.drive import Outcome, Run
from memaudit.audit.run.options import OptionError, build
from memaudit.audit.run.planner import Choice, candidates, choose
from memaudit.audit.scan.scene import load as load_scene

SEEN = Sight(steps=20, size=8, sharp=True, linearity=0.95, coverage=50.0, lost=False)
ORDER = [
    "spear", "pursuit", "patches", "span", "imprint", "tokens", "cover", "sme", "loo", "inverting_gradients", "simudy",
    "rewrite", "haim", "buzaglo", "onestep", "twostep", "dlg", "idlg", "gradinversion", "gion",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Strange(SimuDy):
    """An attack without a card of its own."""

    name = "strange"


def chosen(request=("a", "b"), **seen):
    """What becomes of every attack of our own and of a stranger's."""
    found = [Choice(attack.name, attack) for attack in (*build(ORDER, []), Strange())]
    choices = choose(found, request if isinstance(request, ScanRequest) else ScanRequest(*request),
                     dataclasses.replace(SEEN, **seen))  # fmt: skip
    assert [choice.name for choice in choices] == [*ORDER, "strange"]
    assert all(choice.reason for choice in choices)
    return {choice.name: choice for choice in choices}


def running(**seen):
    return [name for name, choice in chosen(**seen).items() if choice.runs]


def test_exact_attacks_come_first_and_the_simulation_starts_from_the_surrogate():
    assert running() == ["spear", "pursuit", "span", "sme", "loo", "simudy"]
    found = chosen()
    assert found["simudy"].start_from == "sme"
    assert all(choice.optional for choice in found.values() if choice.runs)
    assert "8 samples, as the change shows" in found["spear"].reason


def test_text_under_adam_is_read_and_then_rewritten():
    found = chosen(sharp=False, legible=True, adaptive=True)
    assert [name for name in ("tokens", "rewrite", "simudy") if found[name].runs] == ["tokens", "rewrite"]
    assert found["rewrite"].start_from == "tokens"
    assert "left to tokens" in chosen(sharp=False, legible=True)["rewrite"].reason


def test_a_deep_network_is_left_to_cover():
    found = chosen(sharp=False, telling=7)
    assert [name for name, choice in found.items() if choice.runs] == ["cover"]
    assert "changes of 7 layers" in found["cover"].reason
    assert found["cover"].card.blind  # so that no learning rate is searched for
    for name in ("sme", "loo", "simudy"):
        assert "left to cover" in found[name].reason
    assert "cover" not in running(sharp=False, telling=2)
    assert "cover" not in running(sharp=True, telling=7)
    asked = chosen(ScanRequest("a", "b", options=("simudy.alpha=1",)), sharp=False, telling=7)
    assert asked["cover"].runs


def test_what_shows_patches_is_read_before_anything_is_searched_for():
    found = chosen(sharp=False, size=1, patched=True)
    assert [name for name, choice in found.items() if choice.runs] == ["patches"]
    assert all("left to patches" in found[name].reason for name in ("sme", "loo", "simudy"))
    assert "1 sample" in found["patches"].reason
    assert found["patches"].card.blind
    assert "vision transformer" in chosen()["patches"].reason
    assert running(sharp=False, size=2, patched=True) == ["patches", "sme", "loo", "simudy"]


@pytest.mark.parametrize(
    ("seen", "left_out", "said"),
    [
        ({"size": 25}, "spear", "25 samples"),
        ({"linearity": 0.6}, "loo", "0.60"),
        ({"linearity": None}, "loo", "could not be measured"),
        ({}, "inverting_gradients", "20 steps"),
        ({"steps": 1}, "sme", "one step"),
        ({"coverage": 0.5}, "simudy", "infeasible: 0.5 numbers moved"),
        ({"coverage": 0.5}, "loo", "infeasible"),
        ({"coverage": 0.5, "steps": 1}, "inverting_gradients", "infeasible"),
        ({}, "haim", "on request"),
        ({}, "gion", "on request"),
        ({}, "strange", "not one of memaudit's own"),
    ],
)
def test_what_is_left_out_says_why(seen, left_out, said):
    choice = chosen(**seen)[left_out]
    assert not choice.runs
    assert said in choice.reason
    assert choice.start_from == ""


def test_one_step_is_a_gradient():
    assert running(steps=1) == ["spear", "pursuit", "span", "loo", "inverting_gradients", "simudy"]


def test_too_few_numbers_leave_what_is_cheap():
    assert running(coverage=0.5) == ["spear", "pursuit", "span", "sme"]
    assert "partial at best" in chosen(coverage=0.5)["sme"].reason


def test_a_change_that_is_rounding_leaves_nothing_but_what_was_asked_for():
    assert running(lost=True) == []
    assert "rounding" in chosen(lost=True)["span"].reason
    assert not any(
        choice.runs for choice in chosen(request=ScanRequest("a", "b", attacks=("all",)), lost=True).values()
    )
    asked = [Choice("simudy", SimuDy(), "named by --attack", asked=True)]
    assert choose(asked, ScanRequest("a", "b"), dataclasses.replace(SEEN, lost=True)) == asked


def test_all_means_all_and_each_on_its_own():
    found = chosen(request=ScanRequest("a", "b", attacks=("all",)), steps=20, linearity=0.1, size=500)
    assert all(choice.runs and choice.reason == "--attack all" for choice in found.values())
    assert not any(choice.start_from or choice.optional for choice in found.values())


def test_a_named_attack_is_not_weighed():
    found = candidates(ScanRequest("a", "b", attacks=("simudy",), options=("simudy.iterations=7",)))
    assert [(c.name, c.asked, c.attack.iterations) for c in found] == [("simudy", True, 7)]
    assert choose(found, ScanRequest("a", "b", attacks=("simudy",)), SEEN) == found


def test_options_and_gates_that_name_an_attack_ask_for_it():
    request = ScanRequest("a", "b", options=("simudy.iterations=7",))
    found = {choice.name: choice for choice in candidates(request)}
    assert found["simudy"].asked
    assert found["simudy"].attack.iterations == 7
    assert "--set" in found["simudy"].reason
    assert sum(choice.asked for choice in found.values()) == 1
    needed = {"simudy": "the gate simudy.ssim_max>=0.4 needs it"}
    found = {choice.name: choice for choice in candidates(ScanRequest("a", "b"), needed)}
    assert "simudy.ssim_max>=0.4" in found["simudy"].reason
    (gated,) = choose([found["simudy"]], ScanRequest("a", "b"), SEEN)
    assert (gated.runs, gated.start_from) == (True, "sme")
    assert sum(choice.asked for choice in found.values()) == 1
    mixed = {c.name: c for c in candidates(ScanRequest("a", "b", attacks=("all", "simudy"), max_iterations=3))}
    assert "--attack" in mixed["simudy"].reason
    assert mixed["simudy"].attack.iterations == 3


@pytest.mark.parametrize("attacks", [(), ("all",)])
@pytest.mark.parametrize(("setting", "error"), [("simudi.alpha=1", PluginError), ("alpha=1", OptionError),
                                                ("simudy.alfa=1", OptionError)])  # fmt: skip
def test_a_setting_of_no_attack_is_refused_before_any_work(attacks, setting, error):
    with pytest.raises(error):
        candidates(ScanRequest("a", "b", attacks=attacks, options=(setting,)))


def test_every_registered_attack_appears_once_in_a_fixed_order():
    found = [choice.name for choice in candidates(ScanRequest("a", "b"))]
    assert len(set(found)) == len(found)
    assert found[: len(ORDER)] == ORDER
    assert found[len(ORDER) :] == sorted(found[len(ORDER) :])
    assert [c.name for c in candidates(ScanRequest("a", "b", attacks=("all",)))] == found


@pytest.fixture
def _stranger(tmp_path, monkeypatch):
    """An installed distribution with one attack that works and one that does not."""
    info = tmp_path / "stranger-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[memaudit.attacks]\nodd = stranger_attack:Odd\nrotten = stranger_attack:Absent\n"
        "ready = stranger_attack:Ready\nfailing = stranger_attack:Failing\n"
        "vague = stranger_attack:Vague\n"
    )
    (tmp_path / "stranger_attack.py").write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from memaudit.attacks.contract.card import Card\nfrom memaudit.attacks.simudy import SimuDy\n\n"
        "@dataclass(frozen=True)\nclass Odd(SimuDy):\n    name: ClassVar[str] = 'odd'\n\n"
        "@dataclass(frozen=True)\nclass Ready(SimuDy):\n    name: ClassVar[str] = 'ready'\n"
        "    card: ClassVar[Card] = Card(rule=lambda sight: (sight.size < 9, f'{sight.samples}'), place=35,\n"
        "                                starts_from='sme')\n\n"
        "@dataclass(frozen=True)\nclass Vague(SimuDy):\n    name: ClassVar[str] = 'vague'\n"
        "    card: ClassVar[Card] = Card(rule=lambda sight: ('no', 'x'))\n\n"
        "@dataclass(frozen=True)\nclass Failing(SimuDy):\n    name: ClassVar[str] = 'failing'\n"
        "    card: ClassVar[Card] = Card(rule=lambda sight: 1 / 0)\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield
    sys.modules.pop("stranger_attack", None)


@pytest.mark.usefixtures("_stranger")
def test_a_strangers_attack_runs_when_named_or_with_all():
    def becomes(*attacks):
        request = ScanRequest("a", "b", attacks=attacks)
        return {choice.name: choice for choice in choose(candidates(request), request, SEEN)}

    assert not becomes()["odd"].runs
    assert becomes()["simudy"].runs
    assert becomes("all")["odd"].runs
    assert list(becomes("odd")) == ["odd"]


@pytest.mark.usefixtures("_stranger")
def test_a_strangers_card_puts_it_into_the_default_plan():
    def plan(**seen):
        request = ScanRequest("a", "b")
        return {
            choice.name: choice for choice in choose(candidates(request), request, dataclasses.replace(SEEN, **seen))
        }

    found = plan()
    assert list(found)[:9] == ["spear", "pursuit", "patches", "span", "imprint", "tokens", "cover", "sme", "ready"]
    assert (found["ready"].runs, found["ready"].optional, found["ready"].start_from) == (True, True, "sme")
    assert found["ready"].reason == "8 samples, as the change shows"
    assert not plan(size=9)["ready"].runs
    assert found["simudy"].runs


@pytest.mark.usefixtures("_stranger")
def test_a_strangers_rule_that_fails_ends_nothing_else():
    found = {choice.name: choice for choice in choose(candidates(ScanRequest("a", "b")), ScanRequest("a", "b"), SEEN)}
    assert not found["failing"].runs
    assert "its rule failed (ZeroDivisionError" in found["failing"].reason
    assert not found["vague"].runs
    assert "its rule failed (it must return" in found["vague"].reason
    assert found["simudy"].runs


@pytest.mark.usefixtures("_stranger")
def test_a_broken_plugin_is_left_out_with_the_reason_unless_it_is_named():
    for attacks in ((), ("all",)):
        request = ScanRequest("a", "b", attacks=attacks)
        rotten = next(c for c in choose(candidates(request), request, SEEN) if c.name == "rotten")
        assert not rotten.runs
        assert "cannot be imported" in rotten.reason
        assert rotten.step().attack == "rotten"
    with pytest.raises(PluginError, match="rotten"):
        candidates(ScanRequest("a", "b", attacks=("rotten",)))
    with pytest.raises(PluginError, match="rotten"):
        candidates(ScanRequest("a", "b", options=("rotten.x=1",)))


def outcome(status):
    return Outcome(status, 3, 1.0, 1, (), None)


def test_only_an_exact_attack_that_converged_settles_the_matter():
    own = {"name": "span", "card": Card(exact=True)}
    exact, other = dataclasses.make_dataclass("Span", [], bases=(SimuDy,), frozen=True, namespace=own), SimuDy
    assert planner.settled([]) == ""
    assert planner.settled([Run(other(), 0, outcome("converged"))]) == ""
    assert planner.settled([Run(exact(), 0, outcome("stalled")), Run(exact(), 1, None, "no")]) == ""
    assert "span converged" in planner.settled(
        [Run(exact(), 0, outcome("stalled")), Run(exact(), 1, outcome("converged"))]
    )


def test_seeds_follow_each_other_and_a_deterministic_attack_has_one():
    @dataclasses.dataclass(frozen=True)
    class Certain(SimuDy):
        deterministic = True

    request = ScanRequest("a", "b", seed=5, restarts=3)
    assert planner.seeds(SimuDy(), request) == [5, 6, 7]
    assert planner.seeds(Certain(), request) == [5]


def sight(scene):
    recipe = dataclasses.replace(scene.known.recipe, lr=0.02)
    return planner.look(scene.victim, recipe, scene.known.facts, scene.delta)


def test_what_is_seen_of_a_real_pair(leak):
    seen = sight(load_scene(ScanRequest(leak.before, leak.after, data=leak.data, epochs=10, lr=0.02)))
    assert (seen.steps, seen.size, seen.sharp, seen.lost) == (10, 4, True, False)
    assert seen.linearity > 0.5
    numbers = 432 * 64 + 64 + 64 * 4 + 4
    assert seen.coverage == pytest.approx(numbers / (4 * 432))
    more = sight(load_scene(ScanRequest(leak.before, leak.after, size=6, epochs=1, batch_size=6, lr=0.02)))
    assert (more.steps, more.size) == (1, 4)


def test_a_number_of_samples_that_is_assumed_makes_nothing_infeasible(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    moved = {name: value + 0.1 * torch.randn_like(value) for name, value in network.state_dict().items()}
    save_file(moved, tmp_path / "b.safetensors")
    pair = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    assert sight(load_scene(ScanRequest(*pair))).coverage == pytest.approx(34 / 16)
    assert sight(load_scene(ScanRequest(*pair, size=40))).coverage == pytest.approx(34 / 16 / 40)


def test_a_pair_that_only_rounding_tells_apart_is_lost(tmp_path):
    first = {n: v.to(torch.bfloat16) for n, v in nn.Sequential(nn.Flatten(), nn.Linear(48, 16)).state_dict().items()}
    second = {name: value.clone() for name, value in first.items()}
    second["1.weight"].view(-1)[::50] *= 1 + 2**-7
    save_file(first, tmp_path / "a.safetensors")
    save_file(second, tmp_path / "b.safetensors")
    scene = load_scene(ScanRequest(tmp_path / "a.safetensors", tmp_path / "b.safetensors"))
    assert sight(scene).lost
    assert scene.delta.lost
