//! The first run without FusionAuth: an issuer of its shape, three small upstreams and a guided tour, all on loopback.
//!
//! Integration tests start the same [`Issuer`] and [`Services`], so what the demo shows is what the tests test.

mod grants;
mod issuer;
mod key;
mod people;
mod ports;
mod remote;
mod services;
mod token;
mod tour;
mod web;

pub use issuer::{APPLICATION_ID, ISSUER, Issuer, TENANT_ID};
pub use people::{CLIENTS, Client, USERS, User};
pub use ports::{PortTaken, Ports};
pub use remote::{MintError, mint_remotely};
pub use services::Services;
pub use token::MintRequest;
pub use tour::{Ink, Tour, TourError};

use std::io;

/// The issuer and the upstreams of a running demo. They stop within a second when this is dropped.
#[derive(Debug)]
pub struct Demo {
    /// Signs tokens.
    pub issuer: Issuer,
    /// What the gateway protects.
    pub services: Services,
}

impl Demo {
    /// Starts everything but the gateway, each on a thread of its own.
    pub fn start(ports: &Ports) -> io::Result<Self> {
        Ok(Self { issuer: Issuer::start(ports.issuer_address())?, services: Services::start(ports.service_addresses())? })
    }
}

#[cfg(test)]
mod tests;
