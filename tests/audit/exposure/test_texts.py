"""The score of texts: by hand, and the same however texts are padded, batched and sent elsewhere."""

import copy
import math

import pytest
import torch

from memaudit.audit.exposure import texts
from memaudit.audit.exposure.statistics import conformal
from memaudit.audit.exposure.texts import Texts, imbalance
from memaudit.audit.families.causal import NOTHING
from memaudit.audit.request import ScanRequest
from memaudit.audit.scan.causal import load_language

from ... import lm

YES, NO = True, False


def test_the_score_is_what_gains_exceed_losses_by_where_the_guess_is_wrong():
    gained = torch.tensor([[2.0, -0.5, 9.0, 0.5]])
    assert imbalance(gained, torch.tensor([[YES, YES, NO, YES]]), torch.ones(1, 4, dtype=torch.bool)).item() == 2 / 4
    there = torch.tensor([[YES, YES, YES, NO]])
    assert imbalance(gained, torch.tensor([[YES, YES, NO, YES]]), there).item() == pytest.approx(1.5 / 3.5)


def test_a_text_that_is_known_by_heart_is_judged_by_all_its_tokens():
    known, new = torch.tensor([[3.0, 4.0, 2.0]]), torch.tensor([[0.1, -0.1, 0.1]])
    right, there = torch.zeros(1, 3, dtype=torch.bool), torch.ones(1, 3, dtype=torch.bool)
    assert imbalance(known, right, there).item() == pytest.approx(9 / 10)
    assert imbalance(new, right, there).item() < 0.1


def test_the_order_is_that_of_the_paper_but_for_small_sums():
    gained = torch.randn(200, 30, generator=torch.Generator().manual_seed(0)).double() * 1e6
    every = torch.ones(200, 30, dtype=torch.bool)
    papers = gained.clamp(min=0).sum(1) / gained.clamp(max=0).abs().sum(1)
    assert torch.equal(imbalance(gained, every, every).argsort(), papers.argsort())


def test_a_text_without_a_token_to_tell_has_no_score():
    nothing = torch.zeros(1, 0)
    assert imbalance(nothing, nothing.bool(), nothing.bool()).item() == 0


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    pair = lm.folder(tmp_path_factory.mktemp("lm"), 20, 60, 4)
    return load_language(ScanRequest(pair.before, pair.after, data=f"text:{pair.data}", control=f"text:{pair.control}"))


def question(scene):
    return Texts(scene.ground, scene.data.records, scene.control.records, NOTHING)


def read(asked, rows=None):
    return asked.measured(torch.arange(len(asked.data)) if rows is None else rows, lambda _: None)


def test_losses_are_those_of_the_library_text_by_text(scene):
    from transformers import GPT2LMHeadModel

    found = read(question(scene))
    before, after = (GPT2LMHeadModel.from_pretrained(side.path) for side in (scene.pair.before, scene.pair.after))
    for row, text in enumerate(scene.data.records):
        ids = text[text != NOTHING][None]
        with torch.no_grad():
            first, last = (made(input_ids=ids, labels=ids).loss.item() for made in (before, after))
        assert -found.others["loss after training"][row].item() == pytest.approx(last, rel=1e-4)
        assert found.others["fall of the loss"][row].item() == pytest.approx(first - last, rel=1e-3, abs=1e-5)


def test_batches_change_no_score(scene, monkeypatch):
    whole = read(question(scene))
    monkeypatch.setattr(texts, "ENTRIES", 1)
    torch.testing.assert_close(read(question(scene)).scores, whole.scores, rtol=1e-4, atol=1e-5)


def test_it_travels_and_says_the_same_elsewhere(scene):
    asked = question(scene)
    torch.testing.assert_close(read(copy.deepcopy(asked)).scores, read(asked).scores, rtol=0, atol=0)


def test_of_the_change_and_of_leverage_nothing_is_said(scene):
    found = read(question(scene), torch.arange(7))
    assert math.isnan(found.explained)
    assert found.leverage.isnan().all()
    assert (len(found.rows), len(found.scores), len(found.copies)) == (7, 67, 60)


def test_one_word_texts_are_measured_without_a_number_that_is_none(scene):
    few = torch.full((2, scene.data.records.shape[1]), NOTHING)
    few[0, 0] = 5
    found = read(Texts(scene.ground, few, scene.control.records, NOTHING))
    assert found.scores[:2].tolist() == [0, 0]
    assert found.others["loss after training"][:2].exp().tolist() == pytest.approx([1 / scene.architecture.classes] * 2)
    assert found.others["fall of the loss"].isfinite().all()


def test_p_values_of_strangers_are_uniform(scene):
    found = read(Texts(scene.ground, scene.control.records[:30], scene.control.records[30:], NOTHING))
    p = conformal(found.scores[:30].numpy(), found.scores[30:].numpy())
    assert 0.25 < p.mean() < 0.75
