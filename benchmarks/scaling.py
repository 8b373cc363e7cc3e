"""How the cost of a training step grows with the batch, and falls with threads.

    python benchmarks/scaling.py [--engine chainrule] [--batches 1 2 4 ...] [--threads 1 2] [--rounds 3]
        [--seconds 0.3] [--cases ...]

Prints the minimum time of a step and of an image for each batch and number of threads, what doubling the batch did (2
is in proportion; more than 2.3, which is 15 % over, is marked) and what the threads gained.
"""

import argparse

from engines import ENGINES, Worker, head, row
from nets import NETS

CASES = ("mlp", "lenet5", "all_cnn_c")
ALLOWED = 1.15  # times in proportion


def measure(workers, case, batches, rounds, seconds):
    """{(threads, batch): least seconds of a step}, each timed for about `seconds` in each round."""
    least = {}
    for _ in range(rounds):
        for batch in batches:
            for threads, worker in workers.items():
                settings = "training", case, batch
                first = least.get((threads, batch)) or min(worker.times(*settings))
                repetitions = min(max(round(seconds / first), 1), 1000)
                times = worker.times(*settings, repetitions=repetitions)
                least[threads, batch] = min(first, *times)
    return least


def growth(least, threads, batch):
    """What the step costs beside that of half the batch, as text; marked where it is out of proportion."""
    half = least.get((threads, batch // 2)) if batch % 2 == 0 else None
    if half is None:
        return ""
    ratio = least[threads, batch] / half
    return f"{ratio:.2f}" + (" **over**" if ratio > 2 * ALLOWED else "")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engine", choices=ENGINES, default="chainrule")
    parser.add_argument("--batches", type=int, nargs="+", default=[2**i for i in range(10)])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args()
    workers = {threads: Worker(options.engine, threads) for threads in options.threads}
    print(f"{ENGINES[options.engine]} {workers[options.threads[0]].version}; milliseconds, minimum\n")
    cells = ["training step", "batch"]
    for threads in options.threads:
        cells += [f"{threads} thread{'s' * (threads > 1)}", "an image", "doubling"]
    gains = options.threads[1:]
    print(head([*cells, *(f"gain of {threads} threads" for threads in gains)]))
    over = 0
    for case in options.cases:
        least = measure(workers, case, options.batches, options.rounds, options.seconds)
        for batch in options.batches:
            cells = [NETS[case].title, batch]
            for threads in options.threads:
                time = least[threads, batch]
                grown = growth(least, threads, batch)
                over += "over" in grown
                cells += [f"{1e3 * time:.3f}", f"{1e3 * time / batch:.4f}", grown]
            cells += [f"{least[options.threads[0], batch] / least[t, batch]:.2f}" for t in gains]
            print(row(cells), flush=True)
    print(f"\n{over} doublings of the batch cost more than {2 * ALLOWED:.2f} times as much")
    for worker in workers.values():
        worker.close()


if __name__ == "__main__":
    main()
