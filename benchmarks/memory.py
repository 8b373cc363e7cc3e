"""Peak memory of a training step beside PyTorch's.

    python benchmarks/memory.py [--threads 2] [--steps 5] [--runs 3] [--cases ...] [--engines chainrule torch ...]

Each case runs in a fresh process of its own. 'the steps add' is the most that was resident during some steps (VmHWM,
begun anew before the first through /proc/self/clear_refs) less what was resident before them (VmRSS), with the engine
imported and the net and its batch in place: values kept for the backward pass, gradients, momentum, scratch memory,
and whatever the engine holds back for reuse. 'whole process' is the same peak with nothing taken off. The least of some
runs, in megabytes of 10^6 bytes; the ratio is of what the steps add: below 1 chainrule needs less.
"""

import argparse

from engines import ENGINES, Worker, head, installed, row
from nets import NETS


def measure(engine, threads, case, steps):
    """(what the steps add, the peak of the process), in bytes."""
    with Worker(engine, threads) as worker:
        before, peak = worker.memory("training", case, NETS[case].batch, steps=steps)
    return peak - before, peak


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    trained = [engine for engine in ENGINES if engine != "onnxruntime"]
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--engines", nargs="+", choices=trained, default=installed(["chainrule", "torch"]))
    options = parser.parse_args()
    peers = [engine for engine in options.engines if engine != "chainrule"]
    cells = ["training step"]
    for engine in options.engines:
        cells += [f"{ENGINES[engine]}: the steps add", "whole process"]
    print(f"{options.threads} threads; megabytes\n")
    print(head([*cells, *(f"chainrule / {ENGINES[engine]}" for engine in peers)]))
    for case in options.cases:
        cells, added = [f"{NETS[case].title}, batch {NETS[case].batch}"], {}
        for engine in options.engines:
            runs = [measure(engine, options.threads, case, options.steps) for _ in range(options.runs)]
            added[engine], whole = min(runs)
            cells += [f"{added[engine] / 1e6:.1f}", f"{whole / 1e6:.0f}"]
        cells += [f"{added['chainrule'] / max(added[e], 1):.2f}" for e in peers if "chainrule" in added]
        print(row(cells), flush=True)


if __name__ == "__main__":
    main()
