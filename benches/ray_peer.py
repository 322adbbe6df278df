#!/usr/bin/env python3
"""The rows of `cargo bench --bench microbench`, measured with Ray on the same machine.

    pip install "ray[default]" numpy
    python benches/ray_peer.py [FILTER ...] [--json] [--rounds N]

Each row has the name, the unit and the batch of the row there, and prints the median of its rounds; the work
of a round is smaller, since calls are slower here, and it is checked that all of it was done. The rows of
`put`, `get` and of tasks and actors called one by one are those of Ray's own `ray microbenchmark`.
"""

import argparse
import json
import os
import statistics
import time

import numpy
import ray

IN_FLIGHT = 1_000
CALLERS, CALLEES = 2, 4
LARGE = 800_000_000


@ray.remote
def echo(i):
    return i


@ray.remote
class Sync:
    def echo(self, i):
        return i


@ray.remote
class Async:
    async def echo(self, i):
        return i


@ray.remote(num_cpus=0)
class Caller:
    def call(self, actors, calls):
        return in_batches(calls, lambda i: actors[i % len(actors)].echo.remote(i))


def in_batches(count, call):
    """Sends IN_FLIGHT calls, gets them all, sends the next."""
    total = 0
    for start in range(0, count, IN_FLIGHT):
        total += sum(ray.get([call(i) for i in range(start, min(start + IN_FLIGHT, count))]))
    return total


def one_at_a_time(count, call):
    return sum(ray.get(call(i)) for i in range(count))


def put_small(count):
    return sum(int(ray.put(i) is not None) * i for i in range(count))


def wait_one_by_one(refs):
    count = 0
    while refs:
        ready, refs = ray.wait(refs, num_returns=1)
        count += len(ready)
    return count


class Peer:
    """The actors that stand, and the rows."""

    def __init__(self, rounds):
        self.rounds = rounds
        self.sync = Sync.remote()
        self.other = Async.remote()
        self.four = [Sync.remote() for _ in range(CALLEES)]
        self.callers = [Caller.remote() for _ in range(CALLERS)]
        ray.get([actor.echo.remote(1) for actor in [self.sync, self.other, *self.four]])

    def many_to_many(self, count):
        each = count // CALLERS
        return sum(ray.get([caller.call.remote(self.four, each) for caller in self.callers]))

    def rows(self):
        """Name, unit, and what makes one value of it."""
        sync, other = self.sync.echo.remote, self.other.echo.remote
        many_sum = CALLERS * sum(range(5_000 // CALLERS))
        return [
            ("sync-actor calls, 1,000 in flight", "calls/s", calls(5_000, lambda n: in_batches(n, sync))),
            ("async-actor calls, 1,000 in flight", "calls/s", calls(5_000, lambda n: in_batches(n, other))),
            ("tasks, 1,000 in flight", "calls/s", calls(3_000, lambda n: in_batches(n, echo.remote))),
            ("one call and get, sync actor", "calls/s", calls(1_000, lambda n: one_at_a_time(n, sync))),
            ("one call and get, task", "calls/s", calls(500, lambda n: one_at_a_time(n, echo.remote))),
            ("one call and get, async actor", "calls/s", calls(1_000, lambda n: one_at_a_time(n, other))),
            (
                "n:n: 2 callers, 4 sync actors, 1,000 in flight",
                "calls/s",
                calls(5_000, self.many_to_many, many_sum),
            ),
            ("put of a number", "calls/s", calls(2_000, put_small)),
            ("get of a number", "calls/s", get_small),
            ("put of 800 MB", "GB/s", put_large),
            ("wait on 1,000 refs, one at a time, by value", "us", wait_for_thousand),
            ("reads of an object that holds 10,000 refs", "reads/s", self.read_refs),
        ]

    def read_refs(self):
        held = ray.put([ray.put(i) for i in range(10_000)])
        took, read = timed(lambda: sum(len(ray.get(held)) for _ in range(3)))
        assert read == 30_000
        return 3 / took


def timed(work):
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


def calls(count, work, expected=None):
    """Calls per second, of which it is checked that all were made."""
    expected = sum(range(count)) if expected is None else expected

    def measure():
        took, total = timed(lambda: work(count))
        assert total == expected, f"{total}, not {expected}: not all calls were made"
        return count / took

    return measure


def get_small():
    ref, count = ray.put(1), 5_000
    took, total = timed(lambda: sum(ray.get(ref) for _ in range(count)))
    assert total == count
    return count / took


def put_large():
    array = numpy.ones(LARGE, dtype=numpy.uint8)
    took, ref = timed(lambda: ray.put(array))
    assert ray.get(ref).nbytes == LARGE
    return LARGE / 1e9 / took


def wait_for_thousand():
    refs = [ray.put(i) for i in range(1_000)]
    took, count = timed(lambda: wait_one_by_one(refs))
    assert count == 1_000
    return took * 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("filters", nargs="*", metavar="FILTER", help="rows whose names contain one of these")
    parser.add_argument("--json", action="store_true", help="one object a line")
    parser.add_argument("--rounds", type=int, default=5, help="the median of so many (5)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is at least 1")

    # Room for more than one large object: the one before may not have gone yet.
    ray.init(num_cpus=os.cpu_count(), object_store_memory=3 * LARGE, logging_level="ERROR")
    peer = Peer(options.rounds)
    wanted = [row for row in peer.rows() if not options.filters or any(part in row[0] for part in options.filters)]
    if not wanted:
        parser.error("no row has such a name")
    for row, unit, measure in wanted:
        measure()
        value = statistics.median(measure() for _ in range(peer.rounds))
        if options.json:
            print(json.dumps({"row": row, "unit": unit, "value": round(value, 3)}), flush=True)
        else:
            print(f"{row:<48} {value:>12,.2f} {unit}", flush=True)


if __name__ == "__main__":
    main()
