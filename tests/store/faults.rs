//! Files that are not as they were, disks that are full.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mobula::prelude::*;
use mobula::{put, store_stats};
use serde::{Deserialize, Serialize};

use crate::common::{Env, assert_fails};
use crate::{MIB, Small, block};

const BLOCK: usize = 1 << 20;

pub(crate) fn a_flipped_byte_is_an_object_lost(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 4 * MIB));
    let refs: Vec<_> = (0..40).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    let file = small.files().pop().expect("there is one");
    let mut random = fastrand::Rng::with_seed(7);
    let mut lost = 0;
    for round in 0..1_000 {
        let whole = fs::metadata(&file).expect("it is there").len();
        let at = random.u64(..whole);
        flip(&file, at);
        // Values lie in the order in which they left, each with a head of a few bytes.
        let near = (at / BLOCK as u64) as usize;
        for (n, object) in refs.iter().enumerate().take(near + 2).skip(near.saturating_sub(1)) {
            // From memory or from the file.
            match object.get() {
                Ok(bytes) => assert!(bytes == block(n as u64, BLOCK), "{n} is wrong in round {round}"),
                Err(error) => {
                    lost += 1;
                    assert_eq!(error.kind(), ErrorKind::ObjectLost);
                    let text = error.to_string();
                    assert!(text.contains("`put`") && text.contains(".spill at "), "{text}");
                }
            }
        }
        flip(&file, at);
    }
    assert!(lost > 500, "{lost}");
    for (n, object) in refs.iter().enumerate() {
        assert!(object.get().expect("the file is as it was") == block(n as u64, BLOCK));
    }
}

fn flip(file: &Path, at: u64) {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().read(true).write(true).open(file).expect("it is there");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("it is so long");
    file.write_all_at(&[byte[0] ^ (1 << (at % 8))], at).expect("it can be written");
}

pub(crate) fn a_file_that_is_cut_is_an_object_lost(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 4 * MIB));
    let refs: Vec<_> = (0..20).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    let file = small.files().pop().expect("there is one");
    let bytes = fs::read(&file).expect("it is there");
    fs::write(&file, &bytes[..BLOCK / 2]).expect("it can be written");
    assert_fails(refs[0].get(), ErrorKind::ObjectLost);
    assert_fails(refs[0].get(), ErrorKind::ObjectLost);
    assert_fails(refs[5].view(), ErrorKind::ObjectLost);
    fs::write(&file, &bytes).expect("it can be written");
    assert!(refs[0].get().expect("the file is as it was") == block(0, BLOCK));
}

/// A disk of so many bytes, if one can be had.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let option = format!("size={size}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &option, "tmpfs"]).arg(dir.path()).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(dir))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

pub(crate) fn a_full_disk_is_told_and_nothing_is_lost(env: &Env) {
    let Some(disk) = Disk::mount("8m") else {
        println!("not run: no disk can be mounted here");
        return;
    };
    let config = env.config().isolation("thread").object_store_memory(4 * MIB).spill_dir(disk.0.path());
    let _session = env.start_with(config.store_wait(Duration::from_millis(200)));
    let mut refs = Vec::new();
    let error = loop {
        match put(block(refs.len() as u64, BLOCK)) {
            Ok(object) => refs.push(object),
            Err(error) => break error,
        }
        assert!(refs.len() < 20, "the disk is full");
    };
    assert_eq!(error.kind(), ErrorKind::StoreFull);
    assert!(error.to_string().contains("No space left"), "{error}");
    assert!(refs.len() >= 10, "{}", refs.len());
    let check = |refs: &[ObjectRef<Vec<u8>>]| {
        for (n, object) in refs.iter().enumerate() {
            match object.get() {
                Ok(bytes) => assert!(bytes == block(n as u64, BLOCK), "{n}"),
                // There is no room to bring it back while the others cannot leave.
                Err(error) => assert_eq!(error.kind(), ErrorKind::StoreFull, "{error}"),
            }
        }
    };
    check(&refs);
    let rest = refs.split_off(6);
    drop(rest);
    for (n, object) in refs.iter().enumerate() {
        assert!(object.get().expect("there is space again") == block(n as u64, BLOCK));
    }
    refs.push(put(block(6, BLOCK)).expect("there is space again"));
    check(&refs);
}

pub(crate) fn a_directory_that_is_removed_is_made_again(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 4 * MIB));
    let mut refs: Vec<_> = (0..80).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    fs::remove_dir_all(small.dir.path()).expect("it is there");
    refs.extend((80..200).map(|n| put(block(n, BLOCK)).expect("others leave")));
    for (n, object) in refs.iter().enumerate() {
        assert!(object.get().expect("it reads back") == block(n as u64, BLOCK));
    }
}

pub(crate) fn a_session_that_crashed_is_swept_and_another_is_not(env: &Env) {
    let small = Small::new();
    let path = small.dir.path().to_string_lossy().into_owned();
    let variables = [("MOBULA_OBJECT_STORE_MEMORY", "2000000"), ("MOBULA_SPILL_DIR", path.as_str())];
    if std::env::var("MOBULA_SPILL_DIR").is_err() {
        let dirs = || fs::read_dir(small.dir.path()).expect("it is there").count();
        let result = std::panic::catch_unwind(|| env.in_a_process_of_its_own(&variables, || {}));
        assert!(result.is_err(), "it crashed");
        assert_eq!(dirs(), 1, "it left its directory");
        let _session = env.start_with(small.config(env, 2 * MIB));
        let refs: Vec<_> = (0..5).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
        assert_eq!(dirs(), 1, "its own alone");
        let again = std::panic::catch_unwind(|| env.in_a_process_of_its_own(&variables, || {}));
        assert!(again.is_err(), "it crashed");
        assert_eq!(dirs(), 2, "one lives beside");
        assert!(refs.iter().enumerate().all(|(n, it)| it.get().is_ok_and(|it| it == block(n as u64, BLOCK))));
        return;
    }
    env.in_a_process_of_its_own(&variables, || {
        let _refs: Vec<_> = (0..5).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
        assert!(store_stats().spills > 0);
        std::process::abort();
    });
}

#[derive(Clone, Deserialize)]
struct Stubborn(Vec<u8>);

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.serialize_unit() } else { panic!("as it means to") }
    }
}

pub(crate) fn a_value_that_cannot_be_written_stays(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 4 * MIB));
    #[derive(Clone, Serialize, Deserialize)]
    struct Pair(Vec<u64>, Stubborn);
    let stubborn = put(Pair(vec![7; 10_000], Stubborn(block(0, 1_000)))).expect("there is room");
    let refs: Vec<_> = (0..10).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    assert!(stubborn.get().expect("it stayed").1.0 == block(0, 1_000));
    assert!(refs.iter().enumerate().all(|(n, it)| it.get().is_ok_and(|it| it == block(n as u64, BLOCK))));
}

/// Whether values of this kind can be read now.
static READABLE: AtomicBool = AtomicBool::new(true);

#[derive(Clone, Serialize)]
struct Moody(Vec<u8>);

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        assert!(READABLE.load(Ordering::Relaxed), "as it means to");
        Vec::deserialize(deserializer).map(Self)
    }
}

pub(crate) fn a_value_whose_reading_panics_is_lost_and_not_forgotten(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 4 * MIB));
    let moody = put(Moody(block(0, 100_000))).expect("there is room");
    let refs: Vec<_> = (0..10).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    drop(refs);
    let before = store_stats().bytes_session;
    READABLE.store(false, Ordering::Relaxed);
    for _ in 0..3 {
        let error = moody.get().map(drop).expect_err("its reading panics");
        assert_eq!(error.kind(), ErrorKind::ObjectLost);
        assert!(error.to_string().contains("as it means to"), "{error}");
    }
    assert_eq!(store_stats().bytes_session, before, "nothing stays counted");
    READABLE.store(true, Ordering::Relaxed);
    assert!(moody.get().expect("its bytes were kept").0 == block(0, 100_000));
}
