#!/usr/bin/env python3
"""Adds eight numbers in a line and as a tree with Ray: the twin of `examples/tree_aggregation.rs`.

    pip install "ray[default]"
    python examples/python/tree_aggregation.py [--unit-ms N]

Each addition takes one unit of time. In a line they take seven units, as a tree three.
"""

import argparse
import time

import ray


@ray.remote
def add(x, y, unit):
    time.sleep(unit)
    return x + y


def in_a_line(values, unit):
    while len(values) > 1:
        values = [add.remote(values[0], values[1], unit)] + values[2:]
    return values[0]


def as_a_tree(values, unit):
    while len(values) > 1:
        values = values[2:] + [add.remote(values[0], values[1], unit)]
    return values[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--unit-ms", type=int, default=200, help="milliseconds that an addition takes (200)")
    options = parser.parse_args()
    if options.unit_ms < 1:
        parser.error("--unit-ms is at least 1")
    unit = options.unit_ms / 1000

    ray.init(num_cpus=4, logging_level="ERROR")
    # Ray starts its processes when they are first needed; that is not the work.
    ray.get([add.remote(0, 0, 0.5) for _ in range(4)])
    for name, aggregate in [("in a line", in_a_line), ("as a tree", as_a_tree)]:
        start = time.perf_counter()
        total = ray.get(aggregate(list(range(1, 9)), unit))
        seconds = time.perf_counter() - start
        print(f"{name}: {total} in {seconds / unit:.0f} units of time, {seconds * 1000:.0f} ms")


if __name__ == "__main__":
    main()
