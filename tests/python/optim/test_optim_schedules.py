"""Schedules beside PyTorch's, composed with a warm-up, and resumed."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import optim

torch = pytest.importorskip("torch")
schedulers = torch.optim.lr_scheduler


def optimizer(rates=(0.5,), name="SGD", **more):
    groups = [{"params": [cr.tensor([1.0], requires_grad=True)], "lr": lr} for lr in rates]
    return getattr(optim, name)(groups, lr=1.0, **more)


def reference(rates=(0.5,), name="SGD", **more):
    groups = [{"params": [torch.ones(1, requires_grad=True)], "lr": lr} for lr in rates]
    return getattr(torch.optim, name)(groups, lr=1.0, **more)


def rates_of(opt):
    return [group["lr"] for group in opt.param_groups]


def run(opt, schedule, steps, figures=None):
    """Each step's rates, the first included."""
    seen = [rates_of(opt)]
    for i in range(steps):
        if isinstance(opt, torch.optim.Optimizer):
            opt.step()
        schedule.step(*(() if figures is None else (figures[i],)))
        seen.append(rates_of(opt))
    return np.array(seen)


RATES = [(0.5,), (0.5, 0.1, 2.0)]
CASES = {
    "lambda": ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t) ** 2}),
    "step": ("StepLR", {"step_size": 4, "gamma": 0.3}),
    "multi-step": ("MultiStepLR", {"milestones": [9, 3, 3, 12], "gamma": 0.5}),
    "exponential": ("ExponentialLR", {"gamma": 0.9}),
    "linear": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.07, "total_iters": 11}),
    "cosine": ("CosineAnnealingLR", {"T_max": 20}),
    "cosine that turns": ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.01}),
    "one-cycle": ("OneCycleLR", {"max_lr": 0.7, "total_steps": 20}),
    "one-cycle in straight lines": (
        "OneCycleLR",
        {"max_lr": 2.0, "total_steps": 20, "pct_start": 0.23, "anneal_strategy": "linear", "div_factor": 5.0},
    ),
    "one-cycle that only falls": ("OneCycleLR", {"max_lr": 2.0, "total_steps": 20, "pct_start": 0.0}),
}


@pytest.mark.parametrize("rates", RATES, ids=["one group", "three groups"])
@pytest.mark.parametrize("case", CASES)
def test_schedule_goes_as_pytorchs(case, rates):
    name, values = CASES[case]
    mine, theirs = optimizer(rates, momentum=0.9), reference(rates, momentum=0.9)
    found = run(mine, getattr(optim, name)(mine, **values), 19)
    expected = run(theirs, getattr(schedulers, name)(theirs, **values), 19)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(2, 60),
    st.floats(0.05, 0.95),
    st.sampled_from(["cos", "linear"]),
    st.floats(1.1, 50),
    st.floats(1.1, 1e4),
)
def test_one_cycle_of_any_settings_goes_as_pytorchs(total, share, anneal, div, final):
    assume(share * total != 1)  # the rise takes no step, by which PyTorch divides: tested below
    values = {
        "max_lr": [1.5, 0.2],
        "total_steps": total,
        "pct_start": share,
        "anneal_strategy": anneal,
        "div_factor": div,
        "final_div_factor": final,
    }
    mine, theirs = optimizer((1, 2), momentum=0.5), reference((1, 2), momentum=0.5)
    found = run(mine, optim.OneCycleLR(mine, **values), total - 1)
    expected = run(theirs, schedulers.OneCycleLR(theirs, **values), total - 1)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_one_cycle_whose_rise_takes_no_step_begins_at_the_top():
    opt = optimizer(momentum=0.9)
    found = run(opt, optim.OneCycleLR(opt, 2.0, 4, pct_start=0.25, anneal_strategy="linear"), 4)[:, 0]
    np.testing.assert_allclose(found, np.interp([0, 1, 2, 3, 3], [0, 3], [2.0, 2.0 / 25 / 1e4]))


@pytest.mark.parametrize(
    ("name", "more"),
    [("SGD", {"momentum": 0.9}), ("RMSprop", {"momentum": 0.5}), ("Adam", {}), ("AdamW", {})],
)
def test_one_cycle_moves_momentum_as_pytorchs_does(name, more):
    def momenta(opt):
        return [g.get("momentum", g["betas"][0] if "betas" in g else None) for g in opt.param_groups]

    mine, theirs = optimizer((1, 2), name, **more), reference((1, 2), name, **more)
    one = optim.OneCycleLR(mine, max_lr=1.0, total_steps=12, base_momentum=0.8, max_momentum=0.9)
    other = schedulers.OneCycleLR(theirs, max_lr=1.0, total_steps=12, base_momentum=0.8, max_momentum=0.9)
    for _ in range(11):
        assert momenta(mine) == pytest.approx(momenta(theirs), rel=1e-9)
        theirs.step()
        one.step(), other.step()
    still = optimizer((1,), "SGD", momentum=0.7)
    optim.OneCycleLR(still, max_lr=1.0, total_steps=9, cycle_momentum=False).step()
    assert still.momentum == 0.7


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.1, 3) | st.just(math.nan), min_size=1, max_size=40),
    st.sampled_from(["min", "max"]),
    st.sampled_from(["rel", "abs"]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.floats(0, 0.5),
)
def test_plateau_goes_as_pytorchs(figures, mode, threshold_mode, patience, cooldown, threshold):
    values = {
        "mode": mode,
        "threshold_mode": threshold_mode,
        "patience": patience,
        "cooldown": cooldown,
        "threshold": threshold,
        "min_lr": [0.01, 0.02],
        "factor": 0.5,
    }
    mine, theirs = optimizer((1.0, 0.3)), reference((1.0, 0.3))
    found = run(mine, optim.ReduceLROnPlateau(mine, **values), len(figures), figures)
    expected = run(theirs, schedulers.ReduceLROnPlateau(theirs, **values), len(figures), figures)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_plateau_of_figures_below_0_wants_them_better_too():
    # PyTorch's relative threshold is best (1 - threshold): with a best of -1 it takes -0.95 for better.
    opt = optimizer((1.0,))
    schedule = optim.ReduceLROnPlateau(opt, patience=0, threshold=0.1)
    assert run(opt, schedule, 4, [-1.0, -0.95, -1.05, -1.2])[:, 0].round(6).tolist() == [
        1.0, 1.0, 0.1, 0.01, 0.01,
    ]  # fmt: skip


def test_plateau_takes_tensors_and_arrays():
    opt = optimizer()
    schedule = optim.ReduceLROnPlateau(opt, patience=0)
    for figure in (cr.tensor(1.0), np.float32(1.0), np.array([1.0])):
        schedule.step(figure)
    assert opt.lr == pytest.approx(0.005)


# ---- Warm-up -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [c for c in CASES if CASES[c][0] != "OneCycleLR"])
def test_warm_up_before_a_schedule_is_pytorchs_sequence_of_the_two(case):
    name, values = CASES[case]
    mine, theirs = optimizer((0.5, 0.1)), reference((0.5, 0.1))
    found = run(mine, optim.WarmUp(getattr(optim, name)(mine, **values), 5, start_factor=0.2), 25)
    parts = [
        schedulers.LinearLR(theirs, start_factor=0.2, total_iters=5),
        getattr(schedulers, name)(theirs, **values),
    ]
    expected = run(theirs, schedulers.SequentialLR(theirs, parts, milestones=[5]), 25)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_warm_up_of_an_optimizer_alone():
    opt = optimizer((1.0, 2.0))
    schedule = optim.WarmUp(opt, 4, start_factor=0.0)
    found = run(opt, schedule, 6)
    np.testing.assert_allclose(found[:, 0], [0, 0.25, 0.5, 0.75, 1, 1, 1])
    np.testing.assert_allclose(found[:, 1], 2 * found[:, 0])


def test_warm_up_passes_figures_on_once_it_is_over():
    opt = optimizer((1.0,))
    schedule = optim.WarmUp(optim.ReduceLROnPlateau(opt, patience=1), 2, start_factor=0.5)
    found = run(opt, schedule, 6, [9.0, 9.0, 5.0, 5.0, 5.0, 5.0])
    np.testing.assert_allclose(found[:, 0], [0.5, 0.75, 1, 1, 1, 0.1, 0.1])


def test_warm_up_before_one_cycle_leads_to_its_beginning():
    opt = optimizer((1.0,), momentum=0.9)
    schedule = optim.WarmUp(optim.OneCycleLR(opt, max_lr=1.0, total_steps=10, div_factor=4), 2, 0.0)
    found = run(opt, schedule, 11)[:, 0]
    alone = optimizer((1.0,), momentum=0.9)
    expected = run(alone, optim.OneCycleLR(alone, max_lr=1.0, total_steps=10, div_factor=4), 9)[:, 0]
    np.testing.assert_allclose(found, [0, 0.125, *expected])


# ---- State -------------------------------------------------------------------------------------------------


def all_schedules():
    for name, values in CASES.values():
        yield lambda opt, name=name, values=values: getattr(optim, name)(opt, **values)
        if name != "OneCycleLR":
            yield lambda opt, name=name, values=values: optim.WarmUp(getattr(optim, name)(opt, **values), 6)
    yield lambda opt: optim.ReduceLROnPlateau(opt, patience=1)
    yield lambda opt: optim.WarmUp(optim.ReduceLROnPlateau(opt, patience=1), 6)
    yield lambda opt: optim.WarmUp(opt, 6)


@pytest.mark.parametrize("make", list(all_schedules()))
@pytest.mark.parametrize("stop", [0, 3, 6, 11])
def test_a_resumed_schedule_has_the_same_bits(make, stop):
    figures = np.random.default_rng(0).normal(size=19)
    probe = make(optimizer(momentum=0.9))
    hears = "best" in probe.state_dict() or "after.best" in probe.state_dict()

    def go(schedule, part):
        return [schedule.step(*([f] if hears else [])) or rates_of(schedule.optimizer) for f in part]

    whole = optimizer((0.5, 0.25), momentum=0.9)
    one = make(whole)
    go(one, figures[:stop])
    state = {k: np.array(v) for k, v in one.state_dict().items()}  # as a file holds it
    kept = {k: np.array(v) for k, v in whole.state_dict().items()}
    expected = go(one, figures[stop:])

    again = optimizer((0.5, 0.25), momentum=0.9)
    other = make(again)
    again.load_state_dict(kept)
    other.load_state_dict(state)
    assert go(other, figures[stop:]) == expected
    assert [g.get("momentum") for g in again.param_groups] == [g.get("momentum") for g in whole.param_groups]


def test_state_holds_the_rates_that_the_schedule_began_with():
    opt = optimizer((1.0, 2.0))
    schedule = optim.ExponentialLR(opt, 0.5)
    schedule.step()
    assert schedule.state_dict() == {"count": 1, "base_lr.0": 1.0, "base_lr.1": 2.0}
    schedule.load_state_dict({"count": 2, "base_lr.0": 8.0, "base_lr.1": 4})
    assert schedule.get_last_lr() == rates_of(opt) == [2.0, 1.0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"count": None}, ValueError, "missing ['count'], not known []"),
        ({"speed": 1}, ValueError, "missing [], not known ['speed']"),
        ({"count": 1.5}, ValueError, "count = 1.5: give a whole number of at least 0"),
        ({"count": -1}, ValueError, "count = -1: give a whole number"),
        ({"count": "1"}, TypeError, "count = '1' is not a number"),
        ({"count": np.zeros(2)}, TypeError, "is not a number"),
        ({"base_lr.0": -1.0}, ValueError, "the learning rate becomes -0.5"),
        ({"base_lr.0": math.nan}, ValueError, "the learning rate becomes nan"),
    ],
)
def test_a_state_that_does_not_fit_leaves_the_schedule_as_it_is(change, error, message):
    opt = optimizer((0.5,))
    schedule = optim.ExponentialLR(opt, 0.5)
    schedule.step()
    before = schedule.state_dict()
    state = {k: v for k, v in (before | change).items() if v is not None}
    with pytest.raises(error) as caught:
        schedule.load_state_dict(state)
    assert message in str(caught.value) and str(caught.value).startswith("ExponentialLR")
    assert schedule.state_dict() == before and rates_of(opt) == [0.25]


def test_a_state_of_a_warm_up_whose_counts_do_not_belong_together():
    schedule = optim.WarmUp(optim.StepLR(optimizer(), 3), 2)
    state = schedule.state_dict()
    for wrong in ({"count": 4}, {"after.count": 1}):
        with pytest.raises(ValueError, match="do not belong together"):
            schedule.load_state_dict(state | wrong)
    with pytest.raises(ValueError, match=r"missing \['after.count'\]"):
        schedule.load_state_dict({k: v for k, v in state.items() if k != "after.count"})


def test_cosine_has_an_end_for_each_group():
    groups, least = (0.5, 0.1, 2.0), (0.05, 0.0, 1.0)
    opt = optimizer(groups)
    seen = run(opt, optim.CosineAnnealingLR(opt, T_max=6, eta_min=list(least)), 6)
    for rates, start, end in zip(seen.T, groups, least, strict=True):
        alone = optimizer((start,))
        np.testing.assert_array_equal(
            rates, run(alone, optim.CosineAnnealingLR(alone, T_max=6, eta_min=end), 6)[:, 0]
        )
    np.testing.assert_allclose(seen[-1], least, atol=1e-15)


# ---- What is refused ---------------------------------------------------------------------------------------

WRONG = [
    ("StepLR", {"step_size": 0}, ValueError, "StepLR: step_size = 0: give 1 or more"),
    ("StepLR", {"step_size": 1.5}, TypeError, "StepLR: step_size = 1.5 is not an integer"),
    ("StepLR", {"step_size": 1, "gamma": -1}, ValueError, "StepLR: gamma = -1: give a finite number"),
    ("StepLR", {"step_size": 1, "gamma": True}, TypeError, "StepLR: gamma = True is not a number"),
    ("MultiStepLR", {"milestones": [3, 0]}, ValueError, "MultiStepLR: a milestone = 0: give 1 or more"),
    ("ExponentialLR", {"gamma": math.inf}, ValueError, "ExponentialLR: gamma = inf: give a finite"),
    ("ExponentialLR", {"gamma": "x"}, TypeError, "ExponentialLR: gamma = 'x' is not a number"),
    ("CosineAnnealingLR", {"T_max": 0}, ValueError, "CosineAnnealingLR: T_max = 0: give 1 or more"),
    ("CosineAnnealingLR", {"T_max": 3, "eta_min": -1}, ValueError, "CosineAnnealingLR: eta_min = -1"),
    ("CosineAnnealingLR", {"T_max": 3, "eta_min": [0.1]}, ValueError, "1 values of eta_min for 2 parameter"),
    (
        "CosineAnnealingLR",
        {"T_max": 3, "eta_min": "x"},
        TypeError,
        "CosineAnnealingLR: eta_min = 'x' is not a",
    ),
    ("LinearLR", {"total_iters": 0}, ValueError, "LinearLR: total_iters = 0: give 1 or more"),
    ("LinearLR", {"start_factor": -1}, ValueError, "LinearLR: start_factor = -1: give"),
    ("LambdaLR", {"lr_lambda": 3}, TypeError, "LambdaLR: lr_lambda = 3: give a function"),
    ("LambdaLR", {"lr_lambda": [abs]}, ValueError, "LambdaLR: 1 values of lr_lambda for 2 parameter groups"),
    ("LambdaLR", {"lr_lambda": lambda t: math.nan}, ValueError, "LambdaLR: the learning rate becomes nan"),
    ("LambdaLR", {"lr_lambda": lambda t: -1}, ValueError, "LambdaLR: the learning rate becomes -0.5"),
    ("OneCycleLR", {"max_lr": 0, "total_steps": 9}, ValueError, "OneCycleLR: max_lr = 0: give above 0"),
    ("OneCycleLR", {"max_lr": [1], "total_steps": 9}, ValueError, "OneCycleLR: 1 values of max_lr for 2"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 1}, ValueError, "OneCycleLR: total_steps = 1: give 2"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 9, "pct_start": 2}, ValueError, "OneCycleLR: pct_start = 2"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 9, "anneal_strategy": "x"}, ValueError, "anneal_strategy"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 9, "div_factor": 0}, ValueError, "div_factor = 0: give"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 9, "base_momentum": 1}, ValueError, "base_momentum = 1"),
    ("OneCycleLR", {"max_lr": 1, "total_steps": 9}, ValueError, "SGD has no momentum to cycle"),
    ("ReduceLROnPlateau", {"mode": "low"}, ValueError, "ReduceLROnPlateau: mode = 'low': give"),
    ("ReduceLROnPlateau", {"factor": 1}, ValueError, r"factor = 1: give a number in \[0, 1\)"),
    ("ReduceLROnPlateau", {"patience": -1}, ValueError, "patience = -1: give 0 or more"),
    ("ReduceLROnPlateau", {"threshold_mode": "x"}, ValueError, "threshold_mode = 'x'"),
    ("ReduceLROnPlateau", {"min_lr": [0.1]}, ValueError, "1 values of min_lr for 2 parameter groups"),
    ("WarmUp", {"steps": 0}, ValueError, "WarmUp: steps = 0: give 1 or more"),
    ("WarmUp", {"steps": 3, "start_factor": 1.5}, ValueError, "WarmUp: start_factor = 1.5"),
]


@pytest.mark.parametrize(("name", "values", "error", "message"), WRONG)
def test_settings_out_of_range_are_named_and_change_nothing(name, values, error, message):
    opt = optimizer((0.5, 0.1))
    with pytest.raises(error, match=message):
        getattr(optim, name)(opt, **values)
    assert rates_of(opt) == [0.5, 0.1]


@pytest.mark.parametrize("name", ["StepLR", "WarmUp"])
def test_what_is_no_optimizer_is_named(name):
    with pytest.raises(TypeError, match=f"{name}: optimizer is a float: give one of chainrule.optim"):
        getattr(optim, name)(0.1, 3)


def test_a_schedule_that_has_begun_takes_no_warm_up():
    schedule = optim.StepLR(optimizer(), 3)
    schedule.step()
    with pytest.raises(ValueError, match="WarmUp: the schedule has made 1 steps"):
        optim.WarmUp(schedule, 3)


def test_one_cycle_refuses_steps_past_its_end():
    schedule = optim.OneCycleLR(optimizer(), 1.0, 3, cycle_momentum=False)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ValueError, match="OneCycleLR: step 4 of 3: give total_steps as many as there are"):
        schedule.step()
    assert schedule.count == 3


def test_groups_that_come_later_are_named():
    opt = optimizer((0.5,))
    schedule = optim.StepLR(opt, 3)
    opt.add_param_group({"params": [cr.tensor([1.0], requires_grad=True)]})
    with pytest.raises(ValueError, match="StepLR: the optimizer has 2 parameter groups, it had 1"):
        schedule.step()


def test_a_figure_that_is_no_number_is_named():
    for watch in (optim.ReduceLROnPlateau(optimizer()), optim.EarlyStopping(3)):
        with pytest.raises(TypeError, match="metric = 'low' is not a number"):
            watch.step("low")
        with pytest.raises(TypeError, match="is not a number"):
            watch.step(np.zeros(2))


# ---- Early stopping ----------------------------------------------------------------------------------------


@given(st.lists(st.floats(-2, 2) | st.just(math.nan), max_size=30), st.integers(1, 4), st.floats(0, 1))
def test_early_stopping_stops_after_so_many_epochs_without_improvement(figures, patience, delta):
    for mode, sign in (("min", 1), ("max", -1)):
        stopping = optim.EarlyStopping(patience, mode, delta)
        best, since = math.inf, 0
        for figure in figures:
            if sign * figure < best - delta:
                best, since = sign * figure, 0
            else:
                since += 1
            assert stopping.step(figure) == stopping.stop == (since >= patience)


def test_early_stopping_resumes_and_refuses():
    stopping = optim.EarlyStopping(3)
    for figure in (2.0, 3.0):
        stopping.step(figure)
    other = optim.EarlyStopping(3)
    other.load_state_dict({k: np.array(v) for k, v in stopping.state_dict().items()})
    assert other.state_dict() == {"best": 2.0, "bad_epochs": 1}
    for state in ({"best": 1.0}, {"best": 1.0, "bad_epochs": -1}, {"best": 1.0, "bad_epochs": 0, "x": 1}):
        with pytest.raises(ValueError, match=r"EarlyStopping\.load_state_dict"):
            other.load_state_dict(state)
    with pytest.raises(ValueError, match="EarlyStopping: patience = 0: give 1 or more"):
        optim.EarlyStopping(0)
    with pytest.raises(ValueError, match="EarlyStopping: mode = 'up'"):
        optim.EarlyStopping(1, "up")
