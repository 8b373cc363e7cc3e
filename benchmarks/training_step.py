"""Training steps beside PyTorch's: the same step, threads and run, the engines taking turns.

    python benchmarks/training_step.py [--threads 2] [--rounds 12] [--repetitions 30] [--cases ...] [--json FILE]

Prints for each case the minimum and median of both, in milliseconds, and the ratios chainrule / PyTorch; below 1
chainrule is faster. A round times one engine and then the other, so that a slower moment of the machine meets
both.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

# Name: (what it is, repetitions in a round beside the option's number).
CASES = {
    "linear_svm": ("linear SVM 3072-10, batch 256", 1.0),
    "linear_softmax": ("linear softmax 3072-10, batch 256", 1.0),
    "mlp": ("MLP 784-100-10, batch 64", 1.0),
    "lenet5": ("LeNet-5 28x28x1, batch 64", 0.5),
    "all_cnn_c": ("All-CNN-C 32x32x3, batch 64", 0.0),
    "network_in_network": ("Network in Network 32x32x3, batch 64", 0.0),
    "vgg_like": ("VGG-like 64-64-128-128-256-256 with batch norm, batch 64", 0.0),
    "gate_chain": ("100 gates of 4 floats", 1.0),
}
ENGINES = ("chainrule", "torch")


class Worker:
    """An engine in a process of its own."""

    def __init__(self, engine, threads):
        here = Path(__file__).parent
        self.process = subprocess.Popen(
            [sys.executable, here / "worker.py", engine, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=here,
        )
        self.version = self.process.stdout.readline().strip()
        if not self.version:
            sys.exit(f"the {engine} worker did not start: is {engine} installed?")

    def times(self, case, repetitions):
        self.process.stdin.write(f"{case} {repetitions}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(threads, rounds, repetitions, cases=tuple(CASES)):
    """{case: {engine: [seconds, ...]}} and the engines' versions."""
    workers = {engine: Worker(engine, threads) for engine in ENGINES}
    results = {case: {engine: [] for engine in ENGINES} for case in cases}
    for case, times in results.items():
        for _ in range(rounds):
            for engine, worker in workers.items():
                times[engine] += worker.times(case, max(round(repetitions * CASES[case][1]), 1))
    versions = {engine: worker.version for engine, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    return results, versions


def table(results, versions, threads):
    """The results as Markdown."""
    lines = [
        f"chainrule {versions['chainrule']}, PyTorch {versions['torch']}, {threads} threads; milliseconds",
        "",
        "| training step | chainrule min | median | PyTorch min | median | ratio of min | of median |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, engines in results.items():
        own, peer = engines["chainrule"], engines["torch"]
        a, b, c, d = min(own), statistics.median(own), min(peer), statistics.median(peer)
        figures = " | ".join(f"{1e3 * t:.3f}" for t in (a, b, c, d))
        lines.append(f"| {CASES[case][0]} | {figures} | {a / c:.2f} | {b / d:.2f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--json", type=Path, help="write every time here")
    options = parser.parse_args()
    results, versions = compare(options.threads, options.rounds, options.repetitions, options.cases)
    print(table(results, versions, options.threads))
    if options.json:
        options.json.write_text(json.dumps({"versions": versions, "seconds": results}))


if __name__ == "__main__":
    main()
