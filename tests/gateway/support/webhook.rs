use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tollgate::demo::{MintRequest, TENANT_ID};

use super::{Gateway, Reply, mint, send};

pub const EVENTS: &str = "/.well-known/tollgate/fusionauth-events";

/// An event as FusionAuth builds it: of now, and with an id of its own.
pub fn event(kind: &str, members: Value) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    let mut event = json!({
        "type": kind, "id": format!("{:032x}", fastrand::u128(..)), "createInstant": now, "tenantId": TENANT_ID,
        "info": { "ipAddress": "192.0.2.1", "data": {} },
    });
    for (name, value) in members.as_object().unwrap() {
        event[name] = value.clone();
    }
    json!({ "event": event })
}

/// What only FusionAuth's webhook signatures say.
pub fn signature_of(body: &[u8]) -> MintRequest {
    let mut request = MintRequest::default().header("gty", Value::Null);
    for name in [
        "aud",
        "exp",
        "iat",
        "iss",
        "sub",
        "jti",
        "authenticationType",
        "email",
        "email_verified",
        "applicationId",
        "scope",
        "roles",
        "sid",
        "auth_time",
        "tid",
        "tty",
    ] {
        request = request.claim(name, Value::Null);
    }
    request.claim("request_body_sha256", BASE64_STANDARD.encode(digest(&SHA256, body)))
}

/// The signature header of the shared issuer.
pub fn signed(body: &[u8]) -> String {
    format!("X-FusionAuth-Signature-JWT: {}\r\n", mint(&signature_of(body)))
}

/// Posts a body with further headers.
pub fn post(gateway: &Gateway, headers: &str, body: &[u8]) -> Reply {
    let mut request = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: tollgate.example\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    send(gateway.address(), &request).expect("an answer")
}

/// Sends an event with the shared issuer's signature, and gives the status and the word.
pub fn tell(gateway: &Gateway, event: &Value) -> (u16, String) {
    let body = event.to_string().into_bytes();
    let reply = post(gateway, &format!("Content-Type: application/json\r\n{}", signed(&body)), &body);
    (reply.status, reply.json()["result"].as_str().unwrap_or_default().to_owned())
}
