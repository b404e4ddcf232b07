//! FusionAuth's API on a socket, as far as `init` uses it: the members and words that FusionAuth 1.69 publishes, nothing else gets in.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};

pub(crate) const KEY: &str = "bf69486b-4733-4470-a592-f1bfce7af580";
pub(crate) const TENANT: &str = "d7d09513-a3f5-401c-9685-34ab6c552453";
pub(crate) const APPLICATION: &str = "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e";
pub(crate) const CLIENT_SECRET: &str = "super-secret-secret-that-should-be-regenerated";

pub(crate) struct FusionAuth {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

struct State {
    /// `tenants`, `applications`, `keys`, `lambdas`, `webhooks`.
    objects: Value,
    /// Requests that change something.
    changes: Vec<String>,
    next_id: u32,
    /// Answers every request, if there is one: status and body.
    instead: Option<(u16, String)>,
}

/// One tenant, FusionAuth's own application, and keys.
pub(crate) fn empty() -> Value {
    json!({
        "tenants": [{
            "id": TENANT, "name": "Default", "issuer": "acme.com", "configured": true,
            "jwtConfiguration": {
                "accessTokenKeyId": "0b5b5e8c-0000-0000-0000-000000000001", "idTokenKeyId": "092dbedc-30af-4149-9c61-b578f2c72f59",
                "refreshTokenExpirationPolicy": "Fixed", "refreshTokenTimeToLiveInMinutes": 43200,
                "refreshTokenUsagePolicy": "OneTimeUse", "timeToLiveInSeconds": 3600,
            },
            "eventConfiguration": { "events": {
                "user.delete": { "enabled": false, "transactionType": "None" },
                "user.create": { "enabled": true, "transactionType": "AbsoluteMajority" },
            } },
        }],
        "applications": [{
            "id": "3c219e58-ed0e-4b18-ad48-f4f92793ae32", "name": "FusionAuth", "tenantId": TENANT, "active": true,
            "roles": [{ "name": "admin", "isSuperRole": true }],
        }],
        "keys": [
            { "id": "0b5b5e8c-0000-0000-0000-000000000001", "name": "Default signing key", "algorithm": "HS256", "type": "HMAC", "kid": "34f17d7b72" },
            { "id": "092dbedc-30af-4149-9c61-b578f2c72f59", "name": "OpenID Connect compliant HMAC using SHA-256", "algorithm": "HS256", "type": "HMAC" },
            { "id": "0b5b5e8c-0000-0000-0000-000000000002", "name": "Tokens", "algorithm": "RS256", "type": "RSA", "length": 2048 },
        ],
        "lambdas": [],
        "webhooks": [],
    })
}

/// The same with an application as FusionAuth's quick starts make it.
pub(crate) fn usual() -> Value {
    let mut objects = empty();
    objects["applications"].as_array_mut().unwrap().push(json!({
        "id": APPLICATION, "name": "Example app", "tenantId": TENANT, "active": true,
        "roles": [{ "id": "1", "name": "teller", "isDefault": true }, { "id": "2", "name": "boss", "isSuperRole": true }],
        "jwtConfiguration": {
            "enabled": true, "accessTokenKeyId": "0b5b5e8c-0000-0000-0000-000000000002",
            "idTokenKeyId": "092dbedc-30af-4149-9c61-b578f2c72f59", "timeToLiveInSeconds": 600, "refreshTokenTimeToLiveInMinutes": 60,
        },
        "lambdaConfiguration": { "accessTokenPopulateId": "1d1d1d1d-0000-0000-0000-000000000001" },
        "oauthConfiguration": {
            "authorizedRedirectURLs": ["http://localhost:3000/oauth-redirect"], "clientId": APPLICATION, "clientSecret": CLIENT_SECRET,
            "enabledGrants": ["authorization_code", "refresh_token"], "generateRefreshTokens": true, "requireRegistration": true,
            "logoutURL": "http://localhost:3000/bye", "scopeHandlingPolicy": "Strict",
        },
    }));
    objects["lambdas"] = json!([{
        "id": "1d1d1d1d-0000-0000-0000-000000000001", "name": "plans", "type": "JWTPopulate",
        "body": "function populate(jwt, user, registration) {\n  jwt.plan = 'free';\n  if (user.data.paid) { jwt.plan = 'pro' }\n  jwt.org = user.data.org;\n  jwt.seats = 5; // jwt.no = 1\n}",
    }]);
    objects
}

impl FusionAuth {
    pub(crate) fn start(objects: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { objects, changes: Vec::new(), next_id: 1, instead: None }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                serve(connection, &shared);
            }
        });
        Self { url, state }
    }

    pub(crate) fn object(&self, kind: &str, name: &str) -> Value {
        let state = self.state.lock().unwrap();
        let list = state.objects[kind].as_array().unwrap();
        let wanted = |object: &&Value| object["name"] == name || object["id"] == name || object["url"] == name;
        list.iter().find(wanted).unwrap_or_else(|| panic!("no {name} in {list:?}")).clone()
    }

    /// What was changed since the last time.
    pub(crate) fn changes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().changes)
    }

    pub(crate) fn answer_instead(&self, status: u16, body: &str) {
        self.state.lock().unwrap().instead = Some((status, body.to_owned()));
    }
}

fn serve(mut connection: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let Some(first) = head.first().cloned() else { return };
    let header = |name: &str| {
        let line = head.iter().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")));
        line.map(|line| line[name.len() + 2..].to_owned())
    };
    let mut body = vec![0; header("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let mut state = state.lock().unwrap();
    let (status, answer) = match &state.instead {
        Some((status, body)) => (*status, body.clone()),
        None if header("authorization").as_deref() != Some(KEY) => (401, String::new()),
        None => {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let answer = state.answer(method, target, header("x-fusionauth-tenantid"), header("content-type"), body);
            answer.map_or_else(
                |message| {
                    (
                        400,
                        json!({ "generalErrors": [{ "code": "[invalid]", "message": message }], "fieldErrors": {} }).to_string(),
                    )
                },
                |answer| (200, answer.to_string()),
            )
        }
    };
    let _ = write!(
        connection,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
        answer.len()
    );
}

impl State {
    fn answer(
        &mut self,
        method: &str,
        target: &str,
        tenant: Option<String>,
        kind: Option<String>,
        body: Value,
    ) -> Result<Value, String> {
        let path = target.split('?').next().unwrap();
        let parts: Vec<&str> = path.trim_start_matches("/api/").split('/').collect();
        let (one, many) = match parts[0] {
            "tenant" => ("tenant", "tenants"),
            "application" => ("application", "applications"),
            "key" => ("key", "keys"),
            "lambda" => ("lambda", "lambdas"),
            "webhook" => ("webhook", "webhooks"),
            other => return Err(format!("no API {other}")),
        };
        if method == "GET" {
            let mut list = self.objects[many].as_array().unwrap().clone();
            if let (Some(tenant), "applications") = (&tenant, many) {
                list.retain(|object| object["tenantId"] == **tenant);
            }
            return Ok(json!({ many: list }));
        }
        self.changes.push(format!("{method} {path}"));
        let object = body.get(one).ok_or(format!("no member {one}"))?;
        check(one, object)?;
        let list = self.objects[many].as_array_mut().unwrap();
        match (method, parts.as_slice()) {
            ("POST", ["application" | "webhook"] | ["key", "generate"]) => {
                if kind.as_deref() != Some("application/json") {
                    return Err(format!("content type {kind:?}"));
                }
                let mut object = object.clone();
                object["id"] = format!("00000000-0000-0000-0000-{:012}", self.next_id).into();
                self.next_id += 1;
                if one == "application" {
                    object["tenantId"] = tenant.ok_or("which tenant?")?.into();
                    object["active"] = true.into();
                    object["oauthConfiguration"]["clientSecret"] = CLIENT_SECRET.into();
                }
                list.push(object.clone());
                Ok(json!({ one: object }))
            }
            ("PATCH", [_, id]) => {
                if kind.as_deref() != Some("application/merge-patch+json") {
                    return Err(format!("content type {kind:?}: what happens to lists then varies"));
                }
                let known = list.iter_mut().find(|known| known["id"] == **id).ok_or("no such object")?;
                merge(known, object);
                Ok(json!({ one: known.clone() }))
            }
            _ => Err(format!("no {method} {path}")),
        }
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

/// Members of objects, written down from FusionAuth 1.69's API: below each path, what may be there.
const MEMBERS: &[(&str, &[&str])] = &[
    ("tenant", &["eventConfiguration", "issuer"]),
    ("tenant.eventConfiguration", &["events"]),
    ("tenant.eventConfiguration.events.*", &["enabled", "transactionType"]),
    (
        "application",
        &["jwtConfiguration", "lambdaConfiguration", "name", "oauthConfiguration", "registrationConfiguration", "roles"],
    ),
    ("application.roles", &["name", "isDefault", "isSuperRole"]),
    ("application.registrationConfiguration", &["enabled"]),
    ("application.lambdaConfiguration", &["accessTokenPopulateId"]),
    ("lambda", &["body", "debug", "engineType", "name", "type"]),
    ("user", &["data", "email", "password"]),
    ("registration", &["applicationId", "roles"]),
    (
        "application.oauthConfiguration",
        &[
            "authorizedRedirectURLs",
            "clientAuthenticationPolicy",
            "clientSecret",
            "enabledGrants",
            "generateRefreshTokens",
            "logoutURL",
            "proofKeyForCodeExchangePolicy",
            "requireRegistration",
        ],
    ),
    (
        "application.jwtConfiguration",
        &[
            "accessTokenKeyId",
            "enabled",
            "idTokenKeyId",
            "refreshTokenExpirationPolicy",
            "refreshTokenOneTimeUseConfiguration",
            "refreshTokenRevocationPolicy",
            "refreshTokenSlidingWindowConfiguration",
            "refreshTokenTimeToLiveInMinutes",
            "refreshTokenUsagePolicy",
            "timeToLiveInSeconds",
        ],
    ),
    ("key", &["algorithm", "length", "name"]),
    (
        "webhook",
        &[
            "connectTimeout",
            "description",
            "eventsEnabled",
            "global",
            "readTimeout",
            "signatureConfiguration",
            "tenantIds",
            "url",
        ],
    ),
    ("webhook.signatureConfiguration", &["enabled", "signingKeyId"]),
    ("webhook.eventsEnabled", EVENTS),
    ("tenant.eventConfiguration.events", EVENTS),
    // Of a user: whatever the operator keeps there.
    ("user.data", &["org", "plan"]),
];

const EVENTS: &[&str] = &[
    "jwt.public-key.update",
    "jwt.refresh-token.revoke",
    "user.deactivate",
    "user.delete",
    "user.password.update",
    "user.registration.delete",
    "user.registration.update",
];

/// Words where FusionAuth knows only some.
const WORDS: &[(&str, &[&str])] = &[
    ("lambda.type", &["JWTPopulate", "ClientCredentialsJWTPopulate", "UserInfoPopulate"]),
    ("lambda.engineType", &["GraalJS", "Nashorn"]),
    (
        "tenant.eventConfiguration.events.*.transactionType",
        &["None", "Any", "SimpleMajority", "SuperMajority", "AbsoluteMajority"],
    ),
    ("application.oauthConfiguration.clientAuthenticationPolicy", &["Required", "NotRequired", "NotRequiredWhenUsingPKCE"]),
    (
        "application.oauthConfiguration.proofKeyForCodeExchangePolicy",
        &["Required", "NotRequired", "NotRequiredWhenUsingClientAuthentication"],
    ),
    (
        "application.oauthConfiguration.enabledGrants",
        &["authorization_code", "refresh_token", "password", "implicit", "device_code"],
    ),
    ("key.algorithm", &["ES256", "ES384", "ES512", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "Ed25519"]),
    ("application.jwtConfiguration.refreshTokenUsagePolicy", &["Reusable", "OneTimeUse"]),
];

pub(crate) fn check(path: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Object(members) => {
            let (_, allowed) = MEMBERS.iter().find(|(known, _)| *known == path).ok_or(format!("{path} is no object"))?;
            for (name, value) in members {
                if !allowed.contains(&&**name) {
                    return Err(format!("{path} has no {name}"));
                }
                let below = if path == "tenant.eventConfiguration.events" { "*" } else { name };
                check(&format!("{path}.{below}"), value)?;
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| check(path, item)),
        Value::String(word) => match WORDS.iter().find(|(known, _)| *known == path) {
            Some((_, allowed)) if !allowed.contains(&&**word) => Err(format!("{path} cannot be {word}")),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
