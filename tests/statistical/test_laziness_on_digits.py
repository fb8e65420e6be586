"""Modality laziness on real digits: an easy feature planted in the left halves keeps joint training from learning the right ones.

Scikit-learn's digits cut in two, the label itself written ten times as loud beside nineteen left halves in twenty. Plain descent; paired
initialisations and orders; intervals at error probability 1e-6 a test. Distillation takes the lost features back, and costs accuracy of
the whole here: its student is held to the features of teachers while the planted one would have told the answer.
"""

from functools import cache

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import one_hot

from mmtheory.batch import Batch
from mmtheory.diagnose import guiding_rule, ridge_scores, unimodal_probes
from mmtheory.methods import UME, UMT, Joint
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.stats import student
from mmtheory.training import Settings, Trainer

ALPHA, SEEDS, SEEN, SHARE, LOUD = 1e-6, range(12), 1200, 0.95, 10.0


@cache
def parts():
    raw = load_digits()
    order = torch.from_numpy(Stream(3).numpy().permutation(len(raw.target)))
    images, y = torch.tensor(raw.images / 16, dtype=torch.float32)[order], torch.tensor(raw.target)[order]
    told = (Stream(4).draws().uniform("told", len(y)) < SHARE).float().unsqueeze(-1) * LOUD * one_hot(y, 10)
    x = {"left": torch.cat([images[..., :4].flatten(1), told], -1), "right": images[..., 4:].flatten(1)}
    whole = Batch({m: v.expand(len(SEEDS), *v.shape) for m, v in x.items()}, y.expand(len(SEEDS), -1))
    return whole.rows(slice(0, SEEN)), whole.rows(slice(SEEN, None))


def build(draws):
    encoders = {m: MLPEncoder((d, 64, 32), draws=draws, name=m) for m, d in (("left", 42), ("right", 32))}
    head = FUSIONS["concat"](dict.fromkeys(encoders, 32), 10, draws=draws)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


@cache
def trained(method):
    made = {"joint": Joint, "ume": UME, "umt": UMT}[method]()
    config = Settings(epochs=60, batch_size=64, lr=0.05)
    return Trainer(build, made, parts()[0], settings=config, stream=Stream(0), replicates=SEEDS).run()


@cache
def probe(method):
    """What a linear readout finds in the encoder of the right halves, a number a seed."""
    return unimodal_probes(trained(method).model, *parts())["right"].mean(-1)


@cache
def accuracy(method):
    test = parts()[1]
    return (trained(method).predict(test).argmax(-1) == test.y).double().mean(-1)


def ahead(measure, first, second):
    return student(measure(first) - measure(second), alpha=ALPHA)


def test_joint_training_leaves_the_weak_encoder_behind_and_distillation_takes_it_back():
    assert ahead(probe, "ume", "joint").low > 0.03
    regained = probe("umt") - probe("joint") - 0.5 * (probe("ume") - probe("joint"))
    assert student(regained, alpha=ALPHA).low > 0


def test_the_ensemble_is_no_worse_where_single_modalities_know_the_label():
    assert ahead(accuracy, "ume", "joint").low > 0


def test_the_guiding_rule_sees_a_label_that_compares_the_halves():
    """Frozen encoders trained for digits; the new label is whether there is more ink on the left than on the right."""
    trainer, (train, test) = trained("ume"), parts()
    with torch.no_grad():
        seen, held = (trainer.model.encode(part.x) for part in (train, test))
        said = trainer.method.unimodal_logits(trainer.model, trainer.auxiliary, test)
    y, y_held = ((part.x["left"][..., :32].sum(-1) > part.x["right"].sum(-1)).long() for part in (train, test))
    alone = {m: ridge_scores(seen[m], y, held[m], 2) for m in seen}
    paired = guiding_rule(seen, y, held, y_held, alone)
    assert paired.choice == "umt"
    assert guiding_rule(seen, train.y, held, test.y, said).choice == "ume"
