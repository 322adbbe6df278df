//! The environments of the example `gym_environment` are Gymnasium's: what was recorded there happens here.

#[path = "../examples/gym_environment/envs/mod.rs"]
#[allow(dead_code, reason = "the example needs more of it")]
mod envs;
mod programs;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use envs::{Random, Refused, make};
use programs::run;

const TOLERANCE: f64 = 1e-6;

/// An episode as Gymnasium played it; `tests/data/gymnasium/record.py` wrote it.
struct Episode {
    env: String,
    policy: String,
    seed: u64,
    end: String,
    rewards: Vec<f64>,
    /// The exact state before some of the steps, the first among them.
    states: BTreeMap<usize, Vec<f64>>,
    actions: Vec<usize>,
    /// What `reset` showed, then each step.
    observations: Vec<Vec<f32>>,
}

impl Episode {
    /// Reads a line of `episodes.txt`; the numbers that belong to it are the next of `observed`.
    fn parse(line: &str, observed: &mut impl Iterator<Item = f32>) -> Option<Self> {
        let columns: [&str; 7] = line.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let [env, policy, seed, end, rewards, states, actions] = columns;
        let mut episode = Self {
            env: env.into(),
            policy: policy.into(),
            seed: seed.parse().ok()?,
            end: end.into(),
            rewards: Vec::new(),
            states: BTreeMap::new(),
            actions: actions
                .chars()
                .map(|digit| Some(digit.to_digit(10)? as usize))
                .collect::<Option<_>>()?,
            observations: Vec::new(),
        };
        for run in rewards.split(';') {
            let (value, steps) = run.split_once('x')?;
            episode.rewards.extend(vec![value.parse::<f64>().ok()?; steps.parse().ok()?]);
        }
        for state in states.split(';') {
            let (step, state) = state.split_once(':')?;
            let bits = state.split(',').map(|bits| u64::from_str_radix(bits, 16).ok().map(f64::from_bits));
            episode.states.insert(step.parse().ok()?, bits.collect::<Option<_>>()?);
        }
        let size = episode.states.get(&0)?.len();
        episode.observations =
            (0..=episode.actions.len()).map(|_| observed.by_ref().take(size).collect()).collect();
        Some(episode)
    }

    /// Plays it again, and compares everything that can be seen.
    #[track_caller]
    fn assert_is_played_here(&self) {
        let what = format!("{}, {}, seed {}", self.env, self.policy, self.seed);
        let mut env = make(&self.env).expect("it was recorded");
        assert_near(&env.reset(Some(self.seed)), &self.observations[0], &what);
        assert_eq!(env.state_mut(), &self.states[&0], "{what}: drawn from the same random numbers");
        let steps = self.actions.len();
        for (n, action) in self.actions.iter().enumerate() {
            if let Some(state) = self.states.get(&n) {
                // The cosine of another C library may differ in its last bit, which grows from here on.
                let is_near = env.state_mut().iter().zip(state).all(|(a, b)| (a - b).abs() <= TOLERANCE);
                assert!(is_near, "{what}, step {n}: {:?} instead of {state:?}", env.state_mut());
                env.state_mut().copy_from_slice(state);
            }
            let step = env.step(*action).expect("the episode is not over");
            assert_near(&step.observation, &self.observations[n + 1], &format!("{what}, step {n}"));
            assert!((step.reward - self.rewards[n]).abs() <= TOLERANCE, "{what}, step {n}: {}", step.reward);
            let mut end = vec!["terminated"; step.terminated.into()];
            end.extend(vec!["truncated"; step.truncated.into()]);
            let expected = if n + 1 == steps { self.end.as_str() } else { "" };
            assert_eq!(end.join("+"), expected, "{what}, step {n} of {steps}");
        }
        assert_eq!(env.step(0).expect_err("it is over"), Refused::NoEpisode);
    }
}

#[track_caller]
fn assert_near(got: &[f32], expected: &[f32], what: &str) {
    let is_near = |(a, b): (&f32, &f32)| f64::from(a - b).abs() <= TOLERANCE;
    let are_near = got.len() == expected.len() && got.iter().zip(expected).all(is_near);
    assert!(are_near, "{what}: {got:?} instead of {expected:?}");
}

/// All that was recorded.
fn recorded() -> Vec<Episode> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/gymnasium");
    let text = fs::read_to_string(folder.join("episodes.txt")).expect("it is committed");
    let bytes = fs::read(folder.join("observations.f32")).expect("it is committed");
    let (numbers, rest) = bytes.as_chunks();
    let mut observed = numbers.iter().copied().map(f32::from_le_bytes);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let episodes = lines
        .map(|line| Episode::parse(line, &mut observed).unwrap_or_else(|| panic!("not an episode: {line}")));
    let episodes = episodes.collect();
    assert!(rest.is_empty() && observed.next().is_none(), "numbers that belong to no episode");
    episodes
}

#[test]
fn every_recorded_step_is_taken_here_too() {
    let mut seeds = BTreeMap::<_, Vec<_>>::new();
    for episode in recorded() {
        episode.assert_is_played_here();
        seeds.entry((episode.env, episode.policy)).or_default().push(episode.seed);
    }
    let policies = ["CartPole-v1", "MountainCar-v0"]
        .map(|env| seeds.keys().filter(|(recorded, _)| recorded == env).count());
    assert_eq!(policies, [3, 3]);
    assert!(seeds.values().all(|seeds| seeds.iter().copied().eq(0..20)), "{seeds:?}");
}

#[test]
fn without_a_seed_the_random_numbers_go_on() {
    let mut env = make("MountainCar-v0").expect("it is known");
    // `random = numpy.random.default_rng(7)`, then three times `random.uniform(-0.6, -0.4)`
    let positions = [-0.474_980_906_679_066_6, -0.420_557_239_806_084_95, -0.444_862_861_950_961_3];
    for (seed, position) in [Some(7), None, None].into_iter().zip(positions) {
        env.reset(seed);
        assert_eq!(env.state_mut(), [position, 0.0]);
    }
}

#[test]
fn what_is_out_of_order_is_refused_and_changes_nothing() {
    let mut env = make("CartPole-v1").expect("it is known");
    assert_eq!(env.step(0).expect_err("no episode has begun"), Refused::NoEpisode);
    env.reset(Some(1));
    let before = env.state_mut().to_vec();
    let refused = env.step(2).expect_err("there are two actions");
    assert_eq!(refused, Refused::UnknownAction { action: 2, actions: 2 });
    assert_eq!(refused.to_string(), "there is no action 2: the actions are 0 to 1");
    assert_eq!(env.state_mut(), before);
    assert!(env.step(1).is_ok());
}

#[test]
fn seeds_of_64_bits_are_spread_as_numpy_spreads_them() {
    // `numpy.random.default_rng(seed).uniform(0, 1)`
    for (seed, first) in [
        (0, 0.636_961_687_321_454_3),
        (0xffff_ffff, 0.251_943_568_044_996_5),
        (0x1_0000_0000, 0.889_738_791_278_134_3),
        (0x0123_4567_89ab_cdef, 0.711_270_611_080_170_8),
        (u64::MAX, 0.680_026_678_961_693_1),
    ] {
        assert_eq!(Random::from_seed(seed).uniform(0.0, 1.0).to_bits(), f64::to_bits(first), "seed {seed}");
    }
}

#[test]
fn an_unknown_environment_is_told_with_the_known_ones() {
    let said = run("gym_environment", &["--env", "CartPole-v0"]);
    assert!(!said.has_succeeded && said.stdout.is_empty(), "{}", said.stdout);
    let why = "no environment is called `CartPole-v0`; there are CartPole-v1, MountainCar-v0";
    assert!(said.stderr.contains(why), "{}", said.stderr);
}

#[test]
fn no_environments_and_no_episodes_are_refused() {
    for option in ["--envs", "--episodes"] {
        let said = run("gym_environment", &[option, "0"]);
        assert!(!said.has_succeeded && said.stdout.is_empty(), "{}", said.stdout);
        assert!(said.stderr.starts_with("error: invalid value '0' for '"), "{}", said.stderr);
    }
}
