import pytest

from memaudit.attacks.simudy import SimuDy
from memaudit.audit import plugins
from memaudit.audit.plugins import PluginError
from memaudit.audit.run.cards import GROUP
from memaudit.audit.run.options import OptionError, build, fields


def test_defaults_and_settings():
    assert build(["simudy"], []) == [SimuDy()]
    settings = ["simudy.alpha=2e-3", "simudy.iterations=7", "simudy.distance=cosine", "simudy.adjoint = full"]
    assert build(["simudy"], settings) == [SimuDy(alpha=2e-3, iterations=7, distance="cosine", adjoint="full")]


def test_max_iterations_only_shortens():
    assert build(["simudy"], [], 5)[0].iterations == 5
    assert build(["simudy"], ["simudy.iterations=4"], 5)[0].iterations == 4


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("simudy.alfa=1", "Did you mean alpha"), ("simudy.alpha=much", "'much' is not a number"),
        ("simudy.iterations=1.5", "not a whole number"), ("simudy.distance=l1", "one of log_cosine"),
        ("simudy.alpha", "cannot be parsed"), ("alpha=1", "cannot be parsed"), ("loo.alpha=1", "not run"),
        ("simudy.alpha=nan", "not a number"), ("simudy.alpha=-1", "must not be negative"),
        ("simudy.name=x", "no option 'name'"), ("simudy.iterations=0", "must be positive"),
    ],
)  # fmt: skip
def test_wrong_settings(setting, said):
    with pytest.raises(OptionError) as error:
        build(["simudy"], [setting])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_no_option_calls_a_bad_run_converged():
    for name in plugins.available(GROUP):
        with pytest.raises(OptionError, match="tolerance must be at most"):
            build([name], [f"{name}.tolerance=0.2"])


def test_span_takes_its_adjoint():
    assert build(["span"], ["span.adjoint=stepwise"])[0].adjoint == "stepwise"


def test_a_choice_of_numbers_is_a_number():
    assert build(["sme"], ["sme.nodes=3"])[0].nodes == 3
    with pytest.raises(OptionError, match="one of 1, 3"):
        build(["sme"], ["sme.nodes=2"])
    told = [field for name in plugins.available(GROUP) for field in fields(name)]
    assert ("nodes", "one of 1, 3", 1) in told


def test_unknown_attack():
    with pytest.raises(PluginError, match="simudy"):
        build(["simudi"], [])


def test_fields_tell_the_type():
    told = {name: (kind, default) for name, kind, default in fields("simudy")}
    assert told["iterations"] == ("a whole number", SimuDy().iterations)
    assert told["distance"][0].startswith("one of log_cosine")
