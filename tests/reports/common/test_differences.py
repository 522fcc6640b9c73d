import random

import pytest

from memaudit.reports.common.differences import Part, differences


def marked(parts):
    signs = {"same": "{}", "moved": "({})", "other": "[{}]"}
    return "".join(signs[part.state].format(part.text) for part in parts)


@pytest.mark.parametrize(
    ("one", "two", "wanted"),
    [
        ("a b c", "a b c", ("a b c", "a b c")),
        ("a b c d", "a x c d", ("a [b] c d", "a [x] c d")),
        ("who will do it first", "who will first do it", ("who will do it (first)", "who will (first) do it")),
        ("The boy, ran.", "the boy ran!", ("The boy, ran.", "the boy ran!")),
        ("a b", "", ("[a b]", "")),
        ("", "", ("", "")),
        ("  a\n b ", "b", ("  [a]\n b ", "b")),
        ("a ? !", "a ! ?", ("a (?) !", "a ! (?)")),
    ],
)
def test_words_are_told_apart(one, two, wanted):
    assert tuple(map(marked, differences(one, two))) == wanted


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_the_texts_and_moved_words_are_in_both(seed):
    rng = random.Random(seed)
    texts = [" ".join(rng.choices("abcde", k=rng.randrange(9))) + rng.choice(["", " ", "."]) for _ in range(2)]
    found = differences(*texts)
    assert ["".join(part.text for part in parts) for parts in found] == texts
    moved = [sorted(w.strip(".") for p in parts if p.state == "moved" for w in p.text.split()) for parts in found]
    assert moved[0] == moved[1]
    same = [[w.strip(".") for p in parts if p.state == "same" for w in p.text.split()] for parts in found]
    assert same[0] == same[1]


def test_a_part_is_a_run_of_words():
    assert differences("a b c", "c")[0] == (Part("a b", "other"), Part(" ", "same"), Part("c", "same"))
