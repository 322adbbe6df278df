//! The builder methods that `#[remote]` gives to the options of functions, classes and methods.

/// Writes builder methods that hand a setting on to the inner `Options`, field `$at`.
#[doc(hidden)]
#[macro_export]
macro_rules! __option_methods {
    ($at:tt; $($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*);)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(mut self $(, $arg: $ty)*) -> Self {
            self.$at = self.$at.$name($($arg),*);
            self
        })*
    };
}

/// Options of a function.
#[doc(hidden)]
#[macro_export]
macro_rules! __task_options {
    ($options:ident) => {
        #[allow(missing_docs)]
        impl $options {
            $crate::__option_methods! { 0;
                /// CPUs, in cores; a task takes one unless told otherwise.
                num_cpus(cpus: f64);
                /// GPUs, in devices; below one, a share of one device.
                num_gpus(gpus: f64);
                /// Memory, in bytes.
                memory(bytes: u64);
                /// An amount of a resource of your own naming.
                resource(name: &str, amount: f64);
                /// Attempts beyond the first, after a lost worker or node; 3 unless told otherwise.
                max_retries(retries: u32);
                /// Whether `Err` and panics are retried, too.
                retry_on_error(retry: bool);
                /// After how many calls a worker process is replaced.
                max_calls(calls: u32);
                /// `"thread"` or `"process"`.
                isolation(isolation: &str);
                /// How long the call may take, waiting included; then it fails with `Timeout`.
                timeout(timeout: ::core::time::Duration);
                /// The name by which the task is shown.
                name(name: &str);
                /// An environment variable of the worker process.
                env(key: &str, value: &str);
                /// The folder in which the worker process runs; one that is relative lies in the program's own.
                working_dir(path: &str);
                /// Which node should run it.
                placement(placement: impl ::core::convert::Into<$crate::__private::Placement>);
            }
        }
    };
}

/// Options of a class.
#[doc(hidden)]
#[macro_export]
macro_rules! __class_options {
    ($options:ident) => {
        #[allow(missing_docs)]
        impl<C> $options<C> {
            $crate::__option_methods! { 0;
                /// CPUs that the actor holds while it lives, in cores; none unless told otherwise.
                num_cpus(cpus: f64);
                /// GPUs that it holds while it lives, in devices; below one, a share of one device.
                num_gpus(gpus: f64);
                /// Memory, in bytes.
                memory(bytes: u64);
                /// An amount of a resource of your own naming.
                resource(name: &str, amount: f64);
                /// How often the actor is rebuilt after a crash.
                max_restarts(restarts: u32);
                /// How often a call that a crash ended is tried again.
                max_task_retries(retries: u32);
                /// Whether calls that return `Err` are tried again, too.
                retry_on_error(retry: bool);
                /// How many calls may wait; beyond, they fail with `QueueFull`.
                max_pending_calls(calls: usize);
                /// After how many calls a worker process is replaced.
                max_calls(calls: u32);
                /// `"thread"`, `"shared"` or `"process"`.
                isolation(isolation: &str);
                /// How long each call may take, waiting included, unless it says so itself.
                timeout(timeout: ::core::time::Duration);
                /// The name under which `get_actor` finds it.
                name(name: &str);
                /// The namespace of the name.
                namespace(namespace: &str);
                /// It lives until it is killed, without handles, too.
                detached();
                /// An actor that lives under the name already is taken instead.
                get_if_exists();
                /// An environment variable of the worker process.
                env(key: &str, value: &str);
                /// The folder in which the worker process runs; one that is relative lies in the program's own.
                working_dir(path: &str);
                /// Which node should host it.
                placement(placement: impl ::core::convert::Into<$crate::__private::Placement>);
            }

            /// How many `&self` calls may overlap: 1 in a sync class, 1,000 in an async one unless told
            /// otherwise. More than one in a sync class needs a `Sync` state.
            #[must_use]
            pub fn max_concurrency(mut self, calls: usize) -> Self
            where
                C: $crate::__private::Overlaps,
            {
                self.0 = <C as $crate::__private::Overlaps>::overlap(self.0, calls);
                self
            }
        }
    };
}

/// Options of a method.
#[doc(hidden)]
#[macro_export]
macro_rules! __method_options {
    ($options:ident) => {
        #[allow(missing_docs)]
        impl $options<'_> {
            $crate::__option_methods! { 1;
                /// How often the call is tried again after a crash of the actor.
                max_task_retries(retries: u32);
                /// Whether it is tried again after `Err`, too.
                retry_on_error(retry: bool);
                /// How long the call may take, waiting included; then it fails with `Timeout`.
                timeout(timeout: ::core::time::Duration);
            }
        }
    };
}
