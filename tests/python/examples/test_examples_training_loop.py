"""The example training_loop."""

import inspect
import re

EXAMPLE = "training_loop"


def test_the_loop_is_a_dozen_lines(example):
    lines = inspect.getsource(example.by_hand).splitlines()[1:]
    assert len(lines) <= 14


def test_both_runs_learn_and_end_alike(printed):
    *epochs, last = printed.splitlines()
    assert last == "the same weights to the bit: True"
    accuracies = [float(re.search(r"test accuracy (\S+) %", line)[1]) for line in epochs]
    assert len(accuracies) == 20 and accuracies[:10] == accuracies[10:]
    assert accuracies[9] > 96
