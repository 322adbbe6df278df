//! The object store from outside when memory runs short: what leaves it, what waits, what is refused, and that
//! all of it reads back.

#![allow(
    unreachable_pub,
    clippy::needless_pass_by_value,
    clippy::unused_async,
    clippy::unused_self,
    clippy::items_after_statements,
    reason = "remote items as users write them, next to the call that needs them"
)]

#[path = "../common/mod.rs"]
mod common;

mod faults;
mod limits;
mod spilling;
mod storms;

/// Each behaviour is a test, alone in its process with a session of its own.
macro_rules! tests {
    ($($room:ident { $($behaviour:ident)* })*) => {
        mod test {
            $(mod $room {
                $(
                    #[test]
                    fn $behaviour() {
                        let name = concat!("test::", stringify!($room), "::", stringify!($behaviour));
                        crate::common::run_in_processes_within(crate::PATIENCE, name, crate::$room::$behaviour);
                    }
                )*
            })*
        }
    };
}

/// Some write a gigabyte; beyond this they hang.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(5);

tests! {
    spilling {
        what_does_not_fit_leaves_memory_and_reads_back
        values_of_any_kind_read_back
        what_a_spilled_value_names_stays
        a_spilled_value_is_an_argument_like_any_other
        a_spilled_value_is_moved_out
        what_is_read_stays_and_what_is_not_goes_first
        a_value_is_written_once
        results_make_others_leave
        files_go_with_their_values_and_the_directory_with_its_session
    }
    limits {
        what_is_larger_than_the_store_is_refused_at_once
        where_all_is_pinned_a_put_waits_and_names_the_largest
        a_put_that_waits_goes_on_when_room_is_made
        an_async_put_is_refused_at_once_and_one_that_is_awaited_waits
        shared_memory_counts_with_the_rest
        small_values_are_let_in
        the_limit_comes_from_the_environment
    }
    faults {
        a_flipped_byte_is_an_object_lost
        a_file_that_is_cut_is_an_object_lost
        a_full_disk_is_told_and_nothing_is_lost
        a_directory_that_is_removed_is_made_again
        a_session_that_crashed_is_swept_and_another_is_not
        a_value_that_cannot_be_written_stays
        a_value_whose_reading_panics_is_lost_and_not_forgotten
    }
    storms {
        all_that_is_put_reads_back_within_the_limit
        a_million_small_values
        churn_leaves_the_store_as_it_was
    }
}

use std::path::{Path, PathBuf};

use common::Env;
use mobula::Config;

const MIB: u64 = 1 << 20;

/// A session with a small store that spills into a directory of its own.
struct Small {
    dir: tempfile::TempDir,
}

impl Small {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory can be made") }
    }

    /// On threads unless a function says otherwise.
    fn config(&self, env: &Env, limit: u64) -> Config {
        env.config().isolation("thread").object_store_memory(limit).spill_dir(self.dir.path())
    }

    /// The files that values are in.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(self.dir.path(), &mut files);
        files.retain(|path| path.extension().is_some_and(|extension| extension == "spill"));
        files.sort();
        files
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

/// Bytes that are like no other's.
fn block(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}
