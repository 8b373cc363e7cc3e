"""Loads the extension with OpenMP's threads told how long to spin.

GCC's OpenMP reads its settings once, when it is loaded. By default its threads spin for milliseconds at the end of a
parallel region before they sleep: on a machine whose cores are not all free they then keep the very thread from its
core that they wait for, and a step of 0.3 ms was seen to take 50. A spin lasts 10 to 50 ns, by the processor: 40,000
span the gaps between a training step's kernels, and give the core up soon enough. With 10,000, threads of the faster
processors slept between kernels, and where the system wakes a thread on its waker's core both kept to one: steps
took four times as long. A user's own GOMP_SPINCOUNT or OMP_WAIT_POLICY stands; where another package has loaded the
same library before, its settings hold.
"""

import os

SPINS = "40000"

if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        import chainrule._core  # noqa: F401
    finally:
        del os.environ["GOMP_SPINCOUNT"]  # child processes make their own choice
