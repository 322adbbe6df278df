//! Worker processes from outside: what they run, how they end, what they see, and what they never copy.
//!
//! The tests start real processes: this binary's own workers, and the programs under `tests/programs`. What is
//! not to be had on a machine is told: `not run: why`.

#![allow(
    clippy::unused_self,
    clippy::needless_pass_by_value,
    clippy::ptr_arg,
    clippy::items_after_statements,
    reason = "remote items as users write them, next to the call that needs them"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../programs/mod.rs"]
mod programs;

mod crashes;
mod endings;
mod environment;
mod executable;
mod faults;
mod output;
mod shared;
mod streams;
mod warmth;

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

/// Some wait for what takes its time; beyond this it hangs.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(3);

tests! {
    executable {
        main_runs_once_however_the_session_starts
        a_test_binary_is_its_own_worker
        a_forged_variable_makes_no_worker
        a_worker_starts_where_its_parent_is
    }
    output {
        lines_are_marked_with_who_said_them
        a_flood_is_limited
    }
    crashes {
        what_ends_a_process_is_named
        a_process_killed_from_outside
        memory_beyond_its_own_limit
        attempts_are_numbered_and_end
        what_runs_elsewhere_goes_on
        an_actor_restarts_and_its_queue_goes_on_in_order
        an_actors_calls_are_tried_again
        a_constructor_that_crashes
        a_stream_is_tried_again_until_it_has_yielded
        a_constructor_that_dies_in_a_wait
        a_constructor_that_dies_in_a_wait_while_others_have_its_cpu
        an_actor_that_dies_while_its_calls_wait
        an_actor_that_dies_while_a_call_wants_its_cpu_back
        the_constructor_of_a_killed_actor_goes_on
        calls_of_one_actor_go_on_at_once_after_their_waits
    }
    endings {
        no_process_outlives_a_killed_driver
        ten_thousand_threads_come_and_go_and_no_worker_with_them
        a_session_takes_its_workers_along
    }
    warmth {
        max_calls_ends_a_worker_after_so_many
        the_next_worker_is_started_ahead_of_its_call
        refs_outlive_the_process_that_made_them
        workers_are_used_again_and_end_when_idle
    }
    environment {
        variables_of_session_class_and_function
        a_worker_runs_in_its_folder
        devices_are_those_that_were_granted
    }
    shared {
        a_large_argument_does_not_pass_through_the_socket
        slices_are_read_in_place
        a_ref_is_stored_once_for_all_who_read_it
        what_is_given_back_is_unmapped_by_who_read_it
        what_is_given_back_is_unmapped_by_whom_it_was_passed_on_to
    }
    faults {
        a_stopped_worker_stops_nobody_else
        what_cannot_be_serialised
        what_cannot_be_deserialised
        no_descriptor_is_left
        no_thread_is_left
        no_shared_memory_is_to_be_had
    }
    streams {
        an_item_that_cannot_be_read_fails_its_stream_alone
        an_item_that_cannot_be_read_stops_who_makes_them
        a_stream_is_cancelled_while_an_item_is_read
        an_actor_is_killed_while_an_item_is_read
        a_stream_outlives_the_last_handle
    }
}
