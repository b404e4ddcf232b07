//! What the connection adds to each of its requests and answers.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Method, Version, header};
use ipnet::IpNet;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::prelude::{Result, Session};

use super::Connection;
use crate::model::{Ending, Facts, Malformed};

/// Where RFC 8555 §8.3 asks for a certificate's proof, which is always done without TLS.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// More hops than any real chain of proxies has.
const MOST_HOPS: usize = 32;

/// Says who the client is and how it speaks. `trusted` are the proxies whose `X-Forwarded-*` is believed.
pub(in crate::proxy) fn describe(connection: &Connection, request: &RequestHeader, trusted: &[IpNet], facts: &mut Facts) {
    facts.client_ip = connection.client_ip();
    facts.is_secure = connection.agreed.is_some();
    facts.client_certificate = connection.agreed.as_ref().and_then(|agreed| agreed.client_certificate.clone());
    facts.is_websocket = is_websocket(request);
    let believes = |ip: &IpAddr| trusted.iter().any(|network| network.contains(ip));
    if believes(&facts.client_ip) {
        facts.client_ip = right_most(&request.headers, facts.client_ip, believes);
        facts.is_secure |= last(&request.headers, "x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
    }
}

/// Walks `X-Forwarded-For` from the right, where the own proxies wrote, to the first hop that is none of them. A hop that cannot be read
/// ends the walk: what stands left of it was written by nobody who is known.
fn right_most(headers: &HeaderMap, peer: IpAddr, believes: impl Fn(&IpAddr) -> bool) -> IpAddr {
    let lines: Vec<&str> = headers.get_all("x-forwarded-for").iter().map(|line| line.to_str().unwrap_or("?")).collect();
    let mut client = peer;
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')).take(MOST_HOPS) {
        let Some(ip) = address(hop.trim()) else { break };
        client = ip;
        if !believes(&client) {
            break;
        }
    }
    client
}

/// `192.0.2.1`, `192.0.2.1:1234`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:1234`.
fn address(hop: &str) -> Option<IpAddr> {
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let ip =
        hop.parse::<IpAddr>().ok().or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|a| a.ip())).or_else(bracketed)?;
    Some(ip.to_canonical())
}

fn last<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get_all(name).iter().next_back()?.to_str().ok()?.rsplit(',').next().map(str::trim)
}

/// RFC 6455 §4.1.
fn is_websocket(request: &RequestHeader) -> bool {
    let names = |name: header::HeaderName, word: &str| {
        let lines = request.headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    request.version == Version::HTTP_11
        && request.method == Method::GET
        && names(header::UPGRADE, "websocket")
        && names(header::CONNECTION, "upgrade")
}

/// Refuses what was meant for another server (RFC 9110 §7.4) and redirects what should come over TLS.
pub(in crate::proxy) fn direct(connection: &Connection, facts: &Facts) -> Result<(), Ending> {
    if !connection.speaks_for(&facts.host) {
        return Err(Malformed::Misdirected.into());
    }
    match connection.doorway.listener.redirect_to_https {
        Some(port) if !facts.path.as_str().starts_with(CHALLENGES) => Err(redirect(facts, port)),
        _ => Ok(()),
    }
}

fn redirect(facts: &Facts, port: u16) -> Ending {
    let host = if facts.host.contains(':') { format!("[{}]", facts.host) } else { facts.host.clone() };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let query = facts.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
    match HeaderValue::try_from(format!("https://{host}{port}{}{query}", facts.path.as_str())) {
        // 308 and not 301: a POST stays one. It was sent in the clear already, but is not lost.
        Ok(location) => Ending::Redirect { status: 308, location },
        Err(_) => Malformed::Target.into(),
    }
}

/// Adds what the listener adds to each final answer.
pub(in crate::proxy) fn adorn(session: &Session, response: &mut ResponseHeader) -> Result<()> {
    let hsts = Connection::of(session).and_then(|connection| connection.doorway.listener.hsts.as_ref());
    match hsts {
        Some(value) if !response.status.is_informational() => {
            response.insert_header(header::STRICT_TRANSPORT_SECURITY, value.clone())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hops_that_trusted_proxies_wrote_are_believed() {
        let trusted = |ip: &IpAddr| "10.0.0.0/8".parse::<IpNet>().unwrap().contains(ip);
        for (lines, expected) in [
            (vec![], "10.0.0.1"),
            (vec!["192.0.2.1"], "192.0.2.1"),
            (vec!["1.1.1.1, 192.0.2.1"], "192.0.2.1"),
            (vec!["1.1.1.1, 192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            (vec!["1.1.1.1", "192.0.2.1", "10.1.1.1,10.1.1.2"], "192.0.2.1"),
            (vec!["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            (vec!["192.0.2.1, nonsense, 10.1.1.1"], "10.1.1.1"),
            (vec!["192.0.2.1, nonsense"], "10.0.0.1"),
            (vec!["192.0.2.1:443"], "192.0.2.1"),
            (vec!["[2001:db8::1]:443"], "2001:db8::1"),
            (vec!["[2001:db8::1]"], "2001:db8::1"),
            (vec!["::ffff:192.0.2.1"], "192.0.2.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            assert_eq!(right_most(&headers, "10.0.0.1".parse().unwrap(), trusted).to_string(), expected, "{lines:?}");
        }
    }

    #[test]
    fn rfc6455_a_websocket_asks_in_three_places() {
        let request = |method: &str, version, lines: &[(&'static str, &str)]| {
            let mut request = RequestHeader::build(method, b"/", None).unwrap();
            request.set_version(version);
            for (name, value) in lines {
                request.append_header(*name, *value).unwrap();
            }
            is_websocket(&request)
        };
        let both = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        assert!(request("GET", Version::HTTP_11, &both));
        assert!(!request("POST", Version::HTTP_11, &both));
        assert!(!request("GET", Version::HTTP_10, &both));
        assert!(!request("GET", Version::HTTP_2, &both));
        assert!(!request("GET", Version::HTTP_11, &both[..1]));
        assert!(!request("GET", Version::HTTP_11, &both[1..]));
        assert!(!request("GET", Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "h2c")]));
    }
}
