//! A slot by itself, and its refs on several threads.

use std::sync::atomic::AtomicUsize;
use std::thread;

use super::*;
use crate::store::notify::Listener;

static TEST: Definition = Definition::internal("test");

fn counted<T: Value>(slot: Arc<Slot<T>>) -> Counted<dyn Of<T>> {
    let object: Arc<dyn Of<T>> = slot;
    Counted::new(object)
}

struct Told(AtomicUsize);

impl Listener for Told {
    fn ready(&self, token: usize, _failed: bool) {
        self.0.fetch_add(token, Ordering::Relaxed);
    }
}

fn wait(told: &Arc<Told>, token: usize) -> Waiter {
    Waiter { listener: told.clone(), token }
}

#[test]
fn the_first_completion_wins_and_tells_each_waiter_once() {
    let slot = Slot::<String>::empty(&TEST);
    let told = Arc::new(Told(AtomicUsize::new(0)));
    assert!(slot.head().listen(wait(&told, 1)).is_none());
    assert!(slot.head().listen(wait(&told, 10)).is_none());
    assert!(slot.complete(Ok("first".into())));
    assert!(!slot.fail(Error::new(ErrorKind::Cancelled, "late")));
    assert!(slot.head().listen(wait(&told, 100)).is_some());
    assert_eq!(told.0.load(Ordering::Relaxed), 11);
    assert_eq!(counted(slot).value().and_then(std::result::Result::ok).map(String::as_str), Some("first"));
}

#[test]
fn only_the_last_ref_moves_the_value_out() {
    let first = counted(Slot::full(&TEST, vec![1, 2, 3]));
    let second = first.clone();
    let first = first.take().expect_err("another ref holds it");
    assert_eq!(first.value().and_then(std::result::Result::ok), Some(&vec![1, 2, 3]));
    drop(second);
    let object = first.object().clone();
    assert_eq!(first.take().ok(), Some(vec![1, 2, 3]));
    assert!(Counted::found(object).is_none());
}

#[test]
fn readers_and_completers_on_many_threads_agree() {
    let rounds = if cfg!(miri) { 3 } else { 300 };
    for round in 0..rounds {
        let slot = Slot::<Box<u64>>::empty(&TEST);
        let told = Arc::new(Told(AtomicUsize::new(0)));
        thread::scope(|scope| {
            for n in 0..2 {
                let slot = &slot;
                scope.spawn(move || slot.complete(Ok(Box::new(round * 2 + n))));
            }
            for _ in 0..2 {
                let (slot, told) = (slot.clone(), told.clone());
                scope.spawn(move || {
                    if let Some(waiter) = slot.head().listen(wait(&told, 1)) {
                        waiter.listener.ready(waiter.token, false);
                    }
                    let counted = counted(slot);
                    let copy = counted.value().and_then(std::result::Result::ok).cloned();
                    assert!(copy.is_none_or(|value| *value / 2 == round));
                });
            }
        });
        assert_eq!(told.0.load(Ordering::Relaxed), 2);
        assert!(counted(slot).take().is_ok());
    }
}

#[test]
fn a_dropped_ref_has_done_its_reading_before_the_value_moves() {
    let rounds = if cfg!(miri) { 5 } else { 1_000 };
    for _ in 0..rounds {
        let mine = counted(Slot::full(&TEST, String::from("value")));
        let other = mine.clone();
        thread::scope(|scope| {
            scope.spawn(move || {
                assert_eq!(other.value().and_then(std::result::Result::ok).map(String::len), Some(5));
            });
            let mut mine = mine;
            loop {
                match mine.take() {
                    Ok(value) => break assert_eq!(value, "value"),
                    Err(back) => mine = back,
                }
                thread::yield_now();
            }
        });
    }
}

#[test]
fn an_id_is_made_once_and_freed_with_the_slot() {
    let table: Arc<Table<dyn Object>> = Arc::default();
    let slot = Slot::full(&TEST, 7);
    let object: Arc<dyn Object> = slot.clone();
    let weak = Arc::downgrade(&object);
    let id = object.head().id(&weak, WorkerId(0), &table);
    assert_eq!(object.head().id(&weak, WorkerId(0), &table), id);
    assert_eq!(table.len(), 1);
    drop((slot, object));
    assert_eq!(table.len(), 0);
    assert!(table.get(id.place).is_none());
}

#[test]
fn a_hot_struct_stays_small() {
    assert!(size_of::<Slot<i64>>() <= 112, "{}", size_of::<Slot<i64>>());
}
