"""Which tokens stood together: of a small BERT, and of signals made for it."""

import torch

from memaudit.attacks.contract.recipe import Recipe
from memaudit.attacks.text.grouping import grouped, heads, together
from memaudit.attacks.tokens import Tokens

from ...hf import encoded, victim

SAID = (
    "the old baker sold a green kettle .",
    "her violin broke near every quiet bridge !",
    "my dog often followed his young sailor ?",
)
SGD = Recipe(size=3, lr=0.02, batch_size=3, epochs=10)


def test_of_every_sentence_all_tokens_and_the_length_are_known_before_any_search():
    subject = victim(SAID, [0, 1, 2], SGD, width=64, classes=3)
    assert heads(subject) == 2
    state = Tokens().init(subject, SGD, 0)
    tokens = state.constants["tokens"]
    found = [set(tokens[row].tolist()) for row in state.constants["members"]]
    truth = [set(row) - {0} for row in encoded(SAID).tolist()]
    assert len(found) == len(truth)
    for words in truth:
        nearest = max(found, key=lambda some: len(some & words))
        assert words <= nearest
        assert len(nearest - words) <= 2
    assert ((state.constants["ids"] != 0).sum(1) > 0).all()
    ends = [int((row != 0).nonzero().max()) + 1 for row in state.constants["ids"]]
    assert ends == [len(words) for words in truth]


def ways(count, gen):
    """Directions (count, 4, 16), one in each of four heads."""
    return torch.randn(count, 4, 16, generator=gen, dtype=torch.float64)


def test_what_two_sentences_share_belongs_to_both_and_is_no_sentence_of_its_own():
    gen = torch.Generator().manual_seed(0)
    own = ways(3, gen)
    words = torch.stack([own[k // 4] + 0.4 * ways(1, gen)[0] for k in range(12)] + [own[0] + own[1]])
    lengths = (6, 9, 7)
    places = torch.stack([sum(own[k] for k in range(3) if lengths[k] > place) for place in range(9)])
    stands = [*range(1, 5)] * 3 + [-1]
    found = together(words, places, stands, torch.ones(13, dtype=torch.bool))
    assert sorted(tuple(k for k in group if k < 12) for group in found.groups) == [
        (0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)
    ]  # fmt: skip
    first = [min(group) // 4 for group in found.groups]
    assert [bool(row[12]) for row in found.members] == [sentence < 2 for sentence in first]
    assert found.lengths.tolist() == [lengths[sentence] for sentence in first]


def test_a_sentence_without_a_token_of_its_own_place_is_none_of_many_others_mixed():
    gen = torch.Generator().manual_seed(0)
    own = ways(13, gen)  # twelve of them leave a quarter of anything in 16 dimensions
    words = torch.stack([own[k // 3] + 0.3 * ways(1, gen)[0] for k in range(39)] + [own[0] + own[1]])
    stands = [place for _ in range(12) for place in (1, 2, 3)] + [-1] * 4
    found = together(words, torch.ones(6, 4, 16).double(), stands, torch.ones(40, dtype=torch.bool))
    assert len(found.groups) == 13
    assert (36, 37, 38) in found.groups


def test_two_tokens_at_one_place_are_never_of_one_sentence():
    alike = torch.ones(3, 3)
    assert sorted(grouped(alike, [1, 1, -1], [(0,), (1,), (2,)], 0.5), key=len)[0] in {(0,), (1,)}


def test_a_token_left_alone_joins_where_it_is_most_alike():
    alike = torch.tensor([[1.0, 0.8, 0.2, 0.35], [0.8, 1.0, 0.2, 0.35], [0.2, 0.2, 1.0, 0.1], [0.35, 0.35, 0.1, 1.0]])
    apart = grouped(alike, [-1] * 4, [(k,) for k in range(4)], 0.45)
    assert sorted(apart) == [(0, 1), (2,), (3,)]
    assert sorted(grouped(alike, [-1] * 4, apart, 0.3, alone=True)) == [(0, 1, 3), (2,)]
