//! What Mobula promises, as behaviours that hold wherever remote code runs.
//!
//! Each behaviour is written once; [`suite`] makes it a test for each environment: `thread`, where remote code
//! runs on threads, and `process`, where it runs in worker processes, if the feature of that name is on. This
//! file is the table of contents, by the rules of the contract; a behaviour that is missing here is dead code
//! and a warning.

#![allow(
    clippy::unused_self,
    clippy::unused_async,
    clippy::needless_pass_by_value,
    clippy::needless_borrows_for_generic_args,
    clippy::redundant_closure,
    clippy::items_after_statements,
    reason = "remote items as users write them, next to the call that needs them"
)]

#[path = "../common/mod.rs"]
mod common;
mod fixtures;

mod actors;
mod arrays;
mod blocking;
mod calls;
mod cancelling;
mod cap;
mod deadlocks;
mod dependencies;
mod failure;
mod isolation;
mod lifetime;
mod options;
mod order;
mod pressure;
mod reasons;
mod resources;
mod serial;
mod sessions;
mod storms;
mod streams;
mod trees;
mod waiting;

/// The names that programs rely on; a missing one does not compile.
mod contract {
    #[allow(unused_imports, reason = "that they are there is the test")]
    use mobula::{
        ActorHandle, Arg, Config, Error, ErrorKind, IntoArg, ObjectRef, ObjectStream, Result, Session, Value,
        View, as_completed, available_resources, cancel, cluster_resources, context, exit_actor, get,
        get_actor, get_timeout, gpu_ids, init, is_cancelled, is_initialized, kill, node_ip, nodes, put,
        remote, shutdown, testing, tree_reduce, tree_reduce_unordered, wait,
    };

    #[allow(dead_code, reason = "that they are there is the test")]
    const KINDS: [ErrorKind; 30] = {
        use ErrorKind::*;
        [
            TaskFailed,
            TaskPanicked,
            ActorDied,
            WorkerCrashed,
            NodeDied,
            OwnerDied,
            ObjectLost,
            Timeout,
            Cancelled,
            Deadlock,
            Infeasible,
            QueueFull,
            StoreFull,
            OutOfMemory,
            TooManyThreads,
            NotFound,
            NameTaken,
            WrongType,
            InvalidOption,
            Unsupported,
            Io,
            Encode,
            Decode,
            FunctionNotFound,
            Unauthorized,
            VersionMismatch,
            Unreachable,
            BlockingInAsync,
            AlreadyInitialized,
            Shutdown,
        ]
    };
}

macro_rules! suite {
    ($env:ident, $run:ident: $($room:ident { $($behaviour:ident)* })*) => {
        mod $env {
            $(mod $room {
                $(
                    #[test]
                    fn $behaviour() {
                        let name =
                            concat!(stringify!($env), "::", stringify!($room), "::", stringify!($behaviour));
                        crate::common::$run(name, crate::$room::$behaviour);
                    }
                )*
            })*
        }
    };
}

macro_rules! behaviours_in {
    ($env:ident, $run:ident) => {
        suite! { $env, $run:
            calls {
                a_remote_function_stays_an_ordinary_one
                an_async_function_runs_with_timers_of_its_own
                two_functions_of_one_name_in_two_bodies_are_two
                refs_to_one_object_are_equal
                refs_of_several_types_are_had_at_once
                an_arg_is_passed_by_reference_and_read
                a_parameter_takes_values_and_refs_of_every_form
                a_slice_parameter_takes_refs_of_whatever_holds_a_slice
                calls_can_be_mapped_and_chained
                get_clones_and_view_borrows_and_into_inner_takes
                a_view_keeps_the_value_after_the_last_ref
                a_parameter_that_is_a_ref_is_passed_on_unresolved
                refs_and_handles_inside_larger_values_are_passed_on_unresolved
                split_gives_a_ref_to_each_half
                halves_of_a_pair_whose_clone_panics_fail
                a_result_of_any_name_and_error_fails_the_ref
                an_error_of_ours_that_a_function_passes_on_keeps_its_origin
                a_ref_can_be_sent_shown_and_forgotten
                refs_and_handles_are_serialised_by_nothing_else
                a_method_may_have_any_name
            }
            arrays {
                an_array_is_built_by_a_task_and_read_by_others
                inside_of_a_larger_value_they_come_back_from_bytes_without_a_copy
            }
            streams {
                items_are_there_while_the_producer_still_runs
                an_item_can_be_passed_on_as_a_ref
                values_are_the_items_and_the_failure_in_its_place
                a_stream_can_be_awaited
                a_producer_that_fails_ends_its_stream_with_the_failure
                a_stream_whose_argument_failed_yields_that_failure
                dropping_a_stream_cancels_its_producer
                a_producer_between_two_items_is_told_that_its_stream_was_dropped
                a_producer_far_ahead_waits_for_its_consumer
                methods_yield_streams_of_their_state
                a_stream_past_its_deadline_ends_with_timeout
            }
            trees {
                neighbours_combine_and_order_is_kept
                a_tree_is_as_deep_as_its_logarithm
                values_and_refs_are_reduced_alike
                a_method_can_combine
                nothing_reduces_to_nothing_and_one_to_itself
                an_item_that_fails_fails_the_tree_with_its_origin
                an_unordered_tree_takes_first_what_is_there_first
            }
            order {
                calls_of_one_caller_start_in_the_order_made
                an_unready_argument_holds_back_only_its_caller
                calls_with_and_without_waits_stay_in_order
                a_cancelled_call_gives_up_its_place
                a_call_whose_argument_failed_gives_up_its_place
                a_call_whose_time_ran_out_gives_up_its_place
                an_actor_is_one_caller_over_all_its_methods
                order_survives_any_mix_of_waits_cancels_and_failures
                callers_do_not_wait_for_each_other
                a_long_line_behind_one_call_is_as_good_as_a_short_one
            }
            serial {
                methods_of_a_sync_class_run_one_at_a_time
                shared_methods_of_a_sync_class_overlap_up_to_max_concurrency
                an_exclusive_method_waits_for_shared_ones_and_holds_later_ones_back
                shared_methods_of_an_async_class_overlap_by_themselves
                max_concurrency_bounds_an_async_class
                an_exclusive_async_method_is_alone_across_its_awaits
                sync_methods_of_an_async_class_follow_the_same_rule
                a_state_that_is_not_sync_needs_nothing
            }
            dependencies {
                a_call_starts_when_all_its_arguments_are_there
                one_ref_can_be_several_arguments
                a_waiting_call_holds_neither_thread_nor_cpu
                a_failed_argument_fails_the_call_before_it_starts
                an_error_names_its_origin_and_who_passed_it_on
                a_panicking_argument_tells_where_it_panicked
                an_argument_of_a_constructor_that_fails_fails_the_actors_calls
                a_constructor_waits_for_its_arguments
                a_call_whose_ref_is_dropped_runs_all_the_same
                a_failure_reaches_everyone_who_depends_on_it
            }
            blocking {
                nested_waits_finish_on_one_cpu
                a_wide_tree_of_waits_finishes_on_two_cpus
                tasks_that_have_their_cpus_all_start
                every_wait_gives_the_cpu_away
                a_task_takes_its_cpu_back_before_it_goes_on
                an_actor_with_a_cpu_gives_it_away_while_it_waits
                calls_of_one_actor_that_wait_at_once_take_its_cpu_back_once
                an_actors_cpu_is_away_while_one_of_its_calls_waits
                a_task_that_awaits_two_takes_its_cpu_back_for_the_last
                an_async_class_may_not_block_anywhere
                a_class_on_shared_threads_may_not_block
                streams_are_not_read_by_blocking_in_an_async_class
            }
            waiting {
                get_takes_a_ref_or_a_list_in_order
                get_of_many_gives_the_first_error_without_waiting_for_the_rest
                a_failure_is_told_as_soon_as_all_before_it_are_there
                a_failure_late_in_the_list_waits_for_those_before_it
                get_timeout_gives_up_and_the_call_goes_on
                wait_returns_at_most_as_many_as_asked_in_the_order_given
                wait_takes_a_vec_a_slice_or_a_reference
                a_failed_ref_is_ready
                wait_gives_what_is_there_when_its_time_is_over
                wait_for_none_too_many_or_one_twice_is_an_invalid_option
                wait_one_by_one_ends_with_all
                as_completed_yields_in_the_order_of_completion
                as_completed_remembers_what_came_while_nobody_asked
                as_completed_is_a_stream_and_yields_failures
                as_completed_that_is_dropped_lets_go
                a_put_value_is_there_at_once
                refs_can_be_awaited_by_value_and_by_reference
                a_future_that_is_dropped_lets_go_and_cancels_nothing
                many_threads_can_wait_for_one_ref
                a_wait_for_many_wakes_for_each_that_counts
                the_deadline_of_a_wait_is_kept
            }
            lifetime {
                an_actor_without_a_handle_ends
                an_actor_that_is_never_called_ends_all_the_same
                an_actor_lives_while_it_is_an_argument_of_a_running_call
                an_actor_lives_while_it_is_an_argument_of_a_queued_call
                an_actor_lives_while_it_is_a_result_that_was_read
                an_actor_lives_while_it_is_a_result_that_is_never_read
                an_actor_made_inside_a_task_lives_by_its_result
                an_actor_lives_while_it_is_in_the_store
                an_actor_lives_while_it_is_in_a_field_of_what_is_in_the_store
                an_actor_lives_while_another_actor_keeps_it
                an_actor_ends_though_a_failed_call_held_it
                an_actor_ends_though_a_call_that_never_started_was_to_have_it
                an_actor_ends_though_a_cancelled_call_held_it
                an_actor_ends_though_an_error_s_cause_held_it
                an_actor_lives_by_a_handle_to_one_of_its_traits
                an_actor_runs_what_was_queued_before_it_ends
                an_actor_lives_while_a_call_to_it_waits_for_its_argument
                constructor_arguments_are_kept_while_a_restart_is_left
                a_name_keeps_nothing_alive
                a_detached_actor_lives_until_it_is_killed
                a_detached_actor_ends_with_its_session
                a_result_that_nobody_wants_any_more_is_dropped_when_it_comes
                an_object_lives_by_a_view_a_value_and_an_actor
                items_of_a_stream_that_nobody_reads_are_dropped
                an_owned_argument_is_dropped_with_its_call
                ten_thousand_refs_in_one_object_go_with_it
            }
            failure {
                an_error_fails_the_call_and_the_actor_stays
                a_panic_without_restarts_ends_the_actor_with_its_cause
                queued_calls_run_in_order_on_the_new_instance
                an_actor_is_rebuilt_as_often_as_allowed_and_no_more
                a_crashing_call_is_tried_again_on_the_new_instance
                a_failing_call_is_tried_again_if_asked_for
                a_call_says_itself_how_often_it_is_tried
                async_methods_are_tried_again_like_others
                an_overlapping_call_is_tried_again_like_others
                an_async_call_is_tried_again_however_often
                what_overlapped_a_panic_dies_with_the_instance
                what_overlapped_a_panic_on_threads_dies_with_the_instance
                a_constructor_that_panics_is_tried_again_as_a_crash
                a_rebuilding_that_panics_counts_as_a_crash
                a_rebuilding_that_fails_is_final
                an_error_from_a_constructor_is_final
                a_task_is_not_tried_again_unless_asked_for
                a_task_is_tried_again_three_times_or_as_often_as_it_says
                an_async_task_is_tried_again_too
                a_failure_that_nobody_read_is_logged_once
                an_actor_whose_failure_nobody_asked_for_is_spoken_of_once
                a_failure_that_was_read_is_not_logged
                a_panic_in_the_drop_of_a_state_harms_nobody
                a_restarted_actor_keeps_its_name_id_and_handles
            }
            resources {
                a_task_takes_one_cpu
                an_actor_takes_no_cpu_while_it_lives
                an_actor_holds_what_it_asks_for_until_it_ends
                fractions_of_a_cpu_run_side_by_side
                tasks_of_several_cpus_and_of_one_share_them
                gpus_are_handed_out_by_id
                fractions_of_a_gpu_share_one_id
                fractions_leave_whole_gpus_to_others
                a_whole_gpu_is_not_made_of_two_halves
                an_actor_keeps_its_gpus_over_calls_and_restarts
                an_overlapping_call_sees_what_its_actor_holds
                an_async_method_sees_what_its_actor_holds
                resources_of_ones_own_bound_what_runs
                what_could_never_be_had_is_infeasible_at_once
                a_task_without_cpus_runs_where_all_are_taken
                the_cluster_says_what_it_has_and_what_is_free
                what_a_failed_task_or_actor_held_comes_back
                a_demand_that_must_wait_lets_others_pass
                whatever_happens_all_resources_come_back
                a_cancelled_wait_for_resources_lets_others_go_first
            }
            cancelling {
                a_cancelled_task_that_is_queued_never_runs
                running_sync_work_is_told_and_its_caller_at_once
                async_work_is_dropped_at_its_next_await
                a_cancelled_async_method_gives_its_turn_to_the_next
                children_are_cancelled_with_their_parent
                children_made_after_the_cancel_are_cancelled_too
                cancelling_what_is_there_changes_nothing
                what_depends_on_a_cancelled_call_fails_with_it
                a_cancelled_call_keeps_its_turn_until_it_returns
                what_a_cancelled_task_holds_comes_back_when_it_returns
                a_deadline_bounds_a_running_call
                a_deadline_counts_the_waiting
                a_deadline_bounds_all_attempts_together
                a_parent_and_its_child_end_together_at_the_parents_deadline
                a_child_can_shorten_its_deadline_and_not_lengthen_it
                a_child_that_outlives_its_parent_keeps_its_deadline
                a_deadline_reaches_through_actors
                an_actor_made_under_a_deadline_outlives_it
                a_class_bounds_all_its_calls
                a_deadline_on_an_attribute_holds_like_one_on_a_call
                a_call_in_time_is_not_touched_by_its_deadline
                a_task_that_waits_is_woken_when_it_is_cancelled
            }
            actors {
                an_actor_keeps_its_state_from_call_to_call
                ready_is_there_when_the_constructor_has_run
                what_is_private_or_without_self_stays_ordinary
                a_named_actor_is_found_by_its_name
                a_taken_name_fails_every_call_of_the_second
                a_name_is_free_when_its_actor_has_ended
                a_killed_actors_name_is_free_at_once
                get_if_exists_takes_the_one_that_lives
                get_if_exists_from_many_tasks_at_once_makes_one
                a_name_of_another_class_is_of_the_wrong_type
                namespaces_hold_names_apart
                a_killed_actor_fails_what_runs_and_what_is_queued
                a_method_sees_that_its_actor_was_killed
                an_actor_can_be_killed_before_it_is_built
                an_actor_can_kill_itself
                a_named_actor_that_is_found_lives
                a_named_actor_is_found_before_it_is_built
                exit_actor_delivers_its_result_and_fails_what_is_queued
                exit_actor_in_an_async_method_waits_for_its_return
                an_actor_knows_its_own_handle
                the_context_says_who_runs_where
                a_handle_converts_into_those_of_its_traits
                a_handle_to_a_trait_is_found_by_name_and_inside_itself
                a_handle_is_an_argument_by_value_or_by_reference
                a_constructor_may_make_calls_and_actors
                a_drop_may_make_calls
            }
            deadlocks {
                an_actor_that_waits_for_itself_is_told_so
                actors_that_wait_for_each_other_are_told_so
                async_actors_that_wait_for_each_other_are_told_so
                a_shared_call_that_awaits_an_exclusive_one_of_its_actor_is_told_so
                a_shared_method_with_no_room_for_another_is_told_so
                an_async_method_with_no_room_for_another_is_told_so
                an_actor_that_reads_a_stream_of_its_own_is_told_so
                an_unordered_tree_inside_its_own_actor_is_told_so
                calls_that_may_overlap_are_no_deadlock
                a_task_and_an_actor_that_wait_for_each_other_are_told_so
                a_circle_through_an_argument_is_a_circle
                a_circle_through_a_callers_own_order_is_a_circle
                a_circle_through_a_constructor_is_a_circle
                a_wait_for_some_of_many_is_refused_only_when_it_is_hopeless
                a_wait_with_a_way_out_is_no_deadlock
                two_that_ask_each_other_at_once_are_not_both_left_waiting
                an_argument_that_waits_for_its_own_caller_can_wait
            }
            pressure {
                beyond_the_bound_the_driver_is_blocked_until_there_is_room
                what_has_run_makes_room_again
                max_pending_calls_refuses_at_once
                max_pending_calls_counts_what_waits_at_an_async_method
                calls_that_are_held_back_count_as_pending
            }
            isolation {
                timers_work_in_an_async_class
                sockets_work_in_an_async_class
            }
            sessions {
                a_session_runs_until_it_is_dropped_or_shut_down
                the_first_call_starts_a_session
                the_first_actor_starts_a_session_too
                the_first_put_starts_a_session_too
                many_threads_that_call_first_start_one_session
                after_an_explicit_session_no_call_starts_another
                what_was_there_before_the_end_can_still_be_read
                queued_calls_get_shutdown
                running_calls_are_told_and_have_a_grace
                an_end_with_nothing_running_waits_for_nobody
                states_are_dropped_at_the_end
                sessions_follow_each_other_and_share_nothing
                settings_come_from_the_environment_unless_they_are_made
                a_variable_that_makes_no_sense_is_an_invalid_option
                a_task_or_a_method_can_end_its_session
                threads_of_the_driver_share_the_session
                a_call_that_crashes_while_the_session_ends_is_told
                a_result_that_is_on_its_way_is_not_lost_by_the_end
            }
            options {
                every_option_of_a_function_can_be_said_in_a_call
                every_option_of_a_class_can_be_said_where_it_is_made
                every_option_can_be_an_attribute
                a_timeout_for_ever_is_none
                a_wrong_option_on_an_attribute_that_compiles_fails_the_call
                every_setting_of_a_session_can_be_made
            }
            storms {
                each_call_ends
                the_session_ends_in_the_midst_of_it
            }
        }
    };
}

behaviours_in!(thread, run);
#[cfg(feature = "process")]
behaviours_in!(process, run_in_processes);

// What is true of threads alone, where values stay in one process.
suite! { in_one_process, run:
    arrays {
        a_slice_parameter_takes_a_ref_of_an_array
    }
    calls {
        an_owned_parameter_is_moved_out_if_nobody_else_holds_it
        an_owned_parameter_is_cloned_if_somebody_holds_it
        the_last_attempt_moves_what_the_others_cloned
        a_borrowed_parameter_is_never_cloned
    }
    isolation {
        a_sync_class_has_a_thread_of_its_own
        very_many_small_actors_share_few_threads
        very_many_async_actors_share_few_threads
        values_move_without_being_serialised
        a_borrowed_parameter_lies_where_the_object_does
        what_needs_processes_says_that_it_is_unsupported
        no_socket_is_opened
        ten_thousand_nested_waits_finish_on_two_cpus
        the_pool_grows_while_members_block_and_shrinks_after
    }
    pressure {
        beyond_the_bound_a_task_gets_queue_full
        beyond_the_bound_an_async_method_gets_queue_full
        a_task_that_waits_for_its_cpu_counts_too
    }
    resources {
        memory_is_counted_like_the_others
        attributes_and_options_ask_alike
        gpus_on_threads_are_spoken_of_once
    }
    failure {
        a_panic_while_an_error_is_shown_or_an_argument_is_cloned_fails_the_call
    }
    lifetime {
        an_object_lives_while_a_ref_to_it_does
    }
    blocking {
        an_actor_beyond_the_cap_fails_with_too_many_threads
        too_many_threads_is_a_typed_error
        on_one_thread_no_task_is_lost_however_many_wait
        at_the_cap_an_awaited_task_runs_on_its_waiters_thread
        beyond_the_cap_a_wait_that_nobody_could_end_is_refused
    }
    cap {
        what_waits_for_its_arguments_does_not_run_before_they_are_there
        a_task_of_a_process_does_not_run_in_its_waiters
        a_task_with_a_gpu_does_not_run_without
        a_task_of_several_cpus_does_not_run_on_one
        an_async_task_runs_in_the_wait_of_a_sync_one_only
        what_may_not_run_in_a_wait_lets_others_pass_and_is_not_lost
        what_runs_in_a_wait_has_one_cpu_of_its_waiters_and_nothing_else
    }
    reasons {
        every_reason_to_wait_is_entered_and_left
    }
}
