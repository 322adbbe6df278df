#!/usr/bin/env python3
"""Adds eight numbers one after the other and as a tree with Ray: the twin of `examples/tree_aggregation.rs`.

    pip install "ray[default]"
    python examples/python/tree_aggregation.py [--unit SECONDS]

Each addition takes one unit of time. One after the other they take seven units, as a tree three.
"""

import argparse
import time

import ray


@ray.remote
def add(x, y, unit):
    time.sleep(unit)
    return x + y


def one_after_the_other(values, unit):
    while len(values) > 1:
        values = [add.remote(values[0], values[1], unit)] + values[2:]
    return values[0]


def as_a_tree(values, unit):
    while len(values) > 1:
        values = values[2:] + [add.remote(values[0], values[1], unit)]
    return values[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--unit", type=float, default=1.0, help="seconds that an addition takes (1)")
    options = parser.parse_args()
    if options.unit <= 0:
        parser.error("--unit is more than 0")

    ray.init(num_cpus=4, logging_level="ERROR")
    # Ray starts its processes when they are first needed; that is not the work.
    ray.get([add.remote(0, 0, 0.5) for _ in range(4)])
    for name, aggregate in [("one after the other", one_after_the_other), ("as a tree", as_a_tree)]:
        start = time.perf_counter()
        total = ray.get(aggregate(list(range(1, 9)), options.unit))
        units = (time.perf_counter() - start) / options.unit
        print(f"{name}: 1 + 2 + ... + 8 = {total} in {units:.1f} units")


if __name__ == "__main__":
    main()
