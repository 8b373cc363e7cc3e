"""In-place changes of values that a graph needs: how they are prevented, and how they are found.

A derivative rule reads what was computed forward. Where that memory was written to since, the gradient would be
wrong without a sign. PyTorch counts the versions of each tensor, MyGrad makes the arrays of a graph read-only until
the graph is gone, JAX's arrays never change. Here the memory is NumPy's, which tells nobody of its writes, and a
gate may cost no more than a few microseconds in all. So:

- Results of recorded gates are handed out read-only (`Tensor.data`, `Tensor.numpy()`): NumPy refuses the write.
- Leaves are the user's to change between steps. What the library changes in place is announced (an optimizer's
  step, `load_state_dict`, `leaf.data = ...`, `leaf.data -= ...`). When the memory of a leaf that a graph has read
  is handed out (`leaf.data`, `leaf.numpy()`), its checksum is noted. `backward` raises, before it sends any
  gradient, where a gate kept memory of a leaf that was announced as changed, or has another checksum, since the
  gate was applied; and where `Graph.forward` ran a gate again whose result an older gate uses.

Every gate notes the time of a clock that stands still while nothing is announced or handed out: where nobody
touches a leaf between forward and backward, the check is a comparison of two integers a gate.

Not found are writes through an array that was taken from a leaf before the forward pass, and writes to arrays that
gates were given bare, without `cr.tensor`, which copies.
"""

from __future__ import annotations

import zlib

import numpy as np

from chainrule.autodiff.box import Box


class _Clock:
    """Counts changes announced and leaves handed out."""

    now = 0


clock = _Clock()

_SEALS = 16  # how many contents of one leaf are remembered


class _Watch:
    """When a leaf was last announced as changed, and what it held when it was handed out since."""

    __slots__ = ("changed", "seals")

    def __init__(self):
        self.changed = -1
        self.seals = []  # [time of the last look, checksum], oldest first

    def seal(self, checksum):
        clock.now += 1
        if self.seals and self.seals[-1][1] == checksum:
            self.seals[-1][0] = clock.now
        else:
            self.seals = [*self.seals[1 - _SEALS :], [clock.now, checksum]]


def _watch(leaf: Box) -> _Watch:
    watch = getattr(leaf, "watch", None)
    if watch is None:
        watch = leaf.watch = _Watch()
    return watch


def _checksum(array) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data.cast("B")) if array.size else 0


def announce(leaves) -> None:
    """Say that the memory of leaves was, or is about to be, changed in place."""
    clock.now += 1
    for leaf in leaves:
        watch = _watch(leaf)
        watch.changed = clock.now
        watch.seals = []


def handed_out(leaf: Box) -> None:
    """Note what a leaf holds as its memory leaves the library; nothing to do where no graph has read it."""
    if getattr(leaf, "read", False):
        _watch(leaf).seal(_checksum(leaf.value))


def changed_since(leaf: Box, time) -> bool:
    """Whether a leaf is known to have changed after `time`."""
    watch = getattr(leaf, "watch", None)
    if watch is None:
        return False
    if watch.changed > time:
        return True
    for looked, checksum in watch.seals:
        if looked > time:
            return _checksum(leaf.value) != checksum
    return False


def check_unchanged(gates) -> None:
    """RuntimeError where one of the gates kept a value that is known to have changed since it was applied."""
    changed = []
    for gate in gates:
        if not gate.time < clock.now:
            continue
        for edge in gate.inputs:
            if not isinstance(edge, Box):
                if getattr(edge, "time", -1) > gate.time:
                    raise RuntimeError(
                        f"backward: Graph.forward ran {type(edge).__name__} again, whose result "
                        f"{type(gate).__name__} still has from before: compute the loss again"
                    )
            elif changed_since(edge, gate.time):
                changed.append((edge.value, gate.time))
    if not changed:
        return
    for gate in gates:
        for kept in gate.kept or ():
            if not isinstance(kept, np.ndarray):
                continue
            for value, time in changed:
                if gate.time <= time and np.may_share_memory(kept, value):
                    raise RuntimeError(
                        f"backward: a value of shape {kept.shape} that {type(gate).__name__} kept was changed in "
                        "place since (by an optimizer's step, or through .data or .numpy()): call backward "
                        "before the change, or compute the loss again after it"
                    )
