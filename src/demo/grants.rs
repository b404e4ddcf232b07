//! How a token is asked for: client credentials, a login, or plainly.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use serde_json::{Map, Value, json};

use super::issuer::{APPLICATION_ID, State, TENANT_ID};
use super::people::{CLIENTS, Client, USERS, User};
use super::token::{MintRequest, unix_now};

const LIFETIME_SECONDS: u64 = 3600;

type Reply = (StatusCode, Value);

/// `POST /oauth2/token` (FusionAuth, OAuth: token), for entities.
pub(super) fn token(state: &State, request: &Request<Bytes>) -> Reply {
    let form: HashMap<String, String> = form_urlencoded::parse(request.body()).into_owned().collect();
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => {}
        None => return refusal("invalid_request", "missing_grant_type", "The request is missing grant_type."),
        Some("authorization_code" | "password" | "refresh_token") => {
            return refusal("unauthorized_client", "grant_type_disabled", "The demo knows client_credentials only.");
        }
        Some(_) => return refusal("unsupported_grant_type", "invalid_grant_type", "There is no such grant_type."),
    }
    let client = match client(request, &form) {
        Ok(client) => client,
        Err(reason) => return refusal("invalid_client", reason, "The client did not authenticate."),
    };
    let scope = form.get("scope").map_or("", String::as_str);
    let Some(permissions) = permissions(scope) else {
        return refusal("invalid_scope", "invalid_target_entity_scope", "A scope is target-entity:<id>:<permission>,….");
    };
    match state.mint(&entity_token(client, scope, permissions)) {
        Ok(token) => {
            let mut body = json!({ "access_token": token, "expires_in": LIFETIME_SECONDS, "token_type": "Bearer" });
            if let (false, Some(members)) = (scope.is_empty(), body.as_object_mut()) {
                members.insert("scope".to_owned(), scope.into());
            }
            (StatusCode::OK, body)
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": "server_error", "error_reason": "unknown" })),
    }
}

/// `POST /api/login` (FusionAuth, API: login).
pub(super) fn login(state: &State, request: &Request<Bytes>) -> Reply {
    let Ok(body) = serde_json::from_slice::<Map<String, Value>>(request.body()) else {
        let error = json!({ "code": "[invalidJSON]", "message": "The body is not a JSON object." });
        return (StatusCode::BAD_REQUEST, json!({ "generalErrors": [error] }));
    };
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    for field in ["loginId", "password"] {
        if text(field).is_none_or(str::is_empty) {
            return field_error("blank", field, "You must specify this property.");
        }
    }
    let application = text("applicationId");
    if application.is_some_and(|id| id != APPLICATION_ID) {
        return field_error("couldNotFind", "applicationId", "There is no such application.");
    }
    let matches = |user: &&User| text("loginId") == Some(user.login_id) && text("password") == Some(user.password);
    // A wrong password and an unknown user are both 404, as in FusionAuth.
    let Some(user) = USERS.iter().find(matches) else { return (StatusCode::NOT_FOUND, json!({})) };
    let Ok(token) = state.mint(&login_token(user, application)) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, json!({}));
    };
    let expires_ms = (unix_now().as_millis() as u64).saturating_add(LIFETIME_SECONDS * 1000);
    let user = json!({
        "active": true,
        "email": user.login_id,
        "id": user.id,
        "registrations": [{ "applicationId": APPLICATION_ID, "roles": user.roles, "verified": true }],
        "tenantId": TENANT_ID,
        "verified": true,
    });
    (StatusCode::OK, json!({ "token": token, "tokenExpirationInstant": expires_ms, "user": user }))
}

/// `POST /demo/token`: a [`MintRequest`] in, `{"token": …}` out.
pub(super) fn mint(state: &State, body: &[u8]) -> Reply {
    let request: MintRequest = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return (StatusCode::BAD_REQUEST, json!({ "error": error.to_string() })),
    };
    match state.mint(&request) {
        Ok(token) => (StatusCode::OK, json!({ "token": token })),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, json!({ "error": error.to_string() })),
    }
}

/// An entity's token has no user in it, and `aud` is the entity that it is for.
fn entity_token(client: &Client, scope: &str, permissions: Map<String, Value>) -> MintRequest {
    let audience = match permissions.keys().collect::<Vec<_>>().as_slice() {
        [only] => json!(only),
        several => json!(several),
    };
    let mut request = MintRequest::of(client.org, client.plan)
        .subject(client.id)
        .header("gty", json!(["client_credentials"]))
        .claim("aud", audience)
        .claim("permissions", permissions)
        .claim("scope", if scope.is_empty() { Value::Null } else { scope.into() });
    for name in ["applicationId", "roles", "email", "email_verified", "authenticationType", "auth_time", "sid"] {
        request = request.claim(name, Value::Null);
    }
    request
}

/// A token from the Login API has no grant, no scope and no refresh token; without an application the lambda does not run.
fn login_token(user: &User, application: Option<&str>) -> MintRequest {
    let mut request = MintRequest {
        org: application.map(|_| user.org.to_owned()),
        plan: application.map(|_| user.plan.to_owned()),
        roles: user.roles.iter().map(|role| (*role).to_owned()).collect(),
        ..MintRequest::default()
    }
    .subject(user.id)
    .claim("email", user.login_id)
    .header("gty", Value::Null);
    for name in ["scope", "sid"] {
        request = request.claim(name, Value::Null);
    }
    if application.is_none() {
        for name in ["aud", "applicationId", "roles"] {
            request = request.claim(name, Value::Null);
        }
    }
    request
}

/// By HTTP Basic (RFC 6749, 2.3.1) or in the form; the error is FusionAuth's `error_reason`.
fn client(request: &Request<Bytes>, form: &HashMap<String, String>) -> Result<&'static Client, &'static str> {
    let (id, secret) = match request.headers().get(AUTHORIZATION) {
        Some(header) => {
            let header = header.to_str().map_err(|_| "invalid_client_authentication_scheme")?;
            let (scheme, encoded) = header.split_once(' ').unwrap_or((header, ""));
            if !scheme.eq_ignore_ascii_case("basic") {
                return Err("invalid_client_authentication_scheme");
            }
            let pair = BASE64_STANDARD.decode(encoded.trim()).ok().and_then(|pair| String::from_utf8(pair).ok());
            let pair = pair.ok_or("invalid_client_authentication")?;
            let (id, secret) = pair.split_once(':').ok_or("invalid_client_authentication")?;
            (id.to_owned(), secret.to_owned())
        }
        None => {
            let id = form.get("client_id").ok_or("missing_client_id")?;
            (id.clone(), form.get("client_secret").ok_or("client_authentication_missing")?.clone())
        }
    };
    CLIENTS.iter().find(|client| client.id == id && client.secret == secret).ok_or("invalid_client_authentication")
}

/// `target-entity:<id>:<permission>,…` separated by spaces; without a scope the token is for the demo application.
fn permissions(scope: &str) -> Option<Map<String, Value>> {
    let mut permissions = Map::new();
    for target in scope.split_ascii_whitespace() {
        let (entity, names) = target.strip_prefix("target-entity:")?.split_once(':')?;
        permissions.insert(entity.to_owned(), names.split(',').collect());
    }
    if permissions.is_empty() {
        permissions.insert(APPLICATION_ID.to_owned(), json!(["read"]));
    }
    Some(permissions)
}

fn refusal(error: &str, reason: &str, description: &str) -> Reply {
    let status = if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
    (status, json!({ "error": error, "error_reason": reason, "error_description": description }))
}

fn field_error(code: &str, field: &str, message: &str) -> Reply {
    let error = json!({ "code": format!("[{code}]{field}"), "message": message });
    let mut errors = Map::new();
    errors.insert(field.to_owned(), json!([error]));
    (StatusCode::BAD_REQUEST, json!({ "fieldErrors": errors }))
}
