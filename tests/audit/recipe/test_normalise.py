"""The normalisation that an image processor's settings say, held against the library's own, and hostile settings."""

import dataclasses
import json

import pytest
import torch

from memaudit.audit.families.base import Architecture
from memaudit.audit.families.beside import Beside, read_beside
from memaudit.audit.recipe.fields import RecipeError
from memaudit.audit.recipe.normalise import normalisation

NETWORK = Architecture("hf", "vit", {}, 3, (3, 32, 32))
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

PROCESSORS = [
    ("ViTImageProcessor", {}),
    ("ViTImageProcessor", IMAGENET),
    ("ViTImageProcessor", {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.5, 0.4], "rescale_factor": 1 / 127.5}),
    ("ViTImageProcessor", {"do_normalize": False}),
    ("ConvNextImageProcessor", IMAGENET),
    ("EfficientNetImageProcessor", IMAGENET),
    ("EfficientNetImageProcessor", {**IMAGENET, "rescale_factor": 1 / 127.5, "rescale_offset": True}),
    ("EfficientNetImageProcessor", {**IMAGENET, "include_top": False}),
    ("EfficientNetImageProcessor", {**IMAGENET, "do_normalize": False}),
]


def beside(settings: object) -> Beside:
    return Beside("{}", preprocessor=settings if isinstance(settings, str) else json.dumps(settings))


@pytest.mark.parametrize(("kind", "settings"), PROCESSORS)
def test_settings_say_what_the_processor_of_the_library_does(kind, settings, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    processor = getattr(transformers, kind)(do_resize=False, **settings)
    processor.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    scale, facts = normalisation(None, NETWORK, read_beside(str(tmp_path)))
    image = torch.randint(256, (3, 32, 32), dtype=torch.uint8)
    expected = processor(image, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(scale.from_pixels(image[None] / 255), expected, rtol=1e-4, atol=1e-4)
    fact = facts["normalise"]
    assert (fact.source, fact.option) == ("given", "--normalise")
    assert fact.evidence == "preprocessor_config.json beside the weights"
    again, _ = normalisation(fact.value, NETWORK)
    torch.testing.assert_close(again.from_pixels(image[None] / 255), expected, rtol=1e-4, atol=1e-4)


def test_known_normalisations_are_named():
    for name, settings in (("imagenet", IMAGENET), ("half", {"image_mean": [0.5] * 3, "image_std": 0.5})):
        settings |= {"do_normalize": True, "rescale_factor": 0.00392156862745098}
        assert normalisation(None, NETWORK, beside(settings))[1]["normalise"].value == name
    assert normalisation(None, NETWORK, beside({"do_normalize": False}))[1]["normalise"].value == "none"


def test_what_the_user_says_comes_first():
    scale, facts = normalisation("half", NETWORK, beside("no JSON"))
    assert (scale.mean, facts["normalise"].evidence) == ((0.5,), "")


@pytest.mark.parametrize(
    "settings",
    [
        "",
        "{}",
        {"image_mean": [0.5] * 3, "image_std": [0.5] * 3},
        {**IMAGENET, "do_normalize": True, "do_rescale": False},
    ],
)
def test_settings_that_leave_it_open_leave_it_assumed(settings):
    assert normalisation(None, NETWORK, beside(settings))[1]["normalise"].source == "assumed"


@pytest.mark.parametrize(
    "change",
    [
        {"image_mean": None}, {"image_mean": []}, {"image_mean": "0.5"}, {"image_mean": [0.5, 0.5]},
        {"image_mean": [[0.5]]}, {"image_mean": [True] * 3}, {"image_mean": [0.5] * 10**5}, {"image_mean": [1e9] * 3},
        {"image_mean": float("nan")}, {"image_mean": 10**400}, {"image_std": [0, 1, 1]}, {"image_std": -1},
        {"image_std": 1e-30}, {"image_std": {"a": 1}}, {"image_std": float("inf")},
        {"image_std": 1e200, "include_top": True}, {"rescale_factor": 0}, {"rescale_factor": -1},
        {"rescale_factor": "x"}, {"rescale_factor": []},
        {"rescale_factor": 1e300}, {"rescale_factor": 1e-300}, {"rescale_factor": None}, {"do_normalize": "yes"},
        {"rescale_offset": 7}, {"include_top": []},
    ],
)  # fmt: skip
def test_settings_that_no_processor_has_are_refused_in_a_sentence(change):
    with pytest.raises(RecipeError) as caught:
        normalisation(None, NETWORK, beside({**IMAGENET, "do_normalize": True, **change}))
    said = str(caught.value)
    assert said.startswith("preprocessor_config.json beside the weights")
    assert "--normalise" in caught.value.hint
    assert len(said) < 200
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("text", ["[]", "3", '"a"', "{", "[" * 10**5, "null", '{"do_normalize": ' + "9" * 5000 + "}"])
def test_a_file_that_is_no_object_is_refused_in_a_sentence(text):
    with pytest.raises(RecipeError, match="is no JSON object"):
        normalisation(None, NETWORK, beside(text))


def test_one_channel_takes_one_number_and_sentences_none():
    grey = dataclasses.replace(NETWORK, shape=(1, 32, 32))
    scale, _ = normalisation(None, grey, beside({"do_normalize": True, "image_mean": [0.2], "image_std": 0.3}))
    assert (scale.mean, scale.std) == ((0.2,), (0.3,))
    with pytest.raises(RecipeError, match="of one number"):
        normalisation(None, grey, beside({"do_normalize": True, **IMAGENET}))
    words = dataclasses.replace(NETWORK, shape=(16, 32), medium="text")
    assert normalisation(None, words, beside("no JSON"))[1] == {}
