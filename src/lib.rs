//! Tollgate, a programmable edge gateway for FusionAuth: it finds out **who** is calling, asks the operator's Rhai **rules** what
//! shall happen, and then routes, throttles and bills the request, with Prometheus metrics for everything.
//!
//! # The flow: one way
//!
//! ```text
//!  socket        intake        identify        decide         admit        forward        settle
//!    │             │              │               │              │             │              │
//!  Session ──► Facts ────────► Caller ──────► Decision ────► Admission ──► Upstream ──► Outcome ──► Usage
//!             (model)         identity         rules         throttling     traffic      proxy      billing
//! ```
//!
//! Each arrow is one function, each value is immutable once made, and no stage reads a later stage's value. A refusal at any
//! stage is the same closed type, [`model::Rejection`], and still ends in an outcome: it is always counted, and logged like an
//! answer. The lines of [`gateway::judge`] are the life of a request up to the moment it may leave; read that file next.
//! What they hand out, a [`gateway::Permit`], is the only thing that opens the way to an upstream, so a request that was not
//! judged cannot be proxied, by type.
//!
//! `decide` is synchronous and deterministic: the same facts, caller and rule book give the same [`model::Decision`]. Rules only
//! *record* what they want; the gateway applies it afterwards. That is why `tollgate explain` and `tollgate test` can call the
//! same functions as the proxy, and why a shadow rule can be counted without being felt.
//!
//! Some paths are the gateway's own: where FusionAuth sends people back to after a login, what its browser SDKs call, where it sends
//! its events, and what clients may look up. They are answered before any route is looked at (`gateway/endpoints`, one file for each
//! family). Who is calling is what the request carries, else the session of its browser; a browser that nobody knows leaves for the
//! login (`gateway/identify`).
//!
//! # What changes and what lasts
//!
//! A configuration is read whole, checked whole ([`config`]), compiled into an immutable [`gateway::Snapshot`], and swapped in
//! with one pointer; a request takes the snapshot once and keeps it to its end. What outlives a reload (keys, revocations, renewals
//! of sessions, limits, the ledger, metrics, the upstreams' addresses) is in [`gateway::Lasting`], by name.
//!
//! # The layers
//!
//! Imports point downward only, and `tests/architecture.rs` holds them to it. [`model`] are the nouns. The stages (identity,
//! rules, throttling, traffic, billing) know the nouns and never each other; their pure parts read no clock, no file and no
//! socket. Only [`gateway`] and above see two stages at once. Pingora is known to [`proxy`], [`admin`] and [`server`] alone; every
//! other dependency has one home, too.
//!
//! The modules below are in reading order.

pub mod model;

pub mod tls;

pub mod redis;

pub mod gateway;

pub mod acme;

pub mod identity;

pub mod rules;

pub mod throttling;

pub mod traffic;

pub mod billing;

pub mod config;

pub mod metrics;

pub mod telemetry;

pub mod proxy;

pub mod admin;

pub mod server;

pub mod trial;

pub mod demo;

pub mod cli;
