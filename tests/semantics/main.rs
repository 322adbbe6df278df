//! What Mobula promises, as behaviours that hold wherever remote code runs.
//!
//! Each behaviour is written once; [`suite`] makes it a test for each environment. This file is the table
//! of contents, by the rules of the contract; a behaviour that is missing here is dead code and a warning.

#[path = "../common/mod.rs"]
mod common;
mod fixtures;

mod order;

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
            order {
                calls_of_one_caller_start_in_the_order_made
                an_unready_argument_holds_back_only_its_caller
                calls_with_and_without_waits_stay_in_order
                a_cancelled_call_gives_up_its_place
                a_call_whose_argument_failed_gives_up_its_place
                a_call_whose_time_ran_out_gives_up_its_place
                callers_do_not_wait_for_each_other
            }
        }
    };
}

behaviours_in!(thread);
