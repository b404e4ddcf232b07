use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Map, Value, json};

use super::web::{Web, reply};

/// The upstreams of the demo: the two protected services of FusionAuth's sample architecture, and both of them once more on
/// machines of their own.
///
/// Each answer shows what reached the service, so that a reader sees which one a request landed on and as whom.
#[derive(Debug)]
pub struct Services {
    orders: Web,
    reports: Web,
    dedicated: Web,
}

impl Services {
    /// Starts `orders`, `reports` and `dedicated` at these addresses; port 0 takes a free one.
    pub fn start([orders, reports, dedicated]: [SocketAddr; 3]) -> io::Result<Self> {
        Ok(Self {
            orders: service("orders", orders)?,
            reports: service("reports", reports)?,
            dedicated: service("dedicated", dedicated)?,
        })
    }

    /// Where `/v1/orders` of the shared plans lives.
    pub fn orders(&self) -> SocketAddr {
        self.orders.address()
    }

    /// Where `/v1/reports` of the shared plans lives.
    pub fn reports(&self) -> SocketAddr {
        self.reports.address()
    }

    /// Where both live for customers with machines of their own.
    pub fn dedicated(&self) -> SocketAddr {
        self.dedicated.address()
    }
}

fn service(name: &'static str, address: SocketAddr) -> io::Result<Web> {
    Web::start(address, Arc::new(move |request| Some(answer(name, &request))))
}

fn answer(service: &str, request: &Request<Bytes>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let mut status = StatusCode::OK;
    let mut body = received(service, request);
    let (name, value) = match (request.method(), path) {
        (_, "/v1/orders/fail") => {
            status = StatusCode::INTERNAL_SERVER_ERROR;
            ("error", json!("database unreachable"))
        }
        (&Method::POST, path) if path.starts_with("/v1/") => {
            status = StatusCode::CREATED;
            ("created", json!({ "id": 1007, "bytes": request.body().len() }))
        }
        (_, path) if path.starts_with("/v1/reports") => ("report", report()),
        (_, path) if path.starts_with("/v1/orders") || path.starts_with("/v1/admin") => ("orders", orders()),
        _ => {
            status = StatusCode::NOT_FOUND;
            ("error", json!("no such page"))
        }
    };
    body.insert(name.to_owned(), value);
    reply(status, &Value::Object(body))
}

/// Which service was reached, by what, and what the gateway said about the caller.
fn received(service: &str, request: &Request<Bytes>) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("service".to_owned(), service.into());
    members.insert("method".to_owned(), request.method().as_str().into());
    members.insert("path".to_owned(), request.uri().path().into());
    for name in ["x-user-id", "x-org", "x-plan", "x-request-id"] {
        let value = request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        members.insert(name.to_owned(), value.into());
    }
    // A token is for the gateway and services that ask; seeing whether it came through helps to decide.
    members.insert("authorization".to_owned(), request.headers().contains_key("authorization").into());
    members
}

fn orders() -> Value {
    let goods = ["stapler, red", "TPS cover sheet", "fax paper", "mug"];
    let order = |(index, name): (usize, &&str)| json!({ "id": 1001 + index, "item": name, "cents": 1250 + 375 * index });
    goods.iter().enumerate().map(order).collect()
}

/// Some KiB of text, so that bytes are worth metering.
fn report() -> Value {
    let mut csv = String::from("week,region,orders,cents\n");
    for week in 1..=52_u32 {
        for (index, region) in ["north", "south", "east"].into_iter().enumerate() {
            let orders = 40 + (week * 7 + index as u32 * 13) % 29;
            let _ = writeln!(csv, "{week},{region},{orders},{}", orders * 1850);
        }
    }
    json!({ "title": "Orders by week and region", "csv": csv })
}
