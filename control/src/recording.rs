//! What is written down of flows, and of who changed what: pure forms and bounded memories. Files,
//! sockets and threads are the daemon's.

pub(crate) mod ended;
pub(crate) mod event;
pub(crate) mod ipfix;
