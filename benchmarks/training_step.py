"""Training steps beside those of PyTorch, and of JAX and TensorFlow where they are installed.

    python benchmarks/training_step.py [--threads 2] [--rounds 12] [--repetitions 30] [--cases ...]
        [--engines chainrule torch ...] [--precision float32 bfloat16] [--json FILE]

The same net, weights, batch, threads and run. Prints for each case and engine the minimum and, in brackets, the median
of the times in milliseconds, and chainrule's beside each other engine's: below 1 chainrule is faster. A round times
one engine after the other, so that a slower moment of the machine meets all. In bfloat16 an engine runs under its
autocast, with float32 weights; where it has none the cell is empty.
"""

import argparse
import json
import statistics
from pathlib import Path

from engines import ENGINES, Worker, head, installed, row
from nets import NETS

# Repetitions in a round beside the option's number; 0 is one.
SHARE = {"lenet5": 0.5, "all_cnn_c": 0, "network_in_network": 0, "vgg_like": 0, "fast_cifar": 0}
CASES = (*NETS, "gate_chain")
SHORT = {"float32": "", "bfloat16": " bf16"}


def title(case):
    if case == "gate_chain":
        return "100 gates of 4 floats"
    return f"{NETS[case].title}, batch {NETS[case].batch}"


def columns(engines, precisions):
    """The pairs of an engine and a precision that are compared. bfloat16 is chainrule's and PyTorch's."""
    return [(e, p) for e in engines for p in precisions if p == "float32" or e in ("chainrule", "torch")]


def compare(threads, rounds, repetitions, cases, compared):
    """{case: {(engine, precision): [seconds, ...]}} and the engines' versions."""
    workers = {engine: Worker(engine, threads) for engine in dict(compared)}
    results = {case: {column: [] for column in compared} for case in cases}
    for case, times in results.items():
        count = max(round(repetitions * SHARE.get(case, 1)), 1)
        for _ in range(rounds):
            for engine, precision in compared:
                if case != "gate_chain":
                    settings = "training", case, NETS[case].batch, precision
                elif precision == "float32" and engine in ("chainrule", "torch"):
                    settings = ("gate_chain",)
                else:
                    continue
                times[engine, precision] += workers[engine].times(*settings, repetitions=count)
    versions = {engine: worker.version for engine, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    return results, versions


def table(results, versions, threads, compared):
    """The results as Markdown."""
    names = {(e, p): ENGINES[e] + SHORT[p] for e, p in compared}
    versions = ", ".join(f"{ENGINES[engine]} {version}" for engine, version in versions.items())
    # Each of chainrule's columns beside each other engine's of the same precision.
    ratios = [((e, p), (f, q)) for e, p in compared for f, q in compared if e == "chainrule" != f and p == q]
    cells = [
        "training step",
        *names.values(),
        *(f"{names[a]} / {names[b]}" for a, b in ratios),
    ]
    lines = [f"{versions}; {threads} threads; milliseconds, minimum (median)", "", head(cells)]
    for case, times in results.items():
        figures = [
            f"{1e3 * min(t):.3f} ({1e3 * statistics.median(t):.3f})" if t else "" for t in times.values()
        ]
        for a, b in ratios:
            a, b = times[a], times[b]
            both = a and b
            figures.append(
                f"{min(a) / min(b):.2f} ({statistics.median(a) / statistics.median(b):.2f})" if both else ""
            )
        lines.append(row([title(case), *figures]))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    trained = [engine for engine in ENGINES if engine != "onnxruntime"]
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--engines", nargs="+", choices=trained, default=installed(trained))
    parser.add_argument("--precision", nargs="+", choices=SHORT, default=["float32"])
    parser.add_argument("--json", type=Path, help="write every time here")
    options = parser.parse_args()
    compared = columns(options.engines, options.precision)
    results, versions = compare(options.threads, options.rounds, options.repetitions, options.cases, compared)
    print(table(results, versions, options.threads, compared))
    if options.json:
        seconds = {
            case: {f"{engine} {precision}": t for (engine, precision), t in times.items()}
            for case, times in results.items()
        }
        options.json.write_text(json.dumps({"versions": versions, "seconds": seconds}))


if __name__ == "__main__":
    main()
