"""The benchmark of TF32: the emulation number by number, and the whole path at toy size."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import tf32
from benchmarks.tf32 import Rounding, rounded

MARKED = "before\n<!-- tf32 -->\nold\n<!-- end tf32 -->\nafter\n"


def test_ten_bits_of_mantissa_to_the_nearest_ties_away_from_zero():
    step, tie = 2.0**-10, 2.0**-11
    given = torch.tensor([1, 1 + tie - 2**-23, 1 + tie, -1 - tie, 1 + 3 * tie, 2**-100 * (1 + tie), 0, 1 / 0.7])
    found = rounded(given, 10)
    assert found[:-1].tolist() == [1, 1, 1 + step, -1 - step, 1 + 2 * step, 2**-100 * (1 + step), 0]
    assert 0 < abs(found[-1] - given[-1]) <= tie
    assert rounded(found, 10).equal(found)
    assert rounded(torch.tensor(1 + 3 * 2.0**-23), 22).item() == 1 + 2.0**-21
    special = torch.tensor([torch.inf, -torch.inf, torch.nan])
    torch.testing.assert_close(rounded(special, 10), special, equal_nan=True)
    assert rounded(torch.tensor([1 / 3], dtype=torch.float64), 10).item() == 1 / 3


def test_factors_are_rounded_and_what_is_only_added_is_not():
    a, b, bias = torch.randn(3, 4), torch.randn(4, 5), torch.randn(5)
    x, kernel, side = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3), torch.randn(4)
    with Rounding():
        products = [a @ b, torch.addmm(bias, a, b), a[None] @ b[None], nn.functional.linear(a, b.T, bias)]
        convolved = nn.functional.conv2d(x, kernel, side)
        assert (torch.tensor([[1024.5]]) @ torch.ones(1, 1)).item() == 1025  # as on an RTX 3090
    exact = rounded(a, 10) @ rounded(b, 10)
    for found, expected in zip(products, (exact, exact + bias, exact[None], exact + bias), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    expected = nn.functional.conv2d(rounded(x, 10), rounded(kernel, 10), side)
    torch.testing.assert_close(convolved, expected, rtol=1e-5, atol=1e-5)


def test_first_and_second_derivatives_of_a_convolution_are_rounded_but_sums_of_biases_are_not():
    layer, x = nn.Conv2d(3, 4, 3), torch.randn(2, 3, 8, 8, requires_grad=True)
    sight = torch.randn(2, 4, 6, 6)

    def derivatives():
        grads = torch.autograd.grad((layer(x) * sight).square().sum(), (*layer.parameters(), x), create_graph=True)
        (second,) = torch.autograd.grad(grads[0].square().sum(), x)
        return [grad.detach() for grad in (*grads, second)]

    exact = derivatives()
    with Rounding():
        found = derivatives()
    errors = [float((a - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]
    assert all(1e-5 < error < 1e-2 for error in errors)
    upper = torch.randn(2, 4, 6, 6)
    with Rounding():
        (bias,) = torch.autograd.grad(layer(x), layer.bias, upper)
    torch.testing.assert_close(bias, upper.sum((0, 2, 3)))


def pack(folder: Path) -> Path:
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "cifar10-test.npz", images=images, labels=np.arange(10))
    return folder


def test_the_benchmark_at_toy_size(tmp_path):
    results, page = tmp_path / "tf32.json", tmp_path / "page.md"
    page.write_text(MARKED)
    words = ["--victims", "conv", "--seeds", "1", "--iterations", "4", "--device", "cpu"]
    words += ["--data-pack", str(pack(tmp_path / "pack")), "--results", str(results), "--page", str(page)]
    tf32.main(words)
    found = json.loads(results.read_text())
    tf32.write(found["rows"][0], found["hardware"], results, page)  # in place of the row of the first time
    (row,) = json.loads(results.read_text())["rows"]
    assert row["emulated"]
    assert 1e-5 < row["error_start"] < 0.1
    assert len({row[mode]["loss"] for mode in tf32.MODES}) == 3
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert text.count("\n| conv | 10 | 20 | simudy | 4 | 0 | ") == 1
