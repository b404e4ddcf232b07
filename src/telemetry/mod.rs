//! Spans for a collector of OpenTelemetry, over OTLP/HTTP. Made when a request is settled, from what is known then: a request itself
//! does nothing for them but choose two numbers.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor};

use crate::model::Trace;
use crate::model::settings::Tracing;

/// Spans that wait; more are dropped and counted.
const WAITING: u64 = 4_096;

/// Spans in one message to the collector.
const BATCH: usize = 512;

/// For one message.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where spans go.
pub struct Spans {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    counts: Arc<Counts>,
}

/// What became of spans.
#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    exported: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// A span as the gateway knows it.
pub struct Span<'a> {
    /// Where it belongs.
    pub trace: &'a Trace,
    /// What it is called: few different names.
    pub name: String,
    /// The gateway's own part, or its call of the upstream.
    pub is_upstream: bool,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What is known about it.
    pub attributes: Vec<(Cow<'static, str>, Value)>,
    /// Whether the gateway or the upstream failed.
    pub failed: bool,
}

/// The value of an attribute.
pub enum Value {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
}

impl Spans {
    /// Starts the thread that sends them. Blocks for a moment; not for async code.
    ///
    /// # Errors
    /// Why there cannot be an exporter; never that the collector does not answer.
    pub fn start(settings: &Tracing) -> Result<Option<Self>, String> {
        let Some(endpoint) = &settings.otlp else { return Ok(None) };
        let client =
            reqwest::blocking::Client::builder().timeout(PATIENCE).no_proxy().build().map_err(|error| error.to_string())?;
        let authorization = settings.authorization.iter().map(|value| ("authorization".to_owned(), value.expose().to_owned()));
        let exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(PATIENCE)
            .with_headers(authorization.collect())
            .build()
            .map_err(|error| error.to_string())?;
        let counts = Arc::new(Counts::default());
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING as usize + BATCH)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(Duration::from_secs(1))
            .build();
        let mut processor =
            BatchSpanProcessor::builder(Counting { exporter, counts: Arc::clone(&counts) }).with_batch_config(config).build();
        let service = KeyValue::new("service.name", settings.service_name.clone());
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        processor.set_resource(&Resource::builder_empty().with_attributes([service, version]).build());
        let scope = InstrumentationScope::builder("tollgate").with_version(env!("CARGO_PKG_VERSION")).build();
        Ok(Some(Self { processor, scope, counts }))
    }

    /// Takes a span, unless too many wait.
    pub fn record(&self, span: Span<'_>) {
        let counts = &self.counts;
        let gone = counts.exported.load(Ordering::Relaxed) + counts.failed.load(Ordering::Relaxed);
        if counts.taken.load(Ordering::Relaxed).saturating_sub(gone) >= WAITING {
            counts.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        counts.taken.fetch_add(1, Ordering::Relaxed);
        let trace = span.trace;
        let (own, parent) = match span.is_upstream {
            true => (trace.upstream_span, Some(trace.span)),
            false => (trace.span, trace.parent),
        };
        let id = TraceId::from_bytes(trace.id.to_be_bytes());
        self.processor.on_end(SpanData {
            span_context: SpanContext::new(id, SpanId::from(own), TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
            parent_span_is_remote: !span.is_upstream && parent.is_some(),
            span_kind: if span.is_upstream { SpanKind::Client } else { SpanKind::Server },
            name: span.name.into(),
            start_time: span.began,
            end_time: span.ended.max(span.began),
            attributes: span.attributes.into_iter().map(|(key, value)| attribute(key, value)).collect(),
            dropped_attributes_count: 0,
            events: Default::default(),
            links: Default::default(),
            status: if span.failed { Status::error("") } else { Status::Unset },
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Spans that reached the collector, that did not, and that found no room.
    pub fn counts(&self) -> [u64; 3] {
        let counts = &self.counts;
        [&counts.exported, &counts.failed, &counts.dropped].map(|count| count.load(Ordering::Relaxed))
    }

    /// Sends what waits; a collector that does not answer is not waited for long.
    pub fn close(&self) {
        if let Err(error) = self.processor.shutdown_with_timeout(Duration::from_secs(2)) {
            tracing::warn!(%error, "the last spans may not have reached the collector");
        }
    }
}

fn attribute(key: Cow<'static, str>, value: Value) -> KeyValue {
    let key = key.into_owned();
    match value {
        Value::Text(text) => KeyValue::new(key, text),
        Value::Number(number) => KeyValue::new(key, number),
    }
}

/// Counts what the exporter does: the library tells only its own log.
#[derive(Debug)]
struct Counting {
    exporter: OtlpExporter,
    counts: Arc<Counts>,
}

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        let counter = if result.is_ok() { &self.counts.exported } else { &self.counts.failed };
        counter.fetch_add(count, Ordering::Relaxed);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
