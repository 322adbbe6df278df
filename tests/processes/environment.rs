//! What workers see: variables and devices.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mobula::prelude::*;
use mobula::{get, gpu_ids};

use crate::common::{Env, Latch};

#[remote(isolation = "process", env(COLOUR = "red", SHAPE = "round"))]
fn painted(name: &str) -> (Option<String>, u32) {
    (std::env::var(name).ok(), std::process::id())
}

#[remote(isolation = "process")]
fn plain(name: &str) -> (Option<String>, u32) {
    (std::env::var(name).ok(), std::process::id())
}

struct Painted;

#[remote(isolation = "process", env(COLOUR = "green"))]
impl Painted {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

pub(crate) fn variables_of_session_class_and_function(env: &Env) {
    let _running = env.start_with(env.config().env("COLOUR", "blue").env("SIZE", "large"));
    let of = |(value, _): (Option<String>, u32)| value;
    let plainly = |name: &str| of(plain::remote(name).get().expect("a call"));
    assert_eq!(plainly("COLOUR").as_deref(), Some("blue"), "the session's");
    assert_eq!(plainly("PATH"), std::env::var("PATH").ok(), "the program's own");
    assert_eq!(plainly("SHAPE"), None);
    assert_eq!(std::env::var("COLOUR").ok(), None, "the program's own is as it was");

    let painted_so = |name: &str| of(painted::remote(name).get().expect("a call"));
    assert_eq!(painted_so("COLOUR").as_deref(), Some("red"), "the function's goes before the session's");
    assert_eq!(painted_so("SHAPE").as_deref(), Some("round"));
    assert_eq!(painted_so("SIZE").as_deref(), Some("large"));
    let black = painted::options().env("COLOUR", "black").remote("COLOUR");
    assert_eq!(of(black.get().expect("a call")).as_deref(), Some("black"), "the call's goes before both");
    assert_eq!(plainly("COLOUR").as_deref(), Some("blue"), "a worker is used for its own kind only");

    let actors = [Painted::remote(), Painted::options().env("COLOUR", "white").remote()];
    let calls = actors.each_ref().map(|actor| actor.variable.remote("COLOUR"));
    assert_eq!(get(&calls).expect("calls"), [Some("green".to_owned()), Some("white".to_owned())]);
    let pids = ["COLOUR", "SIZE"].map(|name| painted::remote(name).get().expect("a call").1);
    assert_eq!(pids[0], pids[1], "one of the same kind is used again");
}

#[remote(isolation = "process", working_dir = "/")]
fn in_the_root() -> PathBuf {
    std::env::current_dir().expect("it is there")
}

struct Placed;

#[remote(isolation = "process", working_dir = "src")]
impl Placed {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn folder(&self) -> PathBuf {
        std::env::current_dir().expect("it is there")
    }
}

pub(crate) fn a_worker_runs_in_its_folder(env: &Env) {
    let _running = env.start();
    let own = std::env::current_dir().expect("it is there");
    assert_eq!(in_the_root::remote().get().expect("a call"), Path::new("/"));
    let tests = in_the_root::options().working_dir("tests");
    assert_eq!(tests.remote().get().expect("a call"), own.join("tests"), "the call's goes before");
    assert_eq!(Placed::remote().folder.remote().get().expect("a call"), own.join("src"));
    assert_eq!(std::env::current_dir().expect("it is there"), own, "the program's own is as it was");
    for error in [
        in_the_root::options().working_dir("/nowhere").remote().get().expect_err("no such folder"),
        Placed::options().working_dir("/nowhere").remote().folder.remote().get().expect_err("nor here"),
    ] {
        assert!(error.to_string().contains("/nowhere"), "{error}");
    }
}

/// The devices by the environment and by the grant, and the process.
type Devices = (Option<String>, Vec<u32>, u32);

fn devices() -> Devices {
    (std::env::var("CUDA_VISIBLE_DEVICES").ok(), gpu_ids(), std::process::id())
}

#[remote(isolation = "process", num_gpus = 1)]
fn on_a_gpu() -> Devices {
    devices()
}

#[remote(isolation = "process", num_gpus = 1)]
fn keep_a_gpu(latch: Latch) -> Devices {
    latch.wait();
    devices()
}

#[remote(isolation = "process")]
fn on_none() -> Devices {
    devices()
}

struct Driver;

#[remote(isolation = "process", num_gpus = 1)]
impl Driver {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn devices(&self) -> Devices {
        devices()
    }
}

#[track_caller]
fn assert_agree((visible, granted, _): &Devices, count: usize) {
    let ids: Vec<_> = granted.iter().map(u32::to_string).collect();
    assert_eq!(visible.as_deref(), Some(ids.join(",").as_str()));
    assert_eq!(granted.len(), count, "{granted:?}");
}

pub(crate) fn devices_are_those_that_were_granted(env: &Env) {
    let running = env.start_with(env.config().num_gpus(2.0));
    let latch = Latch::new();
    let two = [keep_a_gpu::remote(latch), keep_a_gpu::remote(latch)];
    latch.open();
    for devices in get(&two).expect("calls") {
        assert_agree(&devices, 1);
    }
    drop(two);
    for _ in 0..10 {
        assert_agree(&on_a_gpu::remote().get().expect("a call"), 1);
    }
    let both = on_a_gpu::options().num_gpus(2.0).remote().get().expect("a call");
    assert_agree(&both, 2);
    assert_eq!(both.1.iter().collect::<BTreeSet<_>>(), BTreeSet::from([&0, &1]));
    assert_agree(&on_none::remote().get().expect("a call"), 0);

    let actors = [Driver::remote(), Driver::remote()];
    let held = actors.each_ref().map(|actor| actor.devices.remote().get().expect("a call"));
    for devices in &held {
        assert_agree(devices, 1);
    }
    assert_ne!(held[0].1, held[1].1, "an actor's is its own");
    drop(actors);

    let half = Driver::options().num_gpus(0.5);
    let actors: [_; 4] = std::array::from_fn(|_| half.clone().remote());
    let held = actors.each_ref().map(|actor| actor.devices.remote().get().expect("a call"));
    for devices in &held {
        assert_agree(devices, 1);
    }
    let mut ids: Vec<_> = held.iter().map(|(_, granted, _)| granted[0]).collect();
    ids.sort_unstable();
    assert_eq!(ids, [0, 0, 1, 1], "two halves on each");
    drop((actors, running));

    let running = env.start();
    let (visible, granted, _) = on_none::remote().get().expect("a call");
    assert_eq!(visible, std::env::var("CUDA_VISIBLE_DEVICES").ok(), "no device is handed out: as outside");
    assert_eq!(granted, [0; 0]);
    drop(running);
}
