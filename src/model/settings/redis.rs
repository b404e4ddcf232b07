use std::time::Duration;

use super::Secret;

/// `redis:`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// A name or an address.
    pub host: String,
    /// Usually 6379.
    pub port: u16,
    /// `rediss://`
    pub tls: bool,
    /// 0 to 15 on most servers.
    pub database: u16,
    /// For servers with ACLs; `None` is the user `default`.
    pub username: Option<String>,
    /// Of the user.
    pub password: Option<Secret>,
    /// How long one command may take.
    pub timeout: Duration,
    /// What every key begins with.
    pub prefix: String,
}
