"""The latency of inference beside onnxruntime's and PyTorch's, which have the same weights.

    python benchmarks/inference.py [--threads 1 2] [--batch 1] [--rounds 10] [--repetitions 100] [--cases ...]

chainrule runs the net frozen (`chainrule.nn.freeze`), onnxruntime its session, PyTorch the eager net without gradients.
Before anything is timed the scores of all must agree to 1e-3 of the largest. Then they take turns. Prints for each net
and number of threads the minimum and, in brackets, the median in milliseconds, and chainrule's beside each other's:
below 1 chainrule is faster.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from engines import ENGINES, Worker, head, installed, row
from nets import NETS

SHARE = {"mlp": 1, "lenet5": 1, "all_cnn_c": 0.2, "fast_cifar": 0.2}  # repetitions beside the option's number


def check(workers, case, batch):
    """Exits unless all engines give the same scores."""
    with tempfile.TemporaryDirectory() as folder:
        scores = {}
        for engine, worker in workers.items():
            file = str(Path(folder) / f"{engine}.npy")
            worker.times("inference", case, batch, file, repetitions=0)
            scores[engine] = np.load(file)
    reference = scores["chainrule"]
    for engine, values in scores.items():
        error = np.abs(values - reference).max() / np.abs(reference).max()
        if not error < 1e-3:
            sys.exit(
                f"{NETS[case].title}: the scores of chainrule and {ENGINES[engine]} differ by {error:.1e}"
            )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--cases", nargs="+", choices=SHARE, default=list(SHARE))
    options = parser.parse_args()
    engines = installed(["chainrule", "onnxruntime", "torch"])
    peers = engines[1:]
    for threads in options.threads:
        workers = {engine: Worker(engine, threads) for engine in engines}
        if threads == options.threads[0]:
            versions = ", ".join(f"{ENGINES[e]} {worker.version}" for e, worker in workers.items())
            print(f"{versions}; batch {options.batch}; milliseconds, minimum (median)\n")
            names = [ENGINES[engine] for engine in engines]
            print(head(["inference", "threads", *names, *(f"chainrule / {ENGINES[e]}" for e in peers)]))
        for case in options.cases:
            check(workers, case, options.batch)
            times = {engine: [] for engine in engines}
            count = max(round(options.repetitions * SHARE[case]), 1)
            for _ in range(options.rounds):
                for engine, worker in workers.items():
                    times[engine] += worker.times("inference", case, options.batch, repetitions=count)
            least = {engine: min(t) for engine, t in times.items()}
            middle = {engine: statistics.median(t) for engine, t in times.items()}
            cells = [f"{1e3 * least[e]:.3f} ({1e3 * middle[e]:.3f})" for e in engines]
            cells += [
                f"{least['chainrule'] / least[e]:.2f} ({middle['chainrule'] / middle[e]:.2f})" for e in peers
            ]
            print(row([NETS[case].title, threads, *cells]), flush=True)
        for worker in workers.values():
            worker.close()


if __name__ == "__main__":
    main()
