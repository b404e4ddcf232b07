//! What pingora's errors mean.

use pingora::prelude::Error;
use pingora::{ErrorSource, ErrorType};

use crate::model::{OutcomeKind, UpstreamFault};

/// How an exchange is counted that ended with this error after its answer had begun.
pub(super) fn kind(error: &Error) -> OutcomeKind {
    match error.esource() {
        ErrorSource::Downstream => OutcomeKind::ClientClosed,
        ErrorSource::Upstream => OutcomeKind::UpstreamError,
        ErrorSource::Internal | ErrorSource::Unset => OutcomeKind::UpstreamError,
    }
}

/// What an upstream did.
pub(super) fn upstream(error: &Error) -> UpstreamFault {
    match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::ReadTimedout | ErrorType::WriteTimedout => UpstreamFault::Timeout,
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::TLSWantX509Lookup
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError => UpstreamFault::Tls,
        ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::ConnectProxyFailure
        | ErrorType::BindError
        | ErrorType::SocketError => UpstreamFault::Connect,
        _ => UpstreamFault::Reset,
    }
}

/// Whether the client is gone, so that no answer can reach it.
pub(super) fn is_client_gone(error: &Error) -> bool {
    matches!(error.esource(), ErrorSource::Downstream)
        && matches!(
            error.etype(),
            ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed | ErrorType::WriteTimedout
        )
}
