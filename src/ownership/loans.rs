//! The lender's side.

use std::collections::HashMap;
use std::hash::Hash;

/// What one other process has borrowed; `H` is what keeps it alive here.
#[derive(Debug)]
pub(crate) struct Loans<K, H>(HashMap<K, Loan<H>>);

#[derive(Debug)]
struct Loan<H> {
    hold: H,
    count: u64,
}

impl<K, H> Default for Loans<K, H> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Copy, H> Loans<K, H> {
    /// A message that names `key` is about to go; a hold that is not needed comes back, to be dropped
    /// where no lock is held.
    pub(crate) fn lend(&mut self, key: K, hold: H) -> Option<H> {
        match self.0.entry(key) {
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                entry.get_mut().count += 1;
                Some(hold)
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(Loan { hold, count: 1 });
                None
            }
        }
    }

    /// The borrower returned `count`. The hold, if nothing is lent any more; `Err` if it was never lent
    /// so often, or nothing came back, which is the borrower's fault and changes nothing.
    pub(crate) fn returned(&mut self, key: K, count: u64) -> Result<Option<H>, NeverLent> {
        let loan = self.0.get_mut(&key).filter(|_| count > 0).ok_or(NeverLent)?;
        let left = loan.count.checked_sub(count).ok_or(NeverLent)?;
        let left = if cfg!(mobula_fault = "freed") { 0 } else { left };
        if left > 0 {
            loan.count = left;
            return Ok(None);
        }
        Ok(self.0.remove(&key).map(|loan| loan.hold))
    }

    /// What is lent under `key`.
    pub(crate) fn get(&self, key: K) -> Option<&H> {
        self.0.get(&key).map(|loan| &loan.hold)
    }

    /// The borrower is gone: all that it had.
    pub(crate) fn end(&mut self) -> Vec<H> {
        self.0.drain().map(|(_, loan)| loan.hold).collect()
    }

    #[cfg(test)]
    /// How many things are lent.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        assert!(self.0.values().all(|loan| loan.count > 0), "a loan of nothing");
    }
}

/// More came back than was lent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeverLent;
