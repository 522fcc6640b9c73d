"""Defences by their names, and the change that they leave."""

import pytest
import torch
from safetensors.torch import save_file

from memaudit.audit.checkpoints.pair import read_pair
from memaudit.audit.tasks.alter import Defence, DefenceError, altered, distortion, parse_defences, rounded


def write_pair(folder, before, after):
    save_file(before, folder / "a.safetensors")
    save_file(after, folder / "b.safetensors")
    return read_pair(folder / "a.safetensors", folder / "b.safetensors")


@pytest.fixture
def pair(tmp_path):
    """Weights, a frozen one, a tied one, batch norm with its counter, and a half-precision one."""
    draw = torch.Generator().manual_seed(0)
    before = {
        "0.weight": torch.randn(40, 50, generator=draw),
        "0.bias": torch.zeros(40),
        "1.running_mean": torch.zeros(40),
        "1.running_var": torch.ones(40) * 1e-3,
        "1.num_batches_tracked": torch.tensor(7),
        "2.weight": torch.randn(10, 40, generator=draw),
        "3.weight": torch.randn(30, 40, generator=draw).half(),
    }
    before["4.weight"] = before["0.weight"].clone()
    after = {name: value.clone() for name, value in before.items()}
    change = 1e-2 * torch.randn(40, 50, generator=draw)
    after["0.weight"] += change
    after["4.weight"] += change
    after["0.bias"] += 1e-2
    after["1.running_mean"] += torch.randn(40, generator=draw)
    after["1.running_var"] += 5e-4
    after["1.num_batches_tracked"] += 20
    after["3.weight"] += 1e-2 * torch.randn(30, 40, generator=draw).half()
    return write_pair(tmp_path, before, after)


def test_lists_become_defences_in_order_and_once():
    found = parse_defences("0.1, 1e-2,0.10", "4,8")
    assert [defence.name for defence in found] == ["noise-0.01", "noise-0.1", "bits-8", "bits-4"]
    assert parse_defences(None, "1")[0].value == 1
    assert parse_defences(None, None) == ()


@pytest.mark.parametrize(
    ("noise", "bits", "word"),
    [
        ("-0.1", None, "--noise -0.1"), ("0", None, "--noise 0"), ("nan", None, "nan"), ("inf", None, "inf"),
        ("x", None, "--noise x"), ("", None, "--noise ''"), ("0.1,", None, "an empty entry"), (None, "0", "--bits 0"),
        (None, "17", "--bits 17"), (None, "2.5", "--bits 2.5"), (None, "-1", "--bits -1"), (None, "", "--bits ''"),
    ],
)  # fmt: skip
def test_bad_lists_are_refused(noise, bits, word):
    with pytest.raises(DefenceError) as caught:
        parse_defences(noise, bits)
    assert word in caught.value.message
    assert caught.value.hint


def test_noise_has_the_size_that_was_asked_for_and_depends_on_the_seed_alone(pair):
    once, again, other = (altered(pair, Defence("noise", 0.5), seed) for seed in (3, 3, 4))
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not torch.equal(once["0.weight"], other["0.weight"])
    assert distortion(pair, once) == pytest.approx(0.5, rel=0.05)
    assert distortion(pair, pair.after.tensors) == 0
    state = torch.random.get_rng_state()
    altered(pair, Defence("noise", 0.01), 0)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_louder_noise_is_the_same_noise(pair):
    after = pair.after.tensors["0.weight"]
    soft, loud = (altered(pair, Defence("noise", level), 0)["0.weight"] - after for level in (0.1, 1.0))
    torch.testing.assert_close(10 * soft, loud, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("defence", [Defence("noise", 2.0), Defence("bits", 3), Defence("bits", 1)])
def test_only_what_moved_is_altered_and_tied_tensors_stay_tied(pair, defence):
    found, after = altered(pair, defence, 0), pair.after.tensors
    assert torch.equal(found["2.weight"], after["2.weight"])
    assert torch.equal(found["1.num_batches_tracked"], after["1.num_batches_tracked"])
    assert found["1.num_batches_tracked"].dtype == torch.int64
    assert torch.equal(found["0.weight"], found["4.weight"])
    assert not torch.equal(found["0.weight"], after["0.weight"])
    assert found["3.weight"].dtype == torch.float16
    assert bool((found["1.running_var"] > 0).all())


def test_statistics_get_noise_of_their_own_size(pair):
    found = altered(pair, Defence("noise", 0.1), 0)
    weights = float((found["0.weight"] - pair.after.tensors["0.weight"]).std())
    assert weights == pytest.approx(1e-3, rel=0.2)
    assert float((found["1.running_mean"] - pair.after.tensors["1.running_mean"]).std()) > 10 * weights


@pytest.mark.parametrize("bits", [2, 3, 8, 16])
def test_rounding_is_uniform_symmetric_and_keeps_the_largest(bits):
    change = torch.randn(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = rounded(change, bits)
    levels = 2 ** (bits - 1) - 1
    step = float(change.abs().max()) / levels
    steps = found / step
    torch.testing.assert_close(steps, steps.round())
    assert float(steps.abs().max()) == pytest.approx(levels)
    assert float((found - change).abs().max()) <= step / 2 * (1 + 1e-9)
    assert torch.equal(rounded(-change, bits), -found)


def test_one_bit_is_the_sign_times_the_mean_magnitude():
    found = rounded(torch.tensor([1.0, -3.0, 0.0, 2.0], dtype=torch.float64), 1)
    assert found.tolist() == [2.0, -2.0, 0.0, 2.0]
    assert rounded(torch.zeros(3), 4).tolist() == [0.0, 0.0, 0.0]


def test_sixteen_bits_change_next_to_nothing(pair):
    assert distortion(pair, altered(pair, Defence("bits", 16), 0)) < 1e-3
