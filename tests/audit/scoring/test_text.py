import importlib.util
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer

from memaudit.attacks.contract.attack import Reconstruction
from memaudit.audit.data.base import TrainingSet
from memaudit.audit.data.opening import open_source
from memaudit.audit.data.text import tokenised, tokenizer_of
from memaudit.audit.plugins import load
from memaudit.audit.report.exhibit import Text
from memaudit.audit.report.kind import TEXT
from memaudit.audit.scoring.consensus import consensus
from memaudit.audit.scoring.decoys import decoys
from memaudit.audit.scoring.kind import GROUP, Kind, KindError, Transforming, known_kinds, open_kind
from memaudit.audit.scoring.match import check_held_out, match
from memaudit.audit.scoring.text import Sentence

from ...texts import COLA, WORDS, byte_level, medium, minilm, needs_data

MEDIUM = medium(length=16)
KIND = Sentence(MEDIUM)
PLAIN = [word for word in WORDS if word.isalpha() and word != "snor"]


def records(*texts, tokens=MEDIUM):
    return tokenised(texts, tokens, tokenizer_of(tokens))[0]


def random_records(count, seed, length=8):
    rng = random.Random(seed)
    return records(*(" ".join(rng.choices(PLAIN, k=length)) for _ in range(count)))


def said(found, kind=KIND):
    return [kind.show(record, Path(), "").text for record in found]


def claim(found, loss=0.01):
    return Reconstruction(found, MEDIUM.encode(found), torch.zeros(len(found)).long(), torch.ones(len(found)), loss)


def training_set(found):
    return TrainingSet(found, torch.zeros(len(found)).long(), tuple(map(str, range(len(found)))), (), "d" * 64, False)


def test_it_is_registered_and_makes_the_promise_of_a_kind():
    kind: Kind = open_kind("text", MEDIUM)
    assert load(GROUP, "text") is Sentence
    assert kind == KIND
    assert kind.about in known_kinds()
    assert not isinstance(kind, Transforming)
    assert set(TEXT.metrics()) == {
        "rouge_l_mean", "rouge_l_max", "rouge_1_mean", "rouge_2_mean", "tokens_mean", "exact_mean"
    }  # fmt: skip


def test_similarity_is_rouge_l_of_the_words():
    one = records("The old boy saw my snorkels.", "A cat ran.", "xyzzy")
    two = records("the boy, my snorkels!", "a cat ran")
    heard = []
    found = KIND.matrix(one, two, heard.append)
    scorer = RougeScorer(["rougeL"])
    wanted = [[scorer.score(a, b)["rougeL"].fmeasure for b in said(two)] for a in said(one)]
    assert found.dtype == torch.float64
    assert torch.allclose(found, torch.tensor(wanted, dtype=torch.float64), atol=1e-12)
    assert float(found[1, 1]) == 1
    assert sum(heard) == 6
    assert torch.equal(KIND.pairs(one[:2], two), found[:2].diagonal())
    assert KIND.matrix(one[:0], two).shape == (0, 2)
    assert KIND.pairs(one[:0], two[:0]).shape == (0,)
    with pytest.raises(ValueError, match="tokens"):
        KIND.matrix(one, two[:, :9])


def test_details_are_those_of_the_library_and_of_tokens():
    truth, guess = records("The old boy saw my snorkels."), records("my old snorkels saw the boy the")
    found = KIND.details(truth, guess, MEDIUM.encode(guess))
    scores = RougeScorer(["rouge1", "rouge2"]).score(*said(truth), *said(guess))
    assert found["rouge_1"] == pytest.approx(scores["rouge1"].fmeasure)
    assert found["rouge_2"] == pytest.approx(scores["rouge2"].fmeasure)
    assert found["tokens"] == pytest.approx(8 / 9)  # all but the full stop
    assert found["exact"] == 0
    assert KIND.details(truth, truth, truth) == {"rouge_1": 1.0, "rouge_2": 1.0, "tokens": 1.0, "exact": 1.0}
    nothing = torch.zeros_like(truth)
    assert set(KIND.details(nothing, nothing, nothing).values()) == {0.0}
    assert set(found) == {detail.name for detail in TEXT.details}


def test_mismatches_have_every_word_from_elsewhere_or_backwards():
    found = records("the boy saw a cat", "who wrote my old snorkels", "girl slept")
    backwards, *mixed = KIND.mismatches(found)
    assert said(backwards) == ["cat a saw boy the", "snorkels old my wrote who", "slept girl"]
    for version in mixed:
        assert version.shape == found.shape
        for own, made in zip(said(found), said(version), strict=True):
            assert not set(own.split()) & set(made.split())
            assert len(own.split()) == len(made.split())
    assert [len(version) for version in KIND.mismatches(found[:0])] == [0] * 3
    assert [said(version) for version in KIND.mismatches(found[:1])] == [["cat a saw boy the"]] * 3
    assert [version.shape for version in KIND.mismatches(torch.zeros(2, 16))] == [(2, 16)] * 3


def test_decoys_are_as_long_as_the_training_sentences():
    truth = records("the boy saw a cat", "the girl saw a dog", "the cat")
    rng = torch.Generator().manual_seed(0)
    made = KIND.decoys(truth, 5, rng)
    assert said(made["the most frequent training words"]) == ["the saw cat a"]
    drawn = said(made["random training words"])
    assert len(drawn) == 5
    assert {len(sentence.split()) for sentence in drawn} <= {5, 2}
    assert {word for sentence in drawn for word in sentence.split()} <= {"the", "boy", "saw", "a", "cat", "girl", "dog"}
    assert [decoy.similarity_max > 0 for decoy in decoys(KIND, truth, 5, rng)] == [True, True]
    assert said(KIND.decoys(torch.zeros(1, 16), 2, rng)["random training words"]) == ["", ""]


def test_what_is_recovered_and_what_is_chance():
    truth, control = training_set(random_records(8, 0)), training_set(random_records(120, 1))
    order = torch.tensor([3, 1, 5, 0, 2, 4, 7, 6])
    found = match(claim(truth.records[order]), truth, KIND, control)
    assert all(pair.recovered and pair.similarity == 1 for pair in found.matches)
    assert [int(order[pair.dummy]) for pair in found.matches] == list(range(8))
    strangers = match(claim(random_records(8, 2)), truth, KIND, control)
    assert not any(pair.recovered for pair in strangers.matches)
    alone = match(claim(truth.records), truth, KIND)
    assert len(alone.null.values) == 8 * 4
    assert float(alone.null.values.max()) < 1
    check_held_out(KIND, control, truth)


def test_seeds_are_aligned_and_merged_by_majority():
    truth = random_records(5, 3)
    runs = []
    for seed in range(3):
        some = truth.clone()
        some[torch.arange(5), 1 + seed] = 9  # each seed has one word wrong, each at another place
        order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
        runs.append(claim(some[order], 0.01 * (seed + 1)))
    found = consensus(KIND, runs)
    assert {tuple(row) for row in found.reconstruction.records.tolist()} == {tuple(row) for row in truth.tolist()}
    assert found.reconstruction.inputs.dtype == torch.float32
    assert float(found.confidence.min()) > 0.6
    assert KIND.merged(torch.tensor([[2, 7, 3], [2, 5, 3]])).tolist() == [2, 7, 3]
    assert torch.equal(KIND.merged(torch.stack([torch.zeros(4, 8), torch.ones(4, 8)])), torch.full((4, 8), 0.5))


def test_alignment_minds_places():
    one = records("the boy saw a cat")
    two = records("the boy saw a cat", "cat a saw boy the", "the boy", "who wrote my letter")
    same, backwards, part, other = KIND.alignment(one, two)[0].tolist()
    assert same == 1 > backwards > 0.5 > other == 0
    assert backwards < 0.7
    assert part > 0.5
    assert KIND.alignment(one[:0], two).shape == (0, 4)


def test_near_copies_differ_in_case_and_marks_only():
    truth = records("the boy ran.", "a cat slept")
    assert KIND.near_copies(records("The boy ran!", "a cat, slept?", "the boy", "cat a slept"), truth) == 2


def test_a_sentence_is_shown_unless_it_may_not_be_kept(tmp_path):
    (record,) = records("The boy, my girl.")
    assert KIND.show(record, tmp_path, "a") == Text(text="the boy, my girl.")
    assert KIND.show(record, tmp_path, "a", keep=False) == Text(text="")
    assert list(tmp_path.iterdir()) == []


def test_what_turns_the_direction_of_writing_is_shown_as_an_escape():
    tokens = medium(byte_level(), 30)
    (record,) = records("a \u202e b\nc", tokens=tokens)
    assert Sentence(tokens).show(record, Path(), "").text == r"a \u202e b\nc"


@pytest.mark.parametrize("shape", [(3, 16), (0, 16)])
def test_any_numbers_are_records(shape):
    found = torch.randint(0, len(MEDIUM.table), shape)
    assert KIND.matrix(found, found).shape == (len(found), len(found))
    assert [version.shape for version in KIND.mismatches(found)] == [found.shape] * 3
    assert KIND.near_copies(found, found) == len(found)


def test_without_a_tokenizer_numbers_are_compared():
    kind = Sentence(replace(MEDIUM, tokenizer=""))
    one = records("the boy ran", "a cat slept")
    assert kind.matrix(one, one).tolist() == [[1, 0], [0, 1]]
    assert kind.show(one[0], Path(), "").text == "5 6 10"


def test_a_missing_library_is_named_at_once(monkeypatch):
    monkeypatch.setattr("memaudit.audit.scoring.text.find_spec", lambda name: None)
    with pytest.raises(KindError, match=r"pip install '\.\[text\]'"):
        Sentence(MEDIUM)
    assert importlib.util.find_spec("rouge_score")


@needs_data
def test_unrelated_real_sentences_stay_below_the_threshold():
    tokens = minilm()
    kind, data = Sentence(tokens), open_source(f"text:{COLA}", medium=tokens)
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    scores = kind.matrix(data.records[order[:300]], data.records[order[300:600]])
    assert 0.03 < float(scores.mean()) < 0.08
    assert 0.25 < float(scores.flatten().quantile(0.99)) < 0.35
    nearest = scores[:, :15].max(1).values
    assert float((nearest >= TEXT.threshold).double().mean()) < 0.02
    backwards = kind.mismatches(data.records[order[:15]])[0]
    assert float(kind.pairs(data.records[order[:15]], backwards).mean()) < 0.3
