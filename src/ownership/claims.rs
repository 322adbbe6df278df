//! The borrower's side.

use std::collections::HashMap;
use std::hash::Hash;

/// What this process has borrowed of one other.
#[derive(Debug)]
pub(crate) struct Claims<K>(HashMap<K, Claim>);

#[derive(Debug)]
struct Claim {
    /// Messages that named it; none if the one that was to do so did not go.
    received: u64,
    /// Those here who hold it.
    users: u64,
}

impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Copy> Claims<K> {
    /// A message named `key`: the message is a user, as long as it is read.
    pub(crate) fn receive(&mut self, key: K) {
        let claim = self.0.entry(key).or_insert(Claim { received: 0, users: 0 });
        claim.received += 1;
        claim.users += 1;
    }

    /// A message that was to name `key` did not go: its users have that much less to return.
    pub(crate) fn withdraw(&mut self, key: K) {
        if let Some(claim) = self.0.get_mut(&key) {
            claim.received = claim.received.saturating_sub(1);
        }
    }

    /// One user more; `false` if there is no claim that could be shared.
    pub(crate) fn share(&mut self, key: K) -> bool {
        let Some(claim) = self.0.get_mut(&key) else { return false };
        claim.users += 1;
        true
    }

    /// A user is gone. What is to be returned, if it was the last.
    pub(crate) fn leave(&mut self, key: K) -> Option<u64> {
        let claim = self.0.get_mut(&key)?;
        claim.users -= 1;
        if claim.users > 0 {
            return None;
        }
        self.0.remove(&key).map(|claim| claim.received).filter(|received| *received > 0)
    }

    /// How many things are borrowed.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let is_sound = |claim: &Claim| claim.users > 0 && claim.received > 0;
        assert!(self.0.values().all(is_sound), "a claim without a user or a message");
    }
}
