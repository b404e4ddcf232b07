//! Tollgate: a programmable edge gateway for FusionAuth.

pub mod billing;
pub mod config;
pub mod demo;
pub mod gateway;
pub mod identity;
pub mod metrics;
pub mod model;
pub mod rules;
pub mod throttling;
pub mod traffic;
