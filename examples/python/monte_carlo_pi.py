#!/usr/bin/env python3
"""Estimates pi from random points with Ray: the twin of `examples/monte_carlo_pi.rs`.

    pip install "ray[default]"
    python examples/python/monte_carlo_pi.py [--workers N] [--samples N]

Tasks draw points in a square and count those in its quarter of a circle; each tells an actor of its progress, which the
driver asks for and prints. At the end it prints the estimate, and how many samples a second were drawn.
"""

import argparse
import os
import random
import time

import ray

# Samples from one report of a task to its next.
REPORT_SAMPLES = 1_000_000


@ray.remote(num_cpus=0)
class Progress:
    """Hears from every task how many of its samples are drawn."""

    def __init__(self, samples_all):
        self.samples_all, self.drawn = samples_all, {}

    def report(self, task, samples):
        self.drawn[task] = samples

    def progress(self):
        return sum(self.drawn.values()) / self.samples_all


@ray.remote
def sample(count, task, progress):
    draw, inside = random.Random(task).random, 0
    for drawn in range(1, count + 1):
        x, y = draw(), draw()
        inside += x * x + y * y <= 1
        if drawn % REPORT_SAMPLES == 0 or drawn == count:
            progress.report.remote(task, drawn)
    return inside


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="how many tasks draw (one a CPU)")
    parser.add_argument("--samples", type=int, default=20_000_000, help="points that all of them draw (20,000,000)")
    options = parser.parse_args()
    if min(options.workers, options.samples) < 1:
        parser.error("--workers and --samples are at least 1")

    ray.init(logging_level="ERROR")
    samples_all = options.samples
    progress = Progress.remote(samples_all)
    # Ray starts its processes when they are first needed; that is not the work.
    ray.get([progress.progress.remote(), *(sample.remote(0, 0, progress) for _ in range(options.workers))])

    start = time.perf_counter()
    share, rest = divmod(samples_all, options.workers)
    tasks = [sample.remote(share + (task < rest), task, progress) for task in range(options.workers)]
    waiting, told = tasks, -1
    while waiting:
        _, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=0.1)
        percent = int(ray.get(progress.progress.remote()) * 100)
        if percent > told:
            print(f"Progress: {percent}%", flush=True)
            told = percent
    inside = sum(ray.get(tasks))
    seconds = time.perf_counter() - start
    print(f"Estimated value of pi: {4 * inside / samples_all}")
    print(f"{samples_all} samples in {seconds:.3f} s: {samples_all / seconds:.0f} samples/s")


if __name__ == "__main__":
    main()
