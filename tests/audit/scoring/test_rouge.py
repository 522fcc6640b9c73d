import random

import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize

from memaudit.audit.scoring.rouge import rouge_l, rouge_l_row, words

from ...texts import COLA, needs_data

LIBRARY = RougeScorer(["rougeL"])


def library(one, two):
    return LIBRARY.score(one, two)["rougeL"].fmeasure


def test_random_sentences_score_as_in_the_library():
    rng = random.Random(0)
    for _ in range(500):
        one, two = (" ".join(rng.choices("abcdef", k=rng.choice([1, 2, 5, 9, 70, 140]))) for _ in range(2))
        assert rouge_l(words(one), words(two)) == pytest.approx(library(one, two), abs=1e-12)


@needs_data
def test_real_sentences_are_split_and_scored_as_in_the_library():
    lines = [line.split("\t")[1].strip() for line in COLA.read_text().splitlines()]
    lines = [line for line in lines if line.isascii()]
    assert len(lines) > 900
    assert [list(words(line)) for line in lines] == [tokenize(line, None) for line in lines]
    rng = random.Random(1)
    for one, two in (rng.sample(lines, 2) for _ in range(500)):
        assert rouge_l(words(one), words(two)) == pytest.approx(library(one, two), abs=1e-12)


def test_a_row_is_each_pair():
    others = [words(text) for text in ("the cat ran", "", "ran cat the", "the old cat ran home")]
    row = rouge_l_row(words("The cat ran!"), others)
    assert row.tolist() == pytest.approx([1, 0, 1 / 3, 0.75])
    assert rouge_l((), ()) == 0


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It's 3 o'clock, MARY_ann.", "it s 3 o clock mary ann"),
        ("Café Übung", "café übung"),
        ("Cafe\u0301", "café"),
        ("Она пошла домой!", "она пошла домой"),
        ("猫が走った。", "猫 が 走 っ た"),
        ("बिल्ली दौड़ी।", "बिल्ली दौड़ी"),
        ("고양이가 달렸다", "고양이가 달렸다"),
        ("แมววิ่ง", "แ ม ว ว ิ ่ ง"),
        ("?! ...", "?! ..."),
        ("…!", "…!"),
        ("  ", ""),
    ],
)
def test_words_of_any_script(text, wanted):
    assert " ".join(words(text)) == wanted.replace("Cafe\u0301", "café")


def test_sentences_of_other_scripts_are_not_all_alike():
    assert rouge_l(words("猫が走った"), words("猫は寝た")) == pytest.approx(2 * 2 / 9)
    assert rouge_l(words("Она пошла домой"), words("Он пришёл сюда")) == 0
