//! Streams whose producer or reader is in another process.

use std::sync::{Arc, Weak};

use super::{Attached, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::executor;
use crate::id::ObjectId;
use crate::protocol::Message;
use crate::registry::Items;
use crate::store::{Listener, Waiter};
use crate::transport::{Load, When, Window};
use crate::value::Encoded;

/// The way of a producer's items to its reader.
pub(super) struct Outlet {
    host: Weak<Attached>,
    call: u64,
    window: Window,
}

impl Items for Outlet {
    fn push(&self, item: Encoded) -> Result<()> {
        self.window.enter()?;
        let over = || Error::new(ErrorKind::Cancelled, "the parent is gone");
        let host = self.host.upgrade().ok_or_else(over)?;
        host.peer().send(&Message::Item { call: self.call }, Some(&item), When::Now)
    }
}

impl Attached {
    /// The way of the items of a call to the parent.
    pub(super) fn outlet(&self, call: u64) -> Arc<Outlet> {
        Arc::new(Outlet { host: self.me.clone(), call, window: Window::default() })
    }

    /// The reader has taken items.
    pub(super) fn taken(&self, call: u64, count: u32) {
        let outlet = lock(&self.producers).get(&call).cloned();
        if let Some(outlet) = outlet {
            outlet.window.taken(count);
        }
    }

    /// An item came for a stream that is read here.
    pub(super) fn yielded(&self, object: ObjectId, load: &Load) {
        // Taken out while the item is read: users' code reads it.
        let call = lock(&self.pending).get_mut(&object).and_then(Option::take);
        let Some(mut call) = call else { return };
        let fed = executor::caught(|| call.feed(&mut load.unpacker()));
        if let Some(place) = lock(&self.pending).get_mut(&object) {
            *place = Some(call);
        }
        let reader = Arc::new(Reader { host: self.me.clone(), object });
        match fed {
            Ok(None) => reader.ready(0, false),
            Ok(Some(room)) => {
                if let Some(waiter) = room.head().listen(Waiter { listener: reader, token: 0 }) {
                    waiter.listener.ready(0, false);
                }
            }
            Err(error) => {
                let found = lock(&self.objects).get(&object).and_then(Weak::upgrade);
                if let Some(found) = found {
                    found.fail(error);
                }
            }
        }
    }
}

/// Tells the producer that there is room for one item more.
struct Reader {
    host: Weak<Attached>,
    object: ObjectId,
}

impl Listener for Reader {
    fn ready(&self, _: usize, _: bool) {
        if let Some(host) = self.host.upgrade() {
            host.tell(&Message::Read { object: self.object, count: 1 });
        }
    }
}
