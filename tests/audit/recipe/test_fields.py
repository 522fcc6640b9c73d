"""The table of recipe fields, and that whatever reads a recipe goes by it."""

import dataclasses
import json
import math
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from memaudit.attacks.contract.recipe import Recipe
from memaudit.audit.cli.options import TRAINING
from memaudit.audit.recipe.artefacts import read_artefacts
from memaudit.audit.recipe.fields import FIELDS, SAID, Range, RecipeError
from memaudit.audit.recipe.file import FILED, RecipeFileError, load
from memaudit.audit.recipe.given import Given
from memaudit.audit.request import ScanRequest, check

NUMBERS = [name for name, field in FIELDS.items() if field.kind in (int, float)]


def bare(hint: Any) -> set[Any]:
    return set(typing.get_args(hint)) - {type(None)} if type(None) in typing.get_args(hint) else {hint}


def test_every_field_that_attacks_simulate_is_in_the_table_and_the_reverse():
    simulated = {field.name for field in dataclasses.fields(Recipe)}
    assert {name for name, field in FIELDS.items() if field.simulated} == simulated
    assert FIELDS.keys() - simulated == {"image_size", "normalise"}, "of the images, and in no recipe file"
    assert set(FILED) == simulated


def test_the_table_has_the_types_of_the_recipe():
    hints = typing.get_type_hints(Recipe)
    for name in hints.keys() - {"labels"}:
        assert FIELDS[name].kind == hints[name], name
    assert bare(hints["labels"]) == {tuple[int, ...]}


def test_what_a_user_may_say_is_what_the_table_has_help_for():
    hints = typing.get_type_hints(Given)
    assert hints.keys() - {"recipe"} == set(SAID)
    for name in set(SAID) - {"labels"}:
        assert bare(hints[name]) == {FIELDS[name].kind, *(typing.Literal[word] for word in FIELDS[name].besides)}, name
    assert {option.name for option in TRAINING} | {"image_size"} == hints.keys()


def test_what_is_usual_is_sound_and_what_attacks_take_by_default():
    defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
    for name, field in FIELDS.items():
        if field.usual is not None:
            assert field.complaint(field.usual) is None, name
            assert defaults[name] in (field.usual, dataclasses.MISSING), name


def test_words_in_training_files_mean_words_of_the_field():
    for name, field in FIELDS.items():
        assert set(field.spellings.values()) <= set(field.words), name
        assert all(field.aliases or not field.unless for field in FIELDS.values())


def numbers(name: str) -> Iterator[Any]:
    """Yield numbers at the ends of a range and just beside them, and some that no range holds."""
    found = FIELDS[name].range
    for end in {found.low, found.high}:
        if FIELDS[name].kind is int:
            yield from (end - 1, end, end + 1)
        else:
            yield from (math.nextafter(end, -math.inf), float(end), math.nextafter(end, math.inf))
    yield from (1, -1, 10**400) if FIELDS[name].kind is int else (0.3, 1e300, -1e-9, math.nan, math.inf, -math.inf)


def sound(name: str, value: Any) -> bool:
    """Say by the interval's own notation whether it holds a value: what all readers are held against."""
    low, high = FIELDS[name].range.low, FIELDS[name].range.high
    over, under = FIELDS[name].range.over, FIELDS[name].range.under
    return (low < value if over else low <= value) and (value < high if under else value <= high)


def said(name: str, value: Any) -> bool:
    try:
        check(ScanRequest("a", "b", **{name: value}))
    except RecipeError as error:
        return not (FIELDS[name].option in error.message and str(FIELDS[name].range) in error.hint)
    return True


def filed(name: str, value: Any, folder) -> bool:
    path = folder / "recipe.toml"
    path.write_text(f"[recipe]\n{name} = {json.dumps(value)}\n".replace("NaN", "nan").replace("Infinity", "inf"))
    try:
        return load(path) == {name: value}
    except RecipeFileError as error:
        return name not in error.message


def told(name: str, value: Any, folder) -> bool:
    beside = {"momentum": 0.9} if name == "dampening" else {}
    (folder / "args.json").write_text(json.dumps({**beside, FIELDS[name].aliases[0]: value}))
    return name in read_artefacts(folder / "no.pt", folder / "after.safetensors")


@pytest.mark.parametrize("name", NUMBERS)
def test_options_recipe_files_and_training_files_take_the_same_numbers(name, tmp_path):
    before = 0
    for value in numbers(name):
        wanted = sound(name, value)
        before += wanted
        assert (value in FIELDS[name].range) == wanted, value
        if name in SAID:
            assert said(name, value) == wanted, value
        if name in FILED:
            assert filed(name, value, tmp_path) == wanted, value
        if FIELDS[name].aliases:
            assert told(name, value, tmp_path) == wanted, value
    assert before >= 2


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.words])
def test_options_and_recipe_files_take_the_same_words(name, tmp_path):
    for word in FIELDS[name].words:
        check(ScanRequest("a", "b", **{name: word}))
        assert filed(name, word, tmp_path)
    for word in ("", "lamb", FIELDS[name].words[0].upper()):
        with pytest.raises(RecipeError, match=FIELDS[name].words[0]):
            check(ScanRequest("a", "b", **{name: word}))
        assert not filed(name, word, tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", "0.1"), ("lr", True), ("epochs", 2.5), ("epochs", True), ("nesterov", 1), ("size", "many"), ("clip", [1])],
)
def test_values_of_another_type_are_refused_in_a_sentence(name, value):
    with pytest.raises(RecipeError, match=f"{FIELDS[name].option} .* is of the wrong type. Give "):
        check(ScanRequest("a", "b", **{name: value}))


def test_ranges_in_words():
    assert str(Range(0, 1, under=True)) == "a number of at least 0 and less than 1"
    assert str(Range(0, 10**6, over=True)) == "a number of more than 0 and at most 1,000,000"
    assert str(Range(1)) == "a number of at least 1"
    assert 10**400 in Range(1)
    for value in (math.inf, math.nan, True, "3", None):
        assert value not in Range(0)
