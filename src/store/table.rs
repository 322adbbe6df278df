//! The arena: ids to objects and actors in O(1), without a hash map.
//!
//! ```text
//! index ─► [generation | weak entry]   a free place keeps its generation, which grows by one when
//!          [generation | next free ]   the place is taken again; so an old id finds nothing
//! ```

use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use crate::id::Place;

/// Places with generations, holding a `Weak<T>` each.
#[derive(Debug)]
pub(crate) struct Table<T: ?Sized>(Mutex<Inner<T>>);

#[derive(Debug)]
struct Inner<T: ?Sized> {
    places: Vec<Cell<T>>,
    free: Option<u32>,
    taken: usize,
}

#[derive(Debug)]
struct Cell<T: ?Sized> {
    generation: u32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T: ?Sized> {
    Taken(Entry<T>),
    Free { next: Option<u32> },
}

/// What a place holds: it keeps nothing alive.
pub(crate) type Entry<T> = Weak<T>;

impl<T: ?Sized> Default for Table<T> {
    fn default() -> Self {
        Self(Mutex::new(Inner { places: Vec::new(), free: None, taken: 0 }))
    }
}

impl<T: ?Sized> Table<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives `entry` a place of its own.
    pub(crate) fn insert(&self, entry: Entry<T>) -> Place {
        let mut inner = self.lock();
        inner.taken += 1;
        if let Some(index) = inner.free {
            let cell = &mut inner.places[index as usize];
            let Content::Free { next } = cell.content else {
                unreachable!("the free list holds free places only")
            };
            cell.generation = cell.generation.wrapping_add(1);
            cell.content = Content::Taken(entry);
            let place = Place { index, generation: cell.generation };
            inner.free = next;
            return place;
        }
        let index = u32::try_from(inner.places.len()).expect("fewer than 2^32 objects at once");
        inner.places.push(Cell { generation: 0, content: Content::Taken(entry) });
        Place { index, generation: 0 }
    }

    /// What stands at `place`, if it still does.
    pub(crate) fn get(&self, place: Place) -> Option<Entry<T>> {
        let inner = self.lock();
        let cell = inner.places.get(place.index as usize)?;
        match &cell.content {
            Content::Taken(entry) if cell.generation == place.generation => Some(entry.clone()),
            _ => None,
        }
    }

    /// Frees `place`; nothing happens if it was freed before.
    pub(crate) fn remove(&self, place: Place) {
        let mut inner = self.lock();
        let next = inner.free;
        let Some(cell) = inner.places.get_mut(place.index as usize) else { return };
        if cell.generation == place.generation && matches!(cell.content, Content::Taken(_)) {
            cell.content = Content::Free { next };
            inner.free = Some(place.index);
            inner.taken -= 1;
        }
    }

    /// How many places are taken.
    pub(crate) fn len(&self) -> usize {
        self.lock().taken
    }

    /// All that stands in it now.
    pub(crate) fn entries(&self) -> Vec<Entry<T>> {
        let inner = self.lock();
        let taken = |cell: &Cell<T>| match &cell.content {
            Content::Taken(entry) => Some(entry.clone()),
            Content::Free { .. } => None,
        };
        inner.places.iter().filter_map(taken).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn an_old_id_finds_nothing_after_its_place_was_taken_again() {
        let table = Table::default();
        let (a, b) = (Arc::new(1), Arc::new(2));
        let first = table.insert(Arc::downgrade(&a));
        table.remove(first);
        table.remove(first);
        let second = table.insert(Arc::downgrade(&b));
        assert_eq!(first.index, second.index);
        assert!(table.get(first).is_none());
        assert_eq!(table.get(second).and_then(|entry| entry.upgrade()), Some(b));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn any_mix_of_inserts_and_removes_keeps_each_entry_at_its_id() {
        let table = Table::default();
        let mut live: Vec<(Place, Arc<u64>)> = Vec::new();
        let mut random = 1_u64;
        for n in 0..if cfg!(miri) { 300 } else { 10_000 } {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if random >> 63 == 0 || live.is_empty() {
                let value = Arc::new(n);
                live.push((table.insert(Arc::downgrade(&value)), value));
            } else {
                let (place, _) = live.swap_remove((random >> 33) as usize % live.len());
                table.remove(place);
                assert!(table.get(place).is_none());
            }
            assert_eq!(table.len(), live.len());
        }
        for (place, value) in &live {
            let found = table.get(*place).and_then(|entry| entry.upgrade());
            assert_eq!(found.as_ref(), Some(value));
        }
    }
}
