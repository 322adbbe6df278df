//! [`tree_reduce`]: many values combined into one, pair by pair.

use std::sync::Arc;

use super::arg::{Arg, IntoArg};
use super::call::{complete, submit};
use super::completed::as_completed;
use super::object::{ObjectRef, put};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Definition, Options};
use crate::store::{Job, Object, Progress, Seat};
use crate::value::{Packer, Value};

/// Combines `items` pair by pair as a tree: n - 1 calls, of which about log2(n) stand in a row.
///
/// `combine` must be associative; order is kept, since only neighbours are combined. Items are values,
/// refs, or [`Arg`]s of both. `None` if there are none; a single one comes back as it is.
pub fn tree_reduce<T, I>(items: I, combine: impl Fn(Arg<T>, Arg<T>) -> ObjectRef<T>) -> Option<ObjectRef<T>>
where
    T: Value,
    I: IntoIterator,
    I::Item: IntoArg<T>,
{
    let mut level: Vec<Arg<T>> = items.into_iter().map(IntoArg::into_arg).collect();
    while level.len() > 1 {
        let mut next = Vec::with_capacity(level.len().div_ceil(2));
        let mut items = level.into_iter();
        while let Some(left) = items.next() {
            next.push(match items.next() {
                Some(right) => Arg::Ref(combine(left, right)),
                None => left,
            });
        }
        level = next;
    }
    level.pop().map(object_of)
}

fn object_of<T: Value>(item: Arg<T>) -> ObjectRef<T> {
    static ITEM: Definition = Definition::internal("tree_reduce");
    match item {
        Arg::Ref(object) => object,
        Arg::Value(value) => put(value).unwrap_or_else(|error| ObjectRef::failed(&ITEM, error)),
    }
}

/// As [`tree_reduce`], but combines what is there first: `combine` must be commutative, too. Faster where
/// the items take unequally long. It fails as soon as an item or a combination does.
pub fn tree_reduce_unordered<T, I, F>(items: I, combine: F) -> Option<ObjectRef<T>>
where
    T: Value + Clone,
    I: IntoIterator,
    I::Item: IntoArg<T>,
    F: Fn(Arg<T>, Arg<T>) -> ObjectRef<T> + Send + 'static,
{
    static REDUCE: Definition = Definition::internal("tree_reduce_unordered");
    let items: Vec<ObjectRef<T>> = items.into_iter().map(|item| object_of(item.into_arg())).collect();
    if items.len() < 2 {
        return items.into_iter().next();
    }
    let job = ReduceJob { items, combine };
    Some(submit(&REDUCE, Some(Options::new().num_cpus(0.0)), Vec::new(), job))
}

/// A task without a CPU that waits for pairs and starts their combination.
struct ReduceJob<T: Send + Sync + 'static, F> {
    items: Vec<ObjectRef<T>>,
    combine: F,
}

impl<T: Value + Clone, F: Fn(Arg<T>, Arg<T>) -> ObjectRef<T> + Send> ReduceJob<T, F> {
    fn reduce(self) -> Result<T> {
        let mut refs = as_completed(self.items);
        let mut waits: Option<ObjectRef<T>> = None;
        while let Some(object) = refs.next() {
            drop(object.view()?);
            match waits.take() {
                None => waits = Some(object),
                Some(other) => refs.push((self.combine)(Arg::Ref(other), Arg::Ref(object))),
            }
        }
        waits.expect("combining pairs leaves one").take_or_clone()
    }
}

impl<T: Value + Clone, F: Fn(Arg<T>, Arg<T>) -> ObjectRef<T> + Send + 'static> Job for ReduceJob<T, F> {
    fn attempt(this: &mut Option<Self>, slot: &Arc<dyn Object>, _: Seat<'_>, _: bool) -> Progress {
        complete(slot, this.take().expect("runs once").reduce())
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        size_of::<Self>()
    }

    /// It holds code, which does not travel: it runs where it was made.
    fn pack(&self, _: &mut Packer) -> Result<()> {
        Err(Error::new(
            ErrorKind::Unsupported,
            "an unordered tree is reduced in the process that asked for it",
        ))
    }
}
