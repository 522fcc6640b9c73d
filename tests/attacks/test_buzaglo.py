import pytest
import torch

from memaudit.attacks.buzaglo import Buzaglo
from memaudit.attacks.explain.kkt import residual
from memaudit.attacks.explain.multipliers import combine
from memaudit.attacks.haim import Haim
from memaudit.attacks.simulation.activations import activations, smooth_backward

from .test_haim import alike, decayed, run


@pytest.fixture(scope="module")
def rested():
    torch.set_num_threads(1)
    return decayed(k=4, size=6)


def test_any_loss_explains_a_victim_at_rest_exactly_with_the_true_images(rested):
    """The oracle: multipliers are the derivatives of cross-entropy by the logits, over n times the weight decay."""
    victim, recipe, x, labels = rested
    with torch.no_grad():
        logits = victim.logits(victim.thetaf, x)
        pulls = torch.nn.functional.one_hot(labels, 4) - logits.softmax(1)
    multipliers = pulls / len(x) / recipe.weight_decay
    with activations(smooth_backward(50.0)):
        total = combine(victim, recipe, [(victim.thetaf, lambda z, rows: (multipliers[rows] * z).sum())], x)
    assert float(residual(total, victim.thetaf).detach()) < 0.03


@pytest.mark.parametrize(("loss", "bound"), [("margin", 0.5), ("any", 0.05)])
def test_recovers_images_of_several_classes(rested, loss, bound):
    victim, recipe, x, labels = rested
    attack = Buzaglo(iterations=250, beta=0.0, loss=loss)
    noise = attack.init(victim, recipe, 0).variables["x"]
    found, _ = run(attack, victim, recipe)
    assert found.loss < bound
    assert found.records.shape == (12, *victim.shape)
    assert alike(x, found.inputs) > 0.65 > 0.4 > alike(x, noise)
    # The class that a good dummy is given is that of the image it shows.
    a, b = (torch.nn.functional.normalize(images.flatten(1), dim=1) for images in (x, found.inputs))
    nearest = (a @ b.T).argmax(1)
    assert int((found.labels[nearest] == labels).sum()) >= 5


def test_two_classes_are_what_haim_does():
    victim, recipe, *_ = decayed()
    (one, _), (other, _) = (run(kind(iterations=20), victim, recipe) for kind in (Haim, Buzaglo))
    assert torch.equal(one.records, other.records)
    assert one.loss == other.loss


def test_any_loss_reads_the_label_off_one_logit():
    victim, recipe, x, _ = decayed()
    found, _ = run(Buzaglo(iterations=200, beta=0.0, loss="any", sharpness=50.0), victim, recipe)
    assert found.loss < 0.05
    assert alike(x, found.inputs) > 0.6
    assert set(found.labels.tolist()) == {0, 1}
    assert found.labels.shape == found.influence.shape == (8,)


def test_multipliers_have_the_shape_and_sign_that_the_loss_asks_for(rested):
    victim, recipe, *_ = rested
    margin = Buzaglo().init(victim, recipe, 0).variables["multipliers"]
    free = Buzaglo(loss="any").init(victim, recipe, 0).variables["multipliers"]
    assert margin.shape == (12,)
    assert float(margin.min()) >= 0
    assert free.shape == (12, 4)
    assert float(free.min()) < 0
    assert float(Buzaglo().pressed(torch.tensor([0.0, 1.0]))) == pytest.approx(5 * 0.01 / 2)
    assert float(Buzaglo(loss="any").pressed(free)) == 0
