use redis::{ErrorKind, RedisError as Fault, ServerErrorKind};

/// Why a command has no answer. Holds nothing that was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// Nobody configured a server.
    #[error("there is no `redis:` in the configuration")]
    Off,
    /// There is no connection; nothing was sent.
    #[error("Redis is not reachable")]
    Down,
    /// No answer within `redis.timeout`; whether the command was carried out is not known.
    #[error("Redis did not answer in time")]
    Late,
    /// The connection broke; whether the command was carried out is not known.
    #[error("the connection to Redis broke")]
    Broken,
    /// The server said no; its error code.
    #[error("Redis refused: {0}")]
    Refused(String),
    /// An answer that is not of the kind expected.
    #[error("Redis answered something else")]
    Unexpected,
}

impl RedisError {
    pub(super) fn of(error: &Fault) -> Self {
        match error.kind() {
            // A server that just starts, or a replica that was a primary: what is needed is another connection.
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::TryAgain,
            ) => Self::Down,
            // A connection whose bytes make no sense is closed, and says so with the next command.
            ErrorKind::UnexpectedReturnType | ErrorKind::Parse => Self::Unexpected,
            _ if error.is_unrecoverable_error() || error.is_io_error() => Self::Broken,
            _ => Self::Refused(error.code().unwrap_or("an error").to_owned()),
        }
    }
}
