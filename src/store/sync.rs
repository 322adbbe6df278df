//! What slots and notices synchronise with: the standard library's, or loom's under its tests.
//!
//! `Arc` is the standard library's in both: of it nothing more is relied on than what it says.

#[cfg(all(test, loom))]
pub(super) use loom::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};
#[cfg(all(test, loom))]
pub(super) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(all(test, loom)))]
pub(super) use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};
#[cfg(not(all(test, loom)))]
pub(super) use std::sync::{Mutex, MutexGuard};

/// Variables of a thread, each with what it begins as.
macro_rules! thread_locals {
    ($(static $name:ident: $type:ty = $first:expr;)*) => {
        #[cfg(not(all(test, loom)))]
        std::thread_local! { $(static $name: $type = const { $first };)* }
        #[cfg(all(test, loom))]
        loom::thread_local! { $(static $name: $type = $first;)* }
    };
}
pub(super) use thread_locals;

/// A place that threads read and write by turns; whose turn it is, the owner of the place proves.
///
/// Under loom an access that no turn orders is a failure.
pub(super) struct Turn<T> {
    value: std::cell::UnsafeCell<T>,
    #[cfg(all(test, loom))]
    turns: loom::cell::UnsafeCell<()>,
}

impl<T> Turn<T> {
    pub(super) fn new(value: T) -> Self {
        Self {
            value: std::cell::UnsafeCell::new(value),
            #[cfg(all(test, loom))]
            turns: loom::cell::UnsafeCell::new(()),
        }
    }

    /// To be read from.
    #[inline]
    pub(super) fn read(&self) -> *const T {
        #[cfg(all(test, loom))]
        self.turns.with(|_| ());
        self.value.get()
    }

    /// To be written to.
    #[inline]
    pub(super) fn write(&self) -> *mut T {
        #[cfg(all(test, loom))]
        self.turns.with_mut(|_| ());
        self.value.get()
    }

    /// Nobody else has it.
    #[inline]
    pub(super) fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}
