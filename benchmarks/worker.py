"""A process that runs one engine's steps on request: `python worker.py ENGINE THREADS`.

The first line it writes is the engine's version. Then it answers each line [COMMAND, CASE, [SETTING, ...], ...], JSON,
with a line of JSON: see `engines.Worker`, its other side. CASE names a function of steps_ENGINE.py, which takes the
settings and returns a step without arguments. Each engine has a process of its own, so that two OpenMP run-times never
share one.
"""

import contextlib
import importlib
import json
import sys
import time

MOST_CASES = 2  # whose memory is held at a time
SETTLE = 0.05  # seconds, in which the threads of the engine before stop spinning on the cores
WARM_UP = 0.5  # seconds after which a case is warm, however slow


class Cases:
    """The steps made so far, the latest few."""

    def __init__(self, engine):
        self.engine = engine
        self.steps = {}

    def step(self, case, settings):
        """The step, and whether it is new."""
        key = (case, *settings)
        if key in self.steps:
            return self.steps[key], False
        if len(self.steps) == MOST_CASES:
            self.steps.clear()
        self.steps[key] = getattr(self.engine, case)(*settings)
        return self.steps[key], True

    def times(self, case, settings, repetitions):
        try:
            step, new = self.step(case, settings)
        except NotImplementedError:
            return []
        time.sleep(SETTLE)
        start = time.perf_counter()
        for _ in range(3 if new else 1):
            step()
            if time.perf_counter() - start > WARM_UP:
                break
        times = []
        for _ in range(repetitions):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        return times

    def memory(self, case, settings, steps):
        step, _ = self.step(case, settings)
        reset_peak()
        before = status("VmRSS")
        for _ in range(steps):
            step()
        return [before, status("VmHWM")]

    def value(self, case, settings):
        return getattr(self.engine, case)(*settings)


def status(name):
    """A size of this process in bytes, as Linux counts it: VmRSS is resident now, VmHWM at most so far."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name + ":"))


def reset_peak():
    """Begin VmHWM anew. Where that is not allowed it counts from the process's start."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def main():
    engine = importlib.import_module(f"steps_{sys.argv[1]}")
    engine.set_threads(int(sys.argv[2]))
    print(engine.version, flush=True)
    cases = Cases(engine)
    for line in sys.stdin:
        command, case, settings, *more = json.loads(line)
        print(json.dumps(getattr(cases, command)(case, settings, *more)), flush=True)


if __name__ == "__main__":
    main()
