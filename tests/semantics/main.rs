//! What Mobula promises, as behaviours that hold wherever remote code runs.
//!
//! Each behaviour is written once; [`suite`] makes it a test for each environment. This file is the table
//! of contents, by the rules of the contract; a behaviour that is missing here is dead code and a warning.

#[path = "../common/mod.rs"]
mod common;
mod fixtures;

mod blocking;
mod calls;
mod dependencies;
mod failure;
mod lifetime;
mod order;
mod serial;
mod streams;
mod trees;
mod waiting;

macro_rules! suite {
    ($env:ident: $($room:ident { $($behaviour:ident)* })*) => {
        mod $env {
            $(mod $room {
                $(
                    #[test]
                    fn $behaviour() {
                        let name =
                            concat!(stringify!($env), "::", stringify!($room), "::", stringify!($behaviour));
                        crate::common::run(name, crate::$room::$behaviour);
                    }
                )*
            })*
        }
    };
}

macro_rules! behaviours_in {
    ($env:ident) => {
        suite! { $env:
            calls {
                a_remote_function_stays_an_ordinary_one
                an_async_function_runs_with_timers_of_its_own
                two_functions_of_one_name_in_two_bodies_are_two
                a_parameter_takes_values_and_refs_of_every_form
                a_slice_parameter_takes_refs_of_whatever_holds_a_slice
                calls_can_be_mapped_and_chained
                an_owned_parameter_is_moved_out_if_nobody_else_holds_it
                an_owned_parameter_is_cloned_if_somebody_holds_it
                a_borrowed_parameter_is_never_cloned
                get_clones_and_view_borrows_and_into_inner_takes
                a_view_keeps_the_value_after_the_last_ref
                a_parameter_that_is_a_ref_is_passed_on_unresolved
                refs_and_handles_inside_larger_values_are_passed_on_unresolved
                split_gives_a_ref_to_each_half
                a_result_of_any_name_and_error_fails_the_ref
                an_error_of_ours_that_a_function_passes_on_keeps_its_origin
                a_ref_can_be_sent_shown_and_forgotten
                refs_and_handles_are_serialised_by_nothing_else
            }
            streams {
                items_are_there_while_the_producer_still_runs
                an_item_can_be_passed_on_as_a_ref
                a_stream_can_be_awaited
                a_producer_that_fails_ends_its_stream_with_the_failure
                a_stream_whose_argument_failed_yields_that_failure
                dropping_a_stream_cancels_its_producer
                a_producer_far_ahead_waits_for_its_consumer
                methods_yield_streams_of_their_state
                a_stream_past_its_deadline_ends_with_timeout
            }
            trees {
                neighbours_combine_and_order_is_kept
                a_tree_is_as_deep_as_its_logarithm
                values_and_refs_are_reduced_alike
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
                callers_do_not_wait_for_each_other
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
                every_wait_gives_the_cpu_away
                a_task_takes_its_cpu_back_before_it_goes_on
                an_actor_with_a_cpu_gives_it_away_while_it_waits
                at_the_cap_an_awaited_task_runs_on_its_waiters_thread
                beyond_the_cap_a_wait_that_nobody_could_end_is_refused
                too_many_threads_is_a_typed_error
                an_actor_beyond_the_cap_fails_with_too_many_threads
                an_async_class_may_not_block_anywhere
                a_class_on_shared_threads_may_not_block
                streams_are_not_read_by_blocking_in_an_async_class
            }
            waiting {
                get_takes_a_ref_or_a_list_in_order
                get_of_many_gives_the_first_error_without_waiting_for_the_rest
                a_failure_late_in_the_list_waits_for_those_before_it
                get_timeout_gives_up_and_the_call_goes_on
                wait_returns_at_most_as_many_as_asked_in_the_order_given
                wait_takes_a_vec_a_slice_or_a_reference
                a_failed_ref_is_ready
                wait_gives_what_is_there_when_its_time_is_over
                wait_for_none_too_many_or_one_twice_is_an_invalid_option
                wait_one_by_one_ends_with_all
                as_completed_yields_in_the_order_of_completion
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
                an_object_lives_while_a_ref_to_it_does
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
                what_overlapped_a_panic_dies_with_the_instance
                what_overlapped_a_panic_on_threads_dies_with_the_instance
                a_constructor_that_panics_is_tried_again_as_a_crash
                an_error_from_a_constructor_is_final
                a_task_is_not_tried_again_unless_asked_for
                a_task_is_tried_again_three_times_or_as_often_as_it_says
                an_async_task_is_tried_again_too
                a_failure_that_nobody_read_is_logged_once
                a_failure_that_was_read_is_not_logged
                a_panic_in_the_drop_of_a_state_harms_nobody
                a_restarted_actor_keeps_its_name_id_and_handles
            }
        }
    };
}

behaviours_in!(thread);
