//! A guide for those who know Ray, and for those who do not: no code but that of its pages, which is run.
//!
//! Start with [`from_ray`], or with the page of the Ray document that you know:
//!
//! | page | after | what is there |
//! |---|---|---|
//! | [`from_ray`] | | what is written otherwise, and what behaves otherwise |
//! | [`tasks_and_trees`] | *Modern parallel and distributed Python* | tasks, what they wait for, sums as trees, actors |
//! | [`mechanisms`] | *How Ray works* | refs, nested tasks, `wait`, `put`, GPUs |
//! | [`actors`] | *Actors* | classes that are remote, an environment in an actor, GPUs |
//! | [`actor_handles`] | *Passing around actor handles* | handles in tasks, results, objects and other actors |
//! | [`remote_classes`] | *Remote stateful classes* | a trait for two classes, progress of tasks |
//! | [`patterns`] | | what has proved good |
//! | [`anti_patterns`] | | what has not, and what to write instead |
//!
//! Whole programs are under `examples/`; some have a twin in Python under `examples/python/`.

#[doc = include_str!("from_ray.md")]
pub mod from_ray {}

#[doc = include_str!("tasks_and_trees.md")]
pub mod tasks_and_trees {}

#[doc = include_str!("mechanisms.md")]
pub mod mechanisms {}

#[doc = include_str!("actors.md")]
pub mod actors {}

#[doc = include_str!("actor_handles.md")]
pub mod actor_handles {}

#[doc = include_str!("remote_classes.md")]
pub mod remote_classes {}

#[doc = include_str!("patterns.md")]
pub mod patterns {}

#[doc = include_str!("anti_patterns.md")]
pub mod anti_patterns {}
