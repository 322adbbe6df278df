#!/usr/bin/env python3
"""Counts the words in trees of text files with Ray: the twin of `examples/word_count`.

    pip install "ray[default]" regex==2026.1.15
    python examples/python/word_count.py [--top N] [--no-progress] PATH ...

The work is the same: tasks count batches of files, a tree of tasks adds their counts up pair by pair, and an
actor hears of every file. What a word is, and which files are skipped, is the same as well, and so are the
lines that are printed; only the times differ.
"""

import argparse
import os
import stat
import sys
import time
from collections import Counter

import ray
import regex

BATCH_BYTES_MIN, BATCH_BYTES_MAX = 256 * 1024, 8 * 1024 * 1024
BATCHES_PER_CPU = 8
# Python's own `\w` leaves out some signs that Unicode calls alphabetic. Which these are changes from one version
# of Unicode to the next: that of this `regex` is Unicode 17, as in Rust 1.95.
WORD = regex.compile(r"[\p{Alphabetic}\p{N}_]+")


class Tally:
    """The words of some files, and what was skipped."""

    def __init__(self):
        self.words, self.files, self.bytes, self.skipped = Counter(), 0, 0, []

    def add_file(self, path):
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError as error:
            self.skipped.append(f"{path}: {error.strerror}")
            return 0
        try:
            self.words.update(WORD.findall(content.decode("utf-8")))
            self.files += 1
            self.bytes += len(content)
        except UnicodeDecodeError as error:
            self.skipped.append(f"{path}: not UTF-8: {error.reason}")
        return len(content)

    def merged(self, other):
        more, less = (self, other) if len(self.words) >= len(other.words) else (other, self)
        for word, times in less.words.items():
            more.words[word] += times
        more.files += less.files
        more.bytes += less.bytes
        more.skipped += less.skipped
        return more


@ray.remote(num_cpus=0)
class Progress:
    """Hears of every file, and says how far the work is."""

    def __init__(self, files_all, bytes_all, is_shown):
        self.files_all, self.bytes_all, self.is_shown = files_all, max(bytes_all, 1), is_shown
        self.files, self.bytes = 0, 0

    def advance(self, size):
        before = self.bytes * 10 // self.bytes_all
        self.files, self.bytes = self.files + 1, self.bytes + size
        now = self.bytes * 10 // self.bytes_all
        if self.is_shown and now > before:
            print(f"{now * 10:>3} %: {self.files} of {self.files_all} files", file=sys.stderr, flush=True)

    def finish(self):
        pass


@ray.remote
def count(paths, progress):
    tally = Tally()
    for path in paths:
        progress.advance.remote(tally.add_file(path))
    return tally


@ray.remote
def merge(left, right):
    return left.merged(right)


def files_of(roots):
    """The files at and below `roots` with their sizes, and what is in the way."""
    files, skipped = [], []
    for root in roots:
        left = [root]
        while left:
            path = left.pop()
            try:
                data = os.stat(path)
                is_folder = stat.S_ISDIR(data.st_mode)
                if is_folder and (path == root or not os.path.islink(path)):
                    left += sorted((os.path.join(path, name) for name in os.listdir(path)), reverse=True)
                elif stat.S_ISREG(data.st_mode):
                    files.append((path, data.st_size))
                else:
                    what = "a link to a folder is not followed" if is_folder else "not a file"
                    skipped.append(f"{path}: {what}")
            except OSError as error:
                skipped.append(f"{path}: {error.strerror}")
    return files, skipped


def batches_of(files):
    """The files in batches of about the same size in bytes."""
    share = sum(size for _, size in files) // (os.cpu_count() * BATCHES_PER_CPU)
    share = min(max(share, BATCH_BYTES_MIN), BATCH_BYTES_MAX)
    batch, batch_bytes = [], 0
    for path, size in files:
        if batch_bytes > 0 and batch_bytes + size > share:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(path)
        batch_bytes += size
    if batch:
        yield batch


def tree_reduce(refs, combine):
    """Combines neighbours, then their results, until one is left."""
    while len(refs) > 1:
        pairs = [combine.remote(*refs[n : n + 2]) for n in range(0, len(refs) - 1, 2)]
        refs = pairs + refs[len(pairs) * 2 :]
    return refs[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", metavar="PATH", help="files and folders to count")
    parser.add_argument("--top", type=int, default=20, help="how many of the most frequent words are printed (20)")
    parser.add_argument("--no-progress", action="store_true", help="say nothing of how far the work is")
    options = parser.parse_args()

    files, skipped = files_of(options.paths)
    ray.init(logging_level="ERROR", log_to_driver=not options.no_progress)
    progress = Progress.remote(len(files), sum(size for _, size in files), not options.no_progress)
    # Ray starts its processes when they are first needed; that is not the work.
    ray.get([progress.finish.remote(), *(count.remote([], progress) for _ in range(os.cpu_count()))])

    start = time.perf_counter()
    counts = [count.remote(batch, progress) for batch in batches_of(files)]
    tally = ray.get(tree_reduce(counts, merge)) if counts else Tally()
    seconds = time.perf_counter() - start
    ray.get(progress.finish.remote())

    for line in tally.skipped + skipped:
        print(f"skipped {line}", file=sys.stderr)
    most = sorted(tally.words.items(), key=lambda entry: (-entry[1], entry[0]))
    for word, times in most[: max(options.top, 0)]:
        print(f"{times:>10}  {word}")
    total, skips, size = sum(tally.words.values()), len(tally.skipped + skipped), tally.bytes / 1e6
    print(f"{total} words, {len(most)} different, in {tally.files} files; {skips} skipped")
    speed = f"{tally.files / seconds:.0f} files/s, {size / seconds:.1f} MB/s"
    print(f"{size:.1f} MB in {seconds:.3f} s: {speed}")


if __name__ == "__main__":
    main()
