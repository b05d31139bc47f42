//! A batch that is used again by the next world of the thread: it has four mebibytes to clear, and
//! some tests make worlds by the million.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use dataplane::device::Batch;

thread_local! {
    static SPARE: Cell<Option<Batch>> = const { Cell::new(None) };
}

/// See the module's documentation. `None` only while it is given back.
pub(super) struct Lent(Option<Batch>);

impl Lent {
    pub(super) fn new() -> Lent {
        Lent(Some(SPARE.take().unwrap_or_default()))
    }
}

impl Deref for Lent {
    type Target = Batch;

    fn deref(&self) -> &Batch {
        self.0.as_ref().expect("it is there until the end")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut Batch {
        self.0.as_mut().expect("it is there until the end")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        SPARE.set(self.0.take());
    }
}
