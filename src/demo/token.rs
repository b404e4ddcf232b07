use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::issuer::{APPLICATION_ID, ISSUER, TENANT_ID};

/// What a demo token shall say; the default is a plain user's access token that lives an hour.
///
/// Also the JSON body of `POST /demo/token`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MintRequest {
    /// `sub`
    pub subject: String,
    /// `org`, the customer, which FusionAuth's JWT populate lambda would add; `None` leaves it out.
    pub org: Option<String>,
    /// `plan`, from the same lambda.
    pub plan: Option<String>,
    /// `roles`
    pub roles: Vec<String>,
    /// Seconds from now to `exp`; negative for a token that has expired.
    pub expires_in: i64,
    /// Laid over the claims; `null` removes one.
    pub claims: Map<String, Value>,
    /// Laid over the header; `null` removes a member.
    pub header: Map<String, Value>,
}

impl Default for MintRequest {
    fn default() -> Self {
        Self {
            subject: "00000000-0000-0000-0000-111111111111".to_owned(),
            org: None,
            plan: None,
            roles: Vec::new(),
            expires_in: 3600,
            claims: Map::new(),
            header: Map::new(),
        }
    }
}

impl MintRequest {
    /// A user of one customer on one plan.
    pub fn of(org: &str, plan: &str) -> Self {
        Self { org: Some(org.to_owned()), plan: Some(plan.to_owned()), ..Self::default() }
    }

    /// Adds a role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.roles.push(role.to_owned());
        self
    }

    /// Sets `sub`.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> Self {
        self.subject = subject.to_owned();
        self
    }

    /// Sets any claim; `Value::Null` removes it.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Sets any header member; `Value::Null` removes it.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Lives this long.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expires_in = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        self
    }

    /// Has been expired for this long.
    #[must_use]
    pub fn expired_for(mut self, past: Duration) -> Self {
        self.expires_in = i64::try_from(past.as_secs()).map_or(i64::MIN, |past| -past);
        self
    }

    /// The header of an access token from the authorization code grant (FusionAuth, OAuth: tokens).
    pub(super) fn header_members(&self, kid: &str) -> Map<String, Value> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "gty": ["authorization_code"], "kid": kid });
        overlaid(header, &self.header)
    }

    /// The claims of the same token, as FusionAuth 1.50 and later writes them, and what the tenant's lambda adds.
    pub(super) fn claim_members(&self, now: Duration) -> Map<String, Value> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let expires = now.saturating_add(self.expires_in);
        // A token that has expired was issued an hour before that.
        let issued = if self.expires_in > 0 { now } else { expires.saturating_sub(3600) };
        let mut claims = json!({
            "aud": APPLICATION_ID,
            "exp": expires,
            "iat": issued,
            "iss": ISSUER,
            "sub": self.subject,
            "jti": fresh_uuid(),
            "authenticationType": "PASSWORD",
            "email": "richard@example.com",
            "email_verified": true,
            "applicationId": APPLICATION_ID,
            "scope": "offline_access profile openid",
            "roles": self.roles,
            "sid": fresh_uuid(),
            "auth_time": issued,
            "tid": TENANT_ID,
            "tty": "at",
        });
        for (name, value) in [("plan", &self.plan), ("org", &self.org)] {
            if let (Some(claims), Some(value)) = (claims.as_object_mut(), value) {
                claims.insert(name.to_owned(), value.as_str().into());
            }
        }
        overlaid(claims, &self.claims)
    }
}

/// Now, for the outermost edge only: below it time is an argument.
pub(super) fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// FusionAuth's ids are UUIDs; random bits in that spelling are as unique.
pub(super) fn fresh_uuid() -> String {
    let hex = format!("{:032x}", fastrand::u128(..));
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn overlaid(members: Value, over: &Map<String, Value>) -> Map<String, Value> {
    let mut members = match members {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    for (name, value) in over {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    members
}
