//! Towards the upstream and back: which server, which headers, and whether to try again.

mod affinity;
mod deadline;
mod edits;
mod outlet;
mod pick;
mod request;
mod response;
mod retry;
mod review;
mod secrets;

use http::header::HeaderName;
use pingora::ErrorType;
use pingora::prelude::{Error, Result};

pub(super) use deadline::keep_deadline;
pub(super) use outlet::Outlet;
pub(super) use pick::{inspect_connection, pick};
pub(super) use request::shape_request;
pub(super) use response::{secure, shape_response};
pub(super) use retry::{retry_connecting, retry_sending};
pub(super) use review::review;

use super::Exchange;
use crate::model::Ending;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Ends an exchange that cannot go on.
pub(super) fn end<T>(exchange: &mut Exchange, ending: Ending, status: u16) -> Result<T> {
    exchange.end(ending);
    Err(Error::new(ErrorType::HTTPStatus(status)))
}
