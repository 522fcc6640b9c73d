import copy
import pickle  # noqa: TID251 - processes of an executor send it

import pytest
import torch

from memaudit.attacks.contract.attack import Unsupported
from memaudit.attacks.text.medium import Tokens

PAD, FIRST, LAST = 0, 2, 3


def made(words=50, width=16, length=6, dtype=torch.float64):
    table = torch.randn(words, width, dtype=dtype, generator=torch.Generator().manual_seed(0))
    table[PAD] = 0
    return Tokens(length, PAD, FIRST, LAST, table, "{}", "44136fa355b3678a")


TOKENS = made()
RECORDS = torch.tensor([[2, 10, 11, 12, 3, 0], [2, 49, 3, 0, 0, 0]])


def rows():
    return TOKENS.table[RECORDS]


def test_both_forms_of_inputs_are_read_back():
    numbers = TOKENS.encode(RECORDS)
    assert numbers.dtype == TOKENS.table.dtype
    assert torch.equal(TOKENS.records(numbers), RECORDS)
    assert torch.equal(TOKENS.records(numbers.to(torch.float32) + 0.3), RECORDS)
    assert torch.equal(TOKENS.records(rows()), RECORDS)
    assert torch.equal(TOKENS.encode(RECORDS.float()), numbers)


def test_the_nearest_row_is_that_of_the_largest_cosine():
    scale = torch.rand(2, 6, 1, dtype=torch.float64) * 9 + 0.1
    assert torch.equal(TOKENS.records(rows() * scale), RECORDS)
    # Row 5 is long, so that it has the larger product but the smaller cosine.
    table = torch.eye(6, dtype=torch.float64)
    table[5] = torch.tensor([3.0, 0, 0, 0, 0, 4.0])
    medium = Tokens(1, 4, -1, -1, table, "", "")
    assert medium.records(table[:1, None] + 0.01).item() == 0


def test_a_row_of_zeros_is_no_token():
    x = torch.zeros(1, 6, 16, dtype=torch.float64)
    assert TOKENS.records(x).tolist() == [[PAD] * 6]
    assert float(TOKENS.roughness(x)) == float(TOKENS.excess(x)) == 0
    x[0, 1] = 40 * TOKENS.table[7]
    assert TOKENS.records(x).tolist() == [[PAD, 7, *[PAD] * 4]]
    alone = x[:, 1:2]
    assert torch.equal(TOKENS.roughness(x), TOKENS.roughness(alone))
    assert torch.equal(TOKENS.excess(x), TOKENS.excess(alone))
    assert torch.equal(TOKENS.within(x) == 0, x == 0)


def test_numbers_out_of_range_are_brought_to_it():
    x = torch.tensor([[-7.0, 1e9, float("nan"), float("inf"), 1.4, 1.6]])
    assert TOKENS.records(x).tolist() == [[0, 49, 0, 49, 1, 2]]
    assert torch.equal(TOKENS.within(x).long(), TOKENS.records(x))


def test_sentences_are_neither_rough_nor_excessive():
    for x in (rows(), TOKENS.encode(RECORDS)):
        assert float(TOKENS.roughness(x)) == pytest.approx(0, abs=1e-7)
        assert float(TOKENS.excess(x)) == pytest.approx(0, abs=1e-12)
        assert torch.allclose(TOKENS.within(x), x)


def test_roughness_is_the_distance_to_the_table_in_its_own_spread():
    aside = torch.zeros(16, dtype=torch.float64)
    aside[0] = 0.01
    x = rows()[:1, 1:3] + aside
    spread = (TOKENS.table - TOKENS.table.mean(0)).square().sum(1).mean().sqrt()
    assert float(TOKENS.roughness(x)) == pytest.approx(0.01 / float(spread))
    noise = TOKENS.inputs(TOKENS.variables(torch.randn(3, 6, 16, dtype=torch.float64), "auto"))
    assert 0.1 < float(TOKENS.roughness(noise)) < 3


def test_roughness_and_excess_lead_to_the_table():
    x = (3 * torch.randn(2, 6, 16, dtype=torch.float64)).requires_grad_()
    optimizer, before = torch.optim.Adam([x], lr=0.05), x.detach().clone()
    for _ in range(400):
        optimizer.zero_grad()
        (TOKENS.roughness(x) + TOKENS.excess(x)).backward()
        optimizer.step()
    assert float(TOKENS.roughness(x.detach())) < 0.2 * float(TOKENS.roughness(before))
    assert float(TOKENS.excess(x.detach())) < 0.01 * float(TOKENS.excess(before))


def test_gradients_are_finite_on_the_table_itself_and_at_zero():
    x = torch.cat([rows(), torch.zeros(1, 6, 16, dtype=torch.float64)]).requires_grad_()
    (grad,) = torch.autograd.grad(TOKENS.roughness(x) + TOKENS.excess(x), x)
    assert grad.isfinite().all()


def test_within_brings_norms_to_those_of_the_table():
    norms = torch.linalg.vector_norm(TOKENS.table[1:], dim=1)
    found = torch.linalg.vector_norm(TOKENS.within(100 * rows()[:, :3]), dim=-1)
    assert float(found.max()) == pytest.approx(float(norms.max()))
    assert float(TOKENS.excess(TOKENS.within(torch.randn(2, 6, 16, dtype=torch.float64)))) < 1e-20


@pytest.mark.parametrize("shape", [(2, 6), (2, 6, 16), (0, 6), (0, 6, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_numbers_are_inputs(shape, dtype):
    medium, x = made(dtype=dtype), torch.randn(shape, dtype=dtype)
    found = medium.records(x)
    assert found.shape == (shape[0], 6)
    assert found.dtype == torch.int64
    assert not len(found) or 0 <= int(found.min()) <= int(found.max()) < 50
    assert medium.within(x).shape == x.shape
    assert medium.roughness(x).shape == medium.excess(x).shape == ()
    assert medium.lookalikes({"z": x}, 1) == []


def test_variables_lie_around_the_table():
    noise = torch.randn(400, 6, 16, dtype=torch.float64)
    z = TOKENS.inputs(TOKENS.variables(noise, "auto"))
    assert torch.allclose(z.mean((0, 1)), TOKENS.table.mean(0), atol=0.15)
    assert torch.allclose(z.std((0, 1)), TOKENS.table.std(0), rtol=0.15)
    for other in ("pixels", "pyramid", "generator"):
        with pytest.raises(Unsupported, match=other):
            TOKENS.variables(noise, other)


def test_a_medium_is_told_by_its_numbers_and_its_tokenizer_and_can_be_sent():
    TOKENS.roughness(rows())
    sent = pickle.loads(pickle.dumps(TOKENS))
    assert sent == TOKENS
    assert torch.equal(sent.records(rows()), RECORDS)
    assert hash(copy.deepcopy(TOKENS)) == hash(TOKENS)
    assert TOKENS.digest in repr(TOKENS)
    assert "{}" not in repr(TOKENS)


def test_large_sets_are_read_a_few_rows_at_a_time(monkeypatch):
    monkeypatch.setattr("memaudit.attacks.text.medium._ENTRIES", 120)
    assert torch.equal(TOKENS.records(rows()), RECORDS)


def test_sentences_have_no_versions():
    numbers = TOKENS.encode(RECORDS)
    assert TOKENS.versions(numbers, 1, torch.Generator()) is numbers
    with pytest.raises(Unsupported, match="Flips and shifts are of images"):
        TOKENS.versions(numbers, 2, torch.Generator())
