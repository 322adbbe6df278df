"""Records episodes of Gymnasium, which tests/gym_environment.rs plays again; or compares them with Gymnasium.

    record.py                 writes episodes.txt and observations.f32 beside this file
    record.py --compare       plays the actions in episodes.txt anew, and compares every step to 1e-6

episodes.txt has a line for each episode, and says what its columns are. observations.f32 has what was
observed, as Gymnasium gives it: 32-bit floats, low byte first, episode after episode, the one of `reset`
before those of the steps.
"""

import argparse
import itertools
import math
import struct
import sys
from pathlib import Path

import gymnasium
import numpy

FOLDER = Path(__file__).parent
SEEDS = range(20)
# After so many steps the exact state is noted, and the player goes on from it: a pole that is kept upright
# makes a difference in the last bit of a cosine, from one C library to the next, e^4 times larger each second.
STEPS_BETWEEN_STATES = 200
TOLERANCE = 1e-6

COLUMNS = "environment, policy, seed, end, rewards (value x steps), exact states (step:bits of each f64), actions"


def random(env):
    return lambda _: env.action_space.sample()


def balance(seen):
    """Keeps the pole upright; where the cart is too far out, by driving it off the track."""
    lean = -0.15 if seen[0] > 0.2 else 0.15 if seen[0] < -0.2 else 0
    return int(seen[2] + 0.25 * seen[3] + lean > 0)


POLICIES = {
    "CartPole-v1": {
        "random": random,
        "lean": lambda _: lambda seen: int(seen[2] > 0),
        "balance": lambda _: balance,
    },
    "MountainCar-v0": {
        "random": random,
        "swing": lambda _: lambda seen: 0 if seen[1] < 0 else 2,
        "turn_back": lambda _: lambda seen: 0 if seen[1] < 0 or seen[0] > 0 else 2,
    },
}


def play(env, seed, choose, states=None):
    """An episode: what it says in a line of episodes.txt, and what was observed.

    With states of an earlier time: goes on from them, where there are any."""
    seen, _ = env.reset(seed=seed)
    observed, rewards, actions, noted = [seen], [], [], {}
    ends = []
    while not ends:
        if len(actions) % STEPS_BETWEEN_STATES == 0:
            noted[len(actions)] = [float(value) for value in env.unwrapped.state]
            if states:
                env.unwrapped.state = numpy.array(states[len(actions)])
        action = choose(seen)
        seen, reward, terminated, truncated, _ = env.step(action)
        observed.append(seen)
        rewards.append(float(reward))
        actions.append(int(action))
        ends = ["terminated"] * terminated + ["truncated"] * truncated
    return {"end": "+".join(ends), "rewards": rewards, "states": noted, "actions": actions}, numpy.array(observed)


def episodes():
    """What is to be played: environment, its name, the policy's name, how it chooses, the seed."""
    for name, policies in POLICIES.items():
        env = gymnasium.make(name)
        for policy, seed in itertools.product(policies, SEEDS):
            env.action_space.seed(seed)
            yield env, name, policy, policies[policy](env), seed


def versions():
    return f"Gymnasium {gymnasium.__version__} and NumPy {numpy.__version__}"


def record():
    lines, observed = [f"# Recorded by record.py with {versions()}", f"# {COLUMNS}"], []
    for env, name, policy, choose, seed in episodes():
        episode, seen = play(env, seed, choose)
        runs = [f"{value:g}x{len(list(run))}" for value, run in itertools.groupby(episode["rewards"])]
        states = [
            f"{step}:" + ",".join(struct.pack(">d", value).hex() for value in state)
            for step, state in episode["states"].items()
        ]
        actions = "".join(map(str, episode["actions"]))
        columns = [name, policy, str(seed), episode["end"], ";".join(runs), ";".join(states), actions]
        lines.append(" ".join(columns))
        observed.append(seen.astype("<f4").tobytes())
    (FOLDER / "episodes.txt").write_text("\n".join(lines) + "\n")
    (FOLDER / "observations.f32").write_bytes(b"".join(observed))
    print(f"recorded {len(observed)} episodes with {versions()}")


def recorded():
    """What episodes.txt says of each episode."""
    for line in (FOLDER / "episodes.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        name, policy, seed, end, runs, states, actions = line.split()
        runs = [run.split("x") for run in runs.split(";")]
        states = [state.split(":") for state in states.split(";")]
        yield (name, policy, int(seed)), {
            "end": end,
            "rewards": [float(value) for value, steps in runs for _ in range(int(steps))],
            "states": {
                int(step): [struct.unpack(">d", bytes.fromhex(bits))[0] for bits in state.split(",")]
                for step, state in states
            },
            "actions": [int(action) for action in actions],
        }


def compare():
    known, observed = dict(recorded()), numpy.fromfile(FOLDER / "observations.f32", "<f4")
    place, steps, difference_max = 0, 0, 0.0
    for env, name, policy, _, seed in episodes():
        what = f"{name}, {policy}, seed {seed}"
        if (name, policy, seed) not in known:
            sys.exit(f"{what}: not recorded")
        before = known.pop((name, policy, seed))
        actions = iter(before["actions"])
        # An episode that goes on behind its recorded end is told as one that ends there differently.
        now, seen = play(env, seed, lambda _: next(actions, 0), before["states"])
        for column in ("end", "rewards", "actions"):
            if now[column] != before[column]:
                sys.exit(f"{what}: recorded with other {column}")
        for step, state in before["states"].items():
            if any(not math.isclose(a, b, abs_tol=TOLERANCE) for a, b in zip(state, now["states"][step], strict=True)):
                sys.exit(f"{what}: its state at step {step} was {state}, now it is {now['states'][step]}")
        if observed.size < place + seen.size:
            sys.exit(f"{what}: too few observations")
        difference = numpy.abs(seen.ravel() - observed[place : place + seen.size])
        if not (difference <= TOLERANCE).all():
            sys.exit(f"{what}: observations differ by up to {difference.max(initial=0):g}")
        place, steps = place + seen.size, steps + len(now["actions"])
        difference_max = max(difference_max, float(difference.max()))
    if known or place < observed.size:
        sys.exit(f"more is recorded than is played: {len(known)} episodes, {observed.size - place} numbers")
    print(f"recorded anew with {versions()}: {steps} steps as recorded, {difference_max:g} apart at most")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="Records episodes of Gymnasium.")
    options.add_argument("--compare", action="store_true", help="compare with what is recorded, and write nothing")
    (compare if options.parse_args().compare else record)()
