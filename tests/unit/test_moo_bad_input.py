"""The issue's list of bad input, one sentence a test, over every weighting: always an error that names the argument, never a mean."""

import dataclasses

import pytest
import torch

from mmtheory.errors import ArgumentError
from mmtheory.moo import (
    EPO,
    FAMO,
    STCH,
    WEIGHTINGS,
    GradDrop,
    SmoothLexicographic,
    Stateful,
    certify,
    certify_simplex,
    moo_backward,
)

NAMES = sorted(WEIGHTINGS)
NAN, INF = float("nan"), float("inf")


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def refused(name, gramian, word):
    """The first step, a later one, and the certificate refuse it, alone and beside a good Gramian."""
    method = WEIGHTINGS[name]()
    m = gramian.shape[-1]
    stacks = [gramian]
    if gramian.ndim == 2 and gramian.shape[0] == m and m >= 2:
        stacks.append(torch.stack((torch.eye(m, dtype=gramian.dtype), gramian)))
    for G in stacks:
        calls = [lambda G=G: method.weights(G), lambda G=G: certify(name, G, torch.ones(G.shape[:-1]))]
        if isinstance(method, Stateful):
            state = method.initial(torch.eye(2, dtype=torch.float64))
            calls.append(lambda G=G, state=state: method.step(G, state))
        for call in calls:
            with pytest.raises(ArgumentError, match=f"(?s)^gramian: expected.*{word}"):
                call()


@pytest.mark.parametrize("name", NAMES)
def test_non_symmetric(name):
    refused(name, double([[1.0, 0.5], [0.2, 1.0]]), "symmetric")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 2.0], [2.0, 1.0]],
        [[-1.0, 0.0], [0.0, 1.0]],
        [[1.0, 0.1], [0.1, 0.0]],
        [[1.0, -0.9, -0.9], [-0.9, 1.0, -0.9], [-0.9, -0.9, 1.0]],
    ],
)
def test_non_psd(name, rows):
    refused(name, double(rows), "semi-definite")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_non_finite(name, bad):
    refused(name, double([[1.0, bad], [bad, 1.0]]), "finite")
    refused(name, double([[1.0, 0.0], [0.0, bad]]), "finite")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (4, 3, 2)])
def test_wrongly_shaped(name, shape):
    for call in (WEIGHTINGS[name]().weights, lambda G: certify(name, G, torch.ones(2))):
        with pytest.raises(ArgumentError, match="gramian: expected shape"):
            call(torch.ones(shape))


@pytest.mark.parametrize("name", NAMES)
def test_whole_numbers(name):
    with pytest.raises(ArgumentError, match="gramian: expected a real floating type"):
        WEIGHTINGS[name]().weights(torch.eye(2, dtype=torch.int64))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("m", [0, 1])
def test_no_or_one_objective(name, m):
    for shape in ((m, m), (5, m, m)):
        with pytest.raises(ArgumentError, match=f"gramian: expected at least 2 objectives, found {m}"):
            WEIGHTINGS[name]().weights(torch.ones(shape, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("m", [0, 1])
def test_no_or_one_loss(name, m):
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(ArgumentError, match=f"losses: expected at least 2, found {m}"):
        moo_backward([x.sum()] * m, {"x": [x]}, name)
    assert x.grad is None


PREFERRING = [n for n in NAMES if "preference" in {f.name for f in dataclasses.fields(WEIGHTINGS[n])}]


@pytest.mark.parametrize("name", PREFERRING)
@pytest.mark.parametrize("bad", [(0.5, 0.6), (1.5, -0.5), (NAN, 1.0), (INF, 0.0), (0.0, 0.0), ()])
def test_preference_off_the_simplex(name, bad):
    with pytest.raises(ArgumentError, match="preference: expected"):
        WEIGHTINGS[name](preference=bad)


@pytest.mark.parametrize("name", PREFERRING)
def test_preference_of_another_length(name):
    with pytest.raises(ArgumentError, match="preference: expected 3 entries"):
        WEIGHTINGS[name](preference=(0.5, 0.5)).weights(torch.eye(3))


BEYOND = {"famo": FAMO, "stch": STCH, "mimo": SmoothLexicographic, "graddrop": GradDrop}
NUMBERS = [
    (name, field.name)
    for name, kind in {**dict(WEIGHTINGS), **BEYOND}.items()
    for field in dataclasses.fields(kind)
    if isinstance(field.default, float) and field.name != "floor"
]


def test_every_method_with_a_number_is_here():
    assert {n for n, _ in NUMBERS} == {
        *("capped-mgda", "cagrad", "cr-mogm", "fairgrad", "gradvac", "mmpareto", "moco", "modo", "pcd", "sdmgrad"),
        *BEYOND,
    }


@pytest.mark.parametrize(("name", "field"), NUMBERS)
@pytest.mark.parametrize("bad", [-1.0, -1e-3, NAN, INF])
def test_negative_and_non_finite_hyper_parameters(name, field, bad):
    kind = {**dict(WEIGHTINGS), **BEYOND}[name]
    with pytest.raises(ArgumentError, match=f"{field}: expected"):
        kind(**{field: bad})


@pytest.mark.parametrize("bad", [(1.0, 0.0), (1.0, -1.0), (NAN, 1.0), (INF, 1.0), (1.0,), ()])
def test_epo_and_stch_refuse_preferences(bad):
    losses = torch.ones(2, dtype=torch.float64)
    for make in (
        lambda: EPO(preference=bad).weights(torch.eye(2), losses),
        lambda: STCH(preference=bad).weights(losses),
    ):
        with pytest.raises(ArgumentError, match="preference"):
            make()


def test_other_bad_constants_of_the_smooth_methods():
    losses = torch.ones(2)
    for make, word in (
        (lambda: EPO(preference=(1.0, 1.0), eps=-1.0), "eps"),
        (lambda: STCH(ideal=(NAN, 0.0)).weights(losses), "ideal"),
        (lambda: FAMO(floor=NAN), "floor"),
        (lambda: WEIGHTINGS["cr-mogm"](inner=WEIGHTINGS["modo"]()), "inner"),
        (lambda: WEIGHTINGS["ngdiff"](signs=(1, 0)), "signs"),
        (lambda: WEIGHTINGS["ngdiff"](signs=()).weights(torch.eye(2)), "signs"),
        (lambda: WEIGHTINGS["ngdiff"](signs=(1, 1, 1)).weights(torch.eye(2)), "signs"),
    ):
        with pytest.raises(ArgumentError, match=f"{word}: expected|, {word}: expected"):
            make()


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_in_no_block(name):
    x, y = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    with pytest.raises(ArgumentError, match=r"blocks: expected every parameter in a block, found one of shape \[3\]"):
        moo_backward([x.sum() + y.sum(), (x**2).sum()], {"x": [x]}, name)
    assert x.grad is None


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_in_two_blocks(name):
    x = torch.ones(2, requires_grad=True)
    for blocks in ({"a": [x], "b": [x]}, {"a": [x, x]}):
        with pytest.raises(ArgumentError, match="blocks: expected every parameter in one block"):
            moo_backward([x.sum(), (x**2).sum()], blocks, name)
    assert x.grad is None


@pytest.mark.parametrize("name", NAMES)
def test_gradients_that_are_not_finite_leave_no_gradient(name):
    x = torch.zeros(2, requires_grad=True)
    with pytest.raises(ArgumentError, match="gramian: expected finite numbers"):
        moo_backward([x.sqrt().sum(), x.sum()], {"x": [x]}, name)
    assert x.grad is None


def test_an_unknown_name():
    for call in (
        lambda: certify("mgd", torch.eye(2), torch.ones(2)),
        lambda: moo_backward([torch.ones((), requires_grad=True)] * 2, {}, "mgd"),
    ):
        with pytest.raises(ArgumentError, match="weighting: expected one of"):
            call()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("given", [None, [[1.0, 0.0], [0.0, 1.0]], torch.eye(2).numpy()])
def test_what_is_no_tensor(name, given):
    with pytest.raises(ArgumentError, match=r"^gramian: expected a tensor, found"):
        WEIGHTINGS[name]().weights(given)


@pytest.mark.parametrize("bad", [NAN, INF])
def test_weights_that_are_none_have_no_certificate_and_never_a_small_one(bad):
    w = double([bad, 0.0])
    with pytest.raises(ArgumentError, match=r"^weights: expected finite"):
        certify("mgda", torch.eye(2), w)
    assert not (certify_simplex(torch.eye(2), w).relative <= 1).item()


def test_parameters_of_a_module_are_a_block_as_they_come():
    """An iterator that can be read once is neither lost nor half used."""
    with torch.random.fork_rng(devices=[]):
        model, x = torch.nn.Linear(2, 2), double([[1.0, -2.0]]).float()

    def losses():
        out = model(x)
        return [out[0, 0] ** 2, (out[0, 1] - 1) ** 2]

    weights = [moo_backward(losses(), {"all": p}, "mgda").weights for p in (model.parameters(), [*model.parameters()])]
    assert torch.equal(*weights)
    assert model.weight.grad is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [(0,), (0, 3), (3, 0)])
def test_a_batch_of_none_has_no_weights_and_is_no_error(name, batch):
    G = torch.zeros(*batch, 2, 2)
    w = WEIGHTINGS[name]().weights(G)
    assert w.shape == (*batch, 2)
    assert certify(name, G, w).gap.shape == batch
