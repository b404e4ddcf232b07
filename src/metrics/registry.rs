use std::sync::Arc;

use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::listeners::ListenerSeries;
use super::login::LoginCounters;
use super::revocations::{RevocationSeries, RevocationsObserved};
use super::shared::{RedisObserved, RedisSeries};
use super::upstreams::{UpstreamGauges, UpstreamObserved};
use super::{OWN_SECONDS, Protection, REQUEST_SECONDS};
use crate::model::{Name, TokenFault};

/// All metrics of one gateway. Each has its own registry: a process-wide one could not be tested twice.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(super) requests: IntCounterVec,
    pub(super) request_seconds: HistogramVec,
    pub(super) in_flight: IntGaugeVec,
    pub(super) request_bytes: IntCounterVec,
    pub(super) response_bytes: IntCounterVec,
    pub(super) processing_seconds: HistogramVec,
    pub(super) upstream_requests: IntCounterVec,
    pub(super) upstream_seconds: HistogramVec,
    pub(super) upstream_errors: IntCounterVec,
    pub(super) upstream_retries: IntCounterVec,
    pub(super) mirrored: IntCounterVec,
    pub(super) websockets: IntGaugeVec,
    pub(super) websockets_closed: IntCounterVec,
    pub(super) rule_evaluations: IntCounterVec,
    pub(super) rule_seconds: HistogramVec,
    pub(super) rule_actions: IntCounterVec,
    pub(super) throttle_decisions: IntCounterVec,
    pub(super) overflow: IntCounterVec,
    pub(super) listeners: ListenerSeries,
    tokens_valid: IntCounter,
    tokens_refused: Vec<(TokenFault, IntCounter)>,
    reloads: IntCounterVec,
    reload_successful: IntGauge,
    reload_success_timestamp: Gauge,
    config_info: IntGaugeVec,
    /// Connections, and what was refused early.
    pub protection: Protection,
    /// Logins and sessions.
    pub logins: LoginCounters,
    observed: ObservedHandles,
}

/// What is read when somebody asks, instead of being counted by the request.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Per issuer: name, refreshes that worked, refreshes that failed, Unix seconds of the last that worked, keys.
    pub issuers: Vec<(Name, u64, u64, u64, u64)>,
    /// Per issuer: questions about tokens that were active, that were not, that failed, and that nobody asked.
    pub introspections: Vec<(Name, [u64; 4])>,
    /// Verified tokens that are remembered.
    pub cached_tokens: u64,
    /// Limits that are remembered.
    pub throttle_keys: u64,
    /// Draws that had to share the overflow bucket.
    pub throttle_overflows: u64,
    /// Usage lines that wait for their commit.
    pub usage_pending: u64,
    /// Usage lines written.
    pub usage_written: u64,
    /// Usage lines that were lost, as `on_full: unbilled` allows.
    pub usage_dropped: u64,
    /// Unix seconds of the last commit; 0 before the first.
    pub usage_last_success: f64,
    /// Access log lines that found no room.
    pub access_log_dropped: u64,
    /// Spans that reached the collector, that did not, and that found no room.
    pub spans: [u64; 3],
    /// Upstream, server, and whether its address is known.
    pub servers: Vec<(Name, Name, bool)>,
    /// The connection to Redis.
    pub redis: RedisObserved,
    /// Revocations.
    pub revocations: RevocationsObserved,
    /// Per upstream, with what is known of each server.
    pub upstreams: Vec<UpstreamObserved>,
}

#[derive(Debug)]
struct ObservedHandles {
    jwks_refreshes: IntCounterVec,
    introspections: IntCounterVec,
    jwks_last_success: GaugeVec,
    jwks_keys: IntGaugeVec,
    cached_tokens: IntGauge,
    throttle_keys: IntGauge,
    throttle_overflows: IntCounter,
    usage_events: IntCounterVec,
    usage_pending: IntGauge,
    usage_last_success: Gauge,
    access_log_dropped: IntCounter,
    spans: IntCounterVec,
    server_resolved: IntGaugeVec,
    revocations: RevocationSeries,
    redis: RedisSeries,
    upstreams: UpstreamGauges,
}

impl Metrics {
    /// Declares everything.
    pub fn new() -> Result<Arc<Self>, prometheus::Error> {
        let registry = Registry::new();
        let declare = Declare(&registry);
        let tokens = declare.counters("auth_tokens_total", "Tokens looked at, by result.", &["result"])?;
        let metrics = Self {
            requests: declare.counters(
                "http_requests_total",
                "Requests answered or given up, counted at their end.",
                &["route", "method", "code", "outcome"],
            )?,
            request_seconds: declare.histograms(
                "http_request_duration_seconds",
                "From the first byte of a request to the last byte of its answer.",
                &["route", "outcome"],
                REQUEST_SECONDS,
            )?,
            in_flight: declare.gauges("http_requests_in_flight", "Requests that are being worked on.", &["route"])?,
            request_bytes: declare.counters("http_request_body_bytes_total", "Body bytes received from clients.", &["route"])?,
            response_bytes: declare.counters("http_response_body_bytes_total", "Body bytes sent to clients.", &["route"])?,
            processing_seconds: declare.histograms(
                "processing_duration_seconds",
                "What the gateway itself adds, by phase.",
                &["phase"],
                OWN_SECONDS,
            )?,
            upstream_requests: declare.counters("upstream_requests_total", "Answers of upstreams.", &["upstream", "code"])?,
            upstream_seconds: declare.histograms(
                "upstream_request_duration_seconds",
                "From sending a request to an upstream to the head of its answer.",
                &["upstream"],
                REQUEST_SECONDS,
            )?,
            upstream_errors: declare.counters(
                "upstream_errors_total",
                "Attempts that an upstream did not answer properly.",
                &["upstream", "reason"],
            )?,
            upstream_retries: declare.counters("upstream_retries_total", "Attempts after the first.", &["upstream"])?,
            mirrored: declare.counters(
                "mirrored_requests_total",
                "Copies for a mirror, by what became of them.",
                &["route", "upstream", "result"],
            )?,
            websockets: declare.gauges("websockets", "WebSockets that are open.", &["route"])?,
            websockets_closed: declare.counters(
                "websockets_closed_total",
                "WebSockets by how they ended.",
                &["route", "reason"],
            )?,
            rule_evaluations: declare.counters(
                "rule_evaluations_total",
                "Hooks run, by how they ended.",
                &["rule", "hook", "result"],
            )?,
            rule_seconds: declare.histograms("rule_duration_seconds", "Time in one hook.", &["rule", "hook"], OWN_SECONDS)?,
            rule_actions: declare.counters("rule_actions_total", "Verbs recorded.", &["rule", "action", "mode"])?,
            throttle_decisions: declare.counters("throttle_decisions_total", "Limits drawn from.", &["rule", "result"])?,
            overflow: declare.counters(
                "metrics_overflow_total",
                "Increments folded into _other because a metric has too many series.",
                &["metric"],
            )?,
            listeners: ListenerSeries::declare(&declare)?,
            tokens_valid: tokens.with_label_values(&["valid"]),
            tokens_refused: TokenFault::ALL.map(|fault| (fault, tokens.with_label_values(&[fault.label()]))).into(),
            reloads: declare.counters("config_reloads_total", "Attempts to load a configuration.", &["result"])?,
            reload_successful: declare.gauge("config_last_reload_successful", "Whether the last attempt succeeded.")?,
            reload_success_timestamp: declare
                .float("config_last_reload_success_timestamp_seconds", "When a configuration was last loaded.")?,
            config_info: declare.gauges(
                "config_info",
                "The configuration and rules in use, by their hashes.",
                &["config_sha256", "rules_sha256"],
            )?,
            protection: Protection::declare(&declare)?,
            logins: LoginCounters::declare(&declare)?,
            observed: ObservedHandles::declare(&declare)?,
            registry,
        };
        for result in ["success", "failure"] {
            metrics.reloads.with_label_values(&[result]);
        }
        let build = declare_build(&metrics.registry)?;
        build.set(1);
        #[cfg(target_os = "linux")]
        metrics.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Arc::new(metrics))
    }

    /// Counts a token that was looked at.
    pub fn token(&self, refused: Option<TokenFault>) {
        match refused {
            None => self.tokens_valid.inc(),
            Some(fault) => {
                if let Some((_, counter)) = self.tokens_refused.iter().find(|(f, _)| *f == fault) {
                    counter.inc();
                }
            }
        }
    }

    /// A configuration is in use now.
    pub fn loaded(&self, config_sha256: &str, rules_sha256: &str, unix_seconds: f64) {
        self.reloads.with_label_values(&["success"]).inc();
        self.reload_successful.set(1);
        self.reload_success_timestamp.set(unix_seconds);
        self.config_info.reset();
        self.config_info.with_label_values(&[config_sha256, rules_sha256]).set(1);
    }

    /// A configuration was refused; the one before stays in use.
    pub fn not_loaded(&self) {
        self.reloads.with_label_values(&["failure"]).inc();
        self.reload_successful.set(0);
    }

    /// The text exposition format, with `observed` as it is now.
    pub fn expose(&self, observed: &Observed) -> Vec<u8> {
        self.observed.set(observed);
        let mut text = Vec::new();
        // Encoding into memory fails only for metrics without a name, which the tests would show.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }
}

fn declare_build(registry: &Registry) -> Result<IntGauge, prometheus::Error> {
    let opts = Opts::new("tollgate_build_info", "This build.").const_label("version", env!("CARGO_PKG_VERSION"));
    let gauge = IntGauge::with_opts(opts)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

impl ListenerSeries {
    fn declare(declare: &Declare<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            connections: declare.counters("connections_total", "Connections accepted.", &["listener"])?,
            handshakes: declare.counters(
                "tls_handshakes_total",
                "TLS handshakes, by how they ended.",
                &["listener", "result"],
            )?,
            handshake_seconds: declare.histograms(
                "tls_handshake_duration_seconds",
                "Of TLS handshakes that worked, the network's share included.",
                &["listener"],
                REQUEST_SECONDS,
            )?,
            certificate_expiry: declare.floats(
                "tls_certificate_expiry_timestamp_seconds",
                "When a certificate in use ends.",
                &["listener", "name"],
            )?,
            proxy_headers: declare.counters(
                "proxy_protocol_refusals_total",
                "Connections closed because no trusted proxy introduced them properly.",
                &["listener"],
            )?,
            acme_orders: declare.counters(
                "acme_orders_total",
                "Certificates ordered from an ACME server.",
                &["name", "result"],
            )?,
        })
    }
}

impl ObservedHandles {
    fn declare(declare: &Declare<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            jwks_refreshes: declare.counters("jwks_refreshes_total", "Fetches of key sets.", &["issuer", "result"])?,
            introspections: declare.counters("introspections_total", "Questions about tokens.", &["issuer", "result"])?,
            jwks_last_success: declare.floats(
                "jwks_last_success_timestamp_seconds",
                "When a key set was last fetched.",
                &["issuer"],
            )?,
            jwks_keys: declare.gauges("jwks_keys", "Keys that are accepted.", &["issuer"])?,
            cached_tokens: declare.gauge("auth_cached_tokens", "Verified tokens that are remembered.")?,
            throttle_keys: declare.gauge("throttle_keys", "Limits that are remembered.")?,
            throttle_overflows: declare.counter("throttle_key_overflow_total", "Draws that had to share the overflow bucket.")?,
            usage_events: declare.counters("usage_events_total", "Usage lines by what became of them.", &["result"])?,
            usage_pending: declare.gauge("usage_events_pending", "Usage lines that wait for their commit.")?,
            usage_last_success: declare.float("usage_last_success_timestamp_seconds", "When usage was last committed.")?,
            spans: declare.counters("trace_spans_total", "Spans by what became of them.", &["result"])?,
            access_log_dropped: declare.counter("access_log_dropped_total", "Access log lines that found no room.")?,
            server_resolved: declare.gauges(
                "upstream_server_resolved",
                "Whether a server's address is known.",
                &["upstream", "server"],
            )?,
            revocations: RevocationSeries::declare(declare)?,
            redis: RedisSeries::declare(declare)?,
            upstreams: UpstreamGauges::declare(declare)?,
        })
    }

    fn set(&self, now: &Observed) {
        for (issuer, worked, failed, last, keys) in &now.issuers {
            catch_up(&self.jwks_refreshes.with_label_values(&[issuer, "success"]), *worked);
            catch_up(&self.jwks_refreshes.with_label_values(&[issuer, "failure"]), *failed);
            self.jwks_last_success.with_label_values(&[issuer]).set(*last as f64);
            self.jwks_keys.with_label_values(&[issuer]).set(signed(*keys));
        }
        for (issuer, counts) in &now.introspections {
            for (result, count) in ["active", "inactive", "failure", "not_asked"].into_iter().zip(counts) {
                catch_up(&self.introspections.with_label_values(&[issuer, result]), *count);
            }
        }
        self.cached_tokens.set(signed(now.cached_tokens));
        self.throttle_keys.set(signed(now.throttle_keys));
        catch_up(&self.throttle_overflows, now.throttle_overflows);
        catch_up(&self.usage_events.with_label_values(&["written"]), now.usage_written);
        catch_up(&self.usage_events.with_label_values(&["dropped"]), now.usage_dropped);
        self.usage_pending.set(signed(now.usage_pending));
        self.usage_last_success.set(now.usage_last_success);
        catch_up(&self.access_log_dropped, now.access_log_dropped);
        for (result, count) in ["exported", "failed", "dropped"].iter().zip(now.spans) {
            catch_up(&self.spans.with_label_values(&[result]), count);
        }
        self.revocations.set(&now.revocations);
        self.redis.set(now.redis);
        self.upstreams.set(&now.upstreams);
        self.server_resolved.reset();
        for (upstream, server, known) in &now.servers {
            self.server_resolved.with_label_values(&[upstream, server]).set(i64::from(*known));
        }
    }
}

/// Counters that are kept elsewhere only ever grow; two scrapes at once may race, and a counter must not count twice.
pub(super) fn catch_up(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Registers what it makes, under the one prefix.
pub(super) struct Declare<'a>(&'a Registry);

impl Declare<'_> {
    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(format!("tollgate_{name}"), help)
    }

    fn add<C: prometheus::core::Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Self::opts(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::with_opts(Self::opts(name, help))?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Self::opts(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(Self::opts(name, help))?)
    }

    fn floats(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.add(GaugeVec::new(Self::opts(name, help), labels)?)
    }

    pub(super) fn float(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.add(Gauge::with_opts(Self::opts(name, help))?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::new(format!("tollgate_{name}"), help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(opts, labels)?)
    }
}
