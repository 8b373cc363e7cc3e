"""What augmented batches cost beside the training step that they feed, and beside PyTorch's.

    python benchmarks/augmentation.py [--threads 2] [--rounds 12] [--repetitions 30] [--cases ...] [--json FILE]

For each net a batch of its size: gathered at random from 20,000 images, half of them mirrored, moved by up to 2 pixels
with reflection, normalised by channel. chainrule's from images that are float32 and normalised beforehand, and from
bytes that are normalised on the way; PyTorch's from float32, as airbench does it: the images of each of the 25 shifts
together, then those to be mirrored (Jordan, 2024). Each in a process of its own, taking turns. The last two columns
are chainrule's batches beside chainrule's training step in float32: below 1 augmentation is faster than what it feeds.
A batch that takes longer than its step, by the minimum, is named on stderr, and the exit status is 1.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from engines import ENGINES, Worker, head, installed, row
from nets import NETS

STEP, FLOATS, BYTES, PEER = "training step", "float32", "uint8", "PyTorch"
COLUMNS = {STEP: "chainrule", FLOATS: "chainrule", BYTES: "chainrule", PEER: "torch"}  # and whose they are
LONG = 0.05  # seconds of a step of which a round has one


def asked(column, name):
    """What a worker is asked for."""
    if column == STEP:
        return "training", name, NETS[name].batch
    return ("augmentation", name) if column == PEER else ("augmentation", name, column)


def compare(threads, rounds, repetitions, cases):
    """{net: {column: [seconds, ...]}} and the engines' versions."""
    engines = installed(("chainrule", "torch"))
    workers = {column: Worker(engine, threads) for column, engine in COLUMNS.items() if engine in engines}
    results = {name: {column: [] for column in workers} for name in cases}
    for name, times in results.items():
        for _ in range(rounds):
            for column, worker in workers.items():
                count = 1 if min(times[column], default=0) > LONG else repetitions
                times[column] += worker.times(*asked(column, name), repetitions=count)
    versions = {COLUMNS[column]: worker.version for column, worker in workers.items()}
    for worker in workers.values():
        worker.close()
    return results, versions


def table(results, versions, threads):
    """The results as Markdown."""
    versions = ", ".join(f"{ENGINES[engine]} {version}" for engine, version in versions.items())
    columns = list(next(iter(results.values())))
    cells = [
        "batch of",
        *(column if column == STEP else f"augmented: {column}" for column in columns),
        *(f"{column} / step" for column in (FLOATS, BYTES)),
    ]
    lines = [f"{versions}; {threads} threads; milliseconds, minimum (median)", "", head(cells)]
    for name, times in results.items():
        figures = [f"{1e3 * min(t):.3f} ({1e3 * statistics.median(t):.3f})" for t in times.values()]
        figures += [
            f"{min(times[column]) / min(times[STEP]):.3f} "
            f"({statistics.median(times[column]) / statistics.median(times[STEP]):.3f})"
            for column in (FLOATS, BYTES)
        ]
        lines.append(row([f"{NETS[name].title}, batch {NETS[name].batch}", *figures]))
    return "\n".join(lines)


def slower(results):
    """The batches that take longer than the training step they feed, by the minimum."""
    return [
        f"{NETS[name].title}, {column}"
        for name, times in results.items()
        for column in (FLOATS, BYTES)
        if min(times[column]) > min(times[STEP])
    ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--cases", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--json", type=Path, help="write every time here")
    options = parser.parse_args()
    results, versions = compare(options.threads, options.rounds, options.repetitions, options.cases)
    print(table(results, versions, options.threads))
    if options.json:
        options.json.write_text(json.dumps({"versions": versions, "seconds": results}))
    if found := slower(results):
        sys.exit(f"slower than the training step: {'; '.join(found)}")


if __name__ == "__main__":
    main()
