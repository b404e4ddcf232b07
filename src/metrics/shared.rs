use prometheus::{IntCounterVec, IntGauge};

use super::registry::{Declare, catch_up};

/// What is known of the connection to Redis, for one scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisObserved {
    /// Connected.
    pub is_up: bool,
    /// Commands that were answered, and those that were not.
    pub commands: [u64; 2],
}

#[derive(Debug)]
pub(super) struct RedisSeries {
    up: IntGauge,
    commands: IntCounterVec,
}

impl RedisSeries {
    pub(super) fn declare(declare: &Declare<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            up: declare.gauge("redis_up", "Whether there is a connection to Redis.")?,
            commands: declare.counters("redis_commands_total", "Commands for Redis.", &["result"])?,
        })
    }

    pub(super) fn set(&self, now: RedisObserved) {
        self.up.set(i64::from(now.is_up));
        for (result, count) in ["answered", "failed"].iter().zip(now.commands) {
            catch_up(&self.commands.with_label_values(&[result]), count);
        }
    }
}
