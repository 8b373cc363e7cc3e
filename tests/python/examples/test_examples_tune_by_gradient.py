"""The example tune_by_gradient."""

import numpy as np
import pytest

import chainrule as cr

EXAMPLE = "tune_by_gradient"


def start(example):
    return np.full(example.STAGES, np.log(0.05)), np.log(np.array(0.1))


def test_the_gradient_is_the_numerical_one(example):
    log_rates, log_l2 = start(example)
    of_rates, of_l2 = cr.grad(example.validation_loss, argnums=(0, 1))(log_rates, log_l2)
    numerical = cr.numerical_gradient(lambda x: example.validation_loss(log_rates, x), log_l2)
    assert float(of_l2) == pytest.approx(float(numerical), rel=1e-6)
    direction = np.random.default_rng(0).normal(size=example.STAGES)
    numerical = cr.numerical_gradient(
        lambda t: example.validation_loss(log_rates + t * direction, log_l2), np.array(0.0)
    )
    assert of_rates @ direction == pytest.approx(float(numerical), rel=1e-6)


def test_tuning_lowers_the_validation_loss_at_every_step(example):
    *best, losses = example.tune(*start(example), steps=6)
    assert losses == sorted(losses, reverse=True)
    assert float(example.validation_loss(*best)) < 0.6 * losses[0]


def test_what_tuning_found_is_printed(printed):
    first, last = (float(printed.splitlines()[i].split()[-1]) for i in (0, -2))
    assert last < 0.4 * first
