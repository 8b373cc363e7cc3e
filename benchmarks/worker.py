"""A process that times one engine's steps on request: `python worker.py ENGINE THREADS`.

Reads lines "CASE[:SETTING,...] REPETITIONS" and answers each with a JSON list of seconds; the first line it writes is
the engine's version. Each engine has a process of its own, so that two OpenMP run-times never share one.
"""

import importlib
import json
import sys
import time

MOST_CASES = 2  # whose memory is held at a time
SETTLE = 0.05  # seconds, in which the threads of the engine before stop spinning on the cores


def main():
    engine = importlib.import_module(f"steps_{sys.argv[1]}")
    engine.set_threads(int(sys.argv[2]))
    print(engine.version, flush=True)
    steps = {}
    for line in sys.stdin:
        case, repetitions = line.split()
        first = case not in steps
        if first:
            if len(steps) == MOST_CASES:
                steps.clear()
            name, _, settings = case.partition(":")
            steps[case] = getattr(engine, name)(*settings.split(",")) if settings else getattr(engine, name)()
        step = steps[case]
        time.sleep(SETTLE)
        for _ in range(3 if first else 1):
            step()
        times = []
        for _ in range(int(repetitions)):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
