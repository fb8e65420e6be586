"""I2M2: the fused classifier as one expert among unimodal ones, multiplied as probabilities, with the class prior counted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_logits, head_of, unimodal_heads
from ._late import own_loss
from ._method import Card, Method, Step, Strength, View, per_replicate, required
from ._strengths import off, ranged


@final
class I2M2(Method):
    r"""Inter- and intra-modality modelling, with any fusion as the joint expert.

    .. math:: o = \log q_\cap(\cdot \mid z) + w \sum_m \big(\log q_m(\cdot \mid z^m) - c \log \hat p(\cdot)\big), \qquad
        L = \mathrm{CE}(o, y)

    With w = c = 1 all M + 1 experts count the prior once. Experts of modalities that are absent from a sample are left out, with the prior
    that they bring. From scratch every expert gets the same gradient p − e_y on its logits: none is a posterior by itself, and the
    correction is a constant that biases may undo; after pre-training it says what it means.

    :param weight: w; 0 is joint training bit for bit.
    :param pretrain: epochs in which each expert has a cross-entropy of its own, before the product is fine-tuned; 0 is from scratch.
    :param prior: whether the prior is taken out (c = 1, else 0). It is the share of each class among the training labels, one added to
        each count.
    :raises ArgumentError: a weight below 0, or fewer than 0 epochs of pre-training.

    Source: Madaan, Makino, Chopra, Cho 2024 (NeurIPS); the correction derived here.
    """

    card: ClassVar[Card] = Card(
        name="i2m2",
        source="Madaan, Makino, Chopra, Cho 2024 (NeurIPS)",
        summary="Multiplies the fused classifier with one linear expert a modality and trains the product.",
        fidelity="paper",
        cost="1F + 1B and M linear heads",
        neutral="weight = 0",
        differences=(
            "the joint expert and the unimodal ones share the encoders; the released code gives each expert encoders of its own",
            "the prior is taken out M times (prior = False leaves it in, as the released code does)",
            "pre-training is the first epochs of the one run, all experts side by side, without selection of checkpoints; the released code "
            "loads the best checkpoint of each (AV-MNIST), or trains from scratch (MIMIC-III)",
            "unimodal experts are linear on the encoders' features; the released ones have a hidden layer",
            "the same product is trained and tested; the released intra-only baseline tests the mean of the probabilities",
            "weight is ours, for dose-response",
        ),
    )

    def __init__(self, weight: Strength = 1.0, *, pretrain: int = 0, prior: bool = True) -> None:
        if pretrain < 0:
            raise ArgumentError(f"i2m2: expected pretrain >= 0, found {pretrain}")
        self.weight, self.pretrain, self.prior = ranged("i2m2: weight", weight), pretrain, prior

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.log_prior = next(model.parameters()).detach().new_zeros(*model.batch_shape, model.fusion.classes)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def on_epoch(self, view: View) -> None:
        if self.prior and not off(self.weight):
            counts = 1 + one_hot(view.train.y, self.log_prior.shape[-1]).sum(-2).to(self.log_prior)
            self.log_prior = (counts / counts.sum(-1, keepdim=True)).log().expand_as(self.log_prior).clone()

    def output(self, step: Step) -> Tensor:
        joint = super().output(step)
        if off(self.weight) or step.epoch < self.pretrain:
            return joint
        return self.product(joint, head_logits(step), step.batch.present)

    def losses(self, step: Step) -> dict[str, Tensor]:
        losses = super().losses(step)
        if off(self.weight) or step.epoch >= self.pretrain:
            return losses
        own = torch.stack([own_loss(step, m, f) for m, f in head_logits(step).items()]).sum(0)
        return {"total": step.cross_entropy(required(step.logits)) + own}

    def product(self, joint: Tensor, own: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Unnormalised log-probabilities of the product, from each expert's logits.

        Shape: logits [*batch, n, classes], present [*batch, n].
        """
        each = {m: f.log_softmax(-1) - self.log_prior.unsqueeze(-2) for m, f in own.items()}
        heard = [torch.where(present[m].unsqueeze(-1), f, 0) if m in present else f for m, f in each.items()]
        return joint.log_softmax(-1) + per_replicate(self.weight, joint) * torch.stack(heard).sum(0)

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        features = model.encode(batch.x)
        joint = model.fuse(features, None, batch.present)
        if off(self.weight):
            return joint
        own = {m: auxiliary[head_of(m)](z) for m, z in features.items()}
        return self.product(joint, own, batch.present)

    def state_dict(self) -> dict[str, Tensor]:
        return {"log_prior": self.log_prior}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.log_prior = state["log_prior"].clone()

    def neutral(self) -> Method:
        return I2M2(0.0)
