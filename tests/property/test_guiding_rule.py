"""The guiding rule: paired features are found by a readout of both, single ones by the average as well; replicates stay apart."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.diagnose import guiding_rule, ridge_scores
from mmtheory.errors import ArgumentError
from mmtheory.rng import Stream


def world(seed, weights, replicates=3, n=400):
    """Features of two modalities and the sign of a mixture of their first coordinates."""
    draws = Stream(seed).draws(range(replicates))
    z = {m: draws.normal(m, 2 * n, 3) for m in "ab"}
    y = (sum(w * z[m][..., 0] for m, w in zip("ab", weights, strict=True)) > 0).long()
    seen, held = ({m: v[:, part] for m, v in z.items()} for part in (slice(0, n), slice(n, 2 * n)))
    own = {m: ridge_scores(seen[m], y[:, :n], held[m], 2) for m in "ab"}
    return seen, y[:, :n], held, y[:, n:], own


@given(st.integers(0, 2**31))
def test_a_modality_that_knows_all_makes_the_readout_no_worse_than_the_average(seed):
    rule = guiding_rule(*world(seed, (1.0, 0.0)))
    assert (rule.joint.mean(-1) >= 0.9).all()
    assert rule.averaged.shape == rule.joint.shape == (3, 400)
    assert torch.allclose(rule.gain, rule.joint.mean(-1) - rule.averaged.mean(-1), rtol=0, atol=1e-12)


@given(st.integers(0, 2**31))
def test_sums_of_modalities_are_paired_where_one_side_is_louder(seed):
    """The average of two readouts weighs both alike; the label weighs them three to one."""
    seen, y, held, y_held, own = world(seed, (3.0, 1.0))
    loud = {m: f / f.std((-2, -1), keepdim=True) for m, f in own.items()}
    rule = guiding_rule(seen, y, held, y_held, loud)
    assert rule.choice == "umt"
    assert (rule.gain > 0.02).all()


@given(st.integers(0, 2**31))
def test_replicates_and_the_order_of_modalities_do_not_matter(seed):
    seen, y, held, y_held, own = world(seed, (1.0, 1.0))
    whole = guiding_rule(seen, y, held, y_held, own)
    turned = [dict(reversed(part.items())) for part in (seen, held, own)]
    again = guiding_rule(turned[0], y, turned[1], y_held, turned[2])
    assert torch.equal(whole.joint, again.joint)
    one = guiding_rule(
        *({m: v[1] for m, v in p.items()} if isinstance(p, dict) else p[1] for p in (seen, y, held, y_held, own))
    )
    assert torch.equal(whole.joint[1], one.joint)
    assert torch.equal(whole.averaged[1], one.averaged)


def test_modalities_that_disagree_are_refused():
    seen, y, held, y_held, own = world(0, (1.0, 1.0))
    with pytest.raises(ArgumentError, match="the same modalities thrice"):
        guiding_rule(seen, y, held, y_held, {"a": own["a"]})
