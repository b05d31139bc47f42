//! Everything that metrics and the page are made of, as of one moment.

use super::server::Daemon;
use crate::api::{Request, Response};
use crate::web::metrics::Facts;

/// What is made of the facts of now; `None` while there are none.
pub(super) fn gather<T>(daemon: &Daemon, with: impl FnOnce(&Facts<'_>) -> T) -> Option<T> {
    let mut controller = daemon.controller.lock();
    let mut ask = |request| controller.answer(&request);
    let answers = (
        ask(Request::Status {}),
        ask(Request::Endpoints {}),
        ask(Request::Services {}),
        ask(Request::Drops { all: true }),
    );
    drop(controller);
    match answers {
        (
            Ok(Response::Status(status)),
            Ok(Response::Endpoints { endpoints }),
            Ok(Response::Services { services }),
            Ok(Response::Drops { drops, .. }),
        ) => Some(with(&Facts {
            status: &status,
            endpoints: &endpoints,
            services: &services,
            drops: &drops,
        })),
        _ => None,
    }
}
