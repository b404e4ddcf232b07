use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisResult, cmd};
use tokio::time::{sleep, timeout};

use super::{Redis, RedisState};
use crate::model::settings;

/// For a connection with TLS and a password over an ocean.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a connection is asked whether it lives, and how long it may take to say so.
const PULSE: Duration = Duration::from_secs(1);
/// Between attempts to connect: doubled from the first to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// One connection, shared by all.
///
/// Not the library's `ConnectionManager`: that one makes every command wait for the connection that it makes again, and belongs to
/// the runtime of whoever asked first.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    doubtful: AtomicBool,
}

impl Link {
    /// A command got no answer, so nobody waits for another one until the server has shown that it lives.
    pub(super) fn doubt(&self) {
        self.doubtful.store(true, Ordering::Release);
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful.load(Ordering::Acquire)
    }
}

impl Redis {
    /// Connects, asks whether the server lives, and connects again. Runs until cancelled, on one runtime, once per process.
    pub async fn keep_connected(&self) {
        let mut pause = PAUSES.0;
        loop {
            let Some(settings) = self.settings.load_full() else {
                self.nudge.notified().await;
                continue;
            };
            match connect(&settings).await {
                Ok(connection) => {
                    pause = PAUSES.0;
                    let link = Arc::new(Link { connection, doubtful: AtomicBool::new(false) });
                    if self.is_current(&settings) {
                        self.began(&link);
                        self.watch(&link, &settings).await;
                    }
                }
                Err(error) if self.is_current(&settings) => {
                    self.lost(error);
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.nudge.notified() => sleep(PAUSES.0).await,
                    }
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(_) => {}
            }
        }
    }

    fn is_current(&self, settings: &Arc<settings::Redis>) -> bool {
        self.settings.load().as_ref().is_some_and(|current| Arc::ptr_eq(current, settings))
    }

    /// Returns when the connection is no good any more, or not the one that is wanted.
    async fn watch(&self, link: &Link, settings: &Arc<settings::Redis>) {
        loop {
            tokio::select! {
                () = sleep(PULSE) => {}
                () = self.nudge.notified() => {}
            }
            if !self.is_current(settings) {
                return;
            }
            let (ping, mut connection) = (cmd("PING"), link.connection.clone());
            match timeout(PULSE, ping.query_async::<String>(&mut connection)).await {
                Ok(Ok(_)) => link.doubtful.store(false, Ordering::Release),
                Ok(Err(error)) => return self.lost(describe(&error)),
                Err(_) => return self.lost("no answer to a PING".into()),
            }
        }
    }

    fn began(&self, link: &Arc<Link>) {
        let error = self.last_error.lock().take();
        if let Some(error) = error {
            tracing::info!("connected to Redis again after: {error}");
        }
        self.link.store(Some(Arc::clone(link)));
        self.state.send_replace(RedisState::Up);
    }

    fn lost(&self, error: String) {
        let is_news = self.last_error.lock().replace(error.clone()).is_none_or(|last| last != error);
        if is_news {
            tracing::warn!("no connection to Redis: {error}");
        }
        self.link.store(None);
        self.state.send_replace(RedisState::Down);
    }
}

/// A connection of one's own.
pub(super) async fn connect(settings: &settings::Redis) -> Result<MultiplexedConnection, String> {
    let attempt = async {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        client(settings)?.get_multiplexed_async_connection_with_config(&config).await
    };
    match timeout(CONNECT, attempt).await {
        Ok(connected) => connected.map_err(|error| describe(&error)),
        Err(_) => Err(format!("no connection within {CONNECT:?}")),
    }
}

fn client(settings: &settings::Redis) -> RedisResult<Client> {
    let (host, port) = (settings.host.clone(), settings.port);
    let address = if settings.tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut login = RedisConnectionInfo::default().set_db(settings.database.into()).set_skip_set_lib_name();
    if let Some(username) = &settings.username {
        login = login.set_username(username);
    }
    if let Some(password) = &settings.password {
        login = login.set_password(password.expose());
    }
    Client::open(address.into_connection_info()?.set_redis_settings(login))
}

/// Without what was sent: the library's details are the server's words about the command.
fn describe(error: &redis::RedisError) -> String {
    match error.code() {
        Some(code) => format!("the server says {code}"),
        None => error.to_string(),
    }
}
