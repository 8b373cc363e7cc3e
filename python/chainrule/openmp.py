"""Loads the extension with OpenMP's threads told how long to spin.

GCC's OpenMP reads its settings once, when it is loaded. By default its threads spin for milliseconds at the end of a
parallel region before they sleep: on a machine whose cores are not all free they then keep the very thread from its
core that they wait for, and a step of 0.3 ms was seen to take 50. Some 0.5 ms spans the gaps between a training
step's kernels, and gives the core up soon enough. A user's own GOMP_SPINCOUNT or OMP_WAIT_POLICY stands; where
another package has loaded the same library before, its settings hold.
"""

import os

SPINS = "10000"

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        import chainrule._core  # noqa: F401
    finally:
        del os.environ["GOMP_SPINCOUNT"]  # child processes make their own choice
