use aws_lc_rs::digest::{Context, SHA256};
use serde_json::{Map, Value};

use super::order::Kind;
use crate::model::{Mark, Marks};

/// Applications of one token that are looked up. FusionAuth names one as `aud` and `applicationId`; what else is in `aud` are resources
/// (RFC 8707), which no revocation names.
const MAX_APPLICATIONS: usize = 8;

/// The claims that only FusionAuth's tokens of users have. `auth_time` is one that no lambda can remove.
const OF_USERS: [&str; 3] = ["auth_time", "authenticationType", "applicationId"];

/// Whose tokens are meant.
#[derive(Clone, Copy)]
pub(super) enum Scope<'a> {
    Tenant(&'a str),
    Anywhere,
}

impl<'a> Scope<'a> {
    pub(super) fn of(tenant: Option<&'a str>) -> Self {
        tenant.map_or(Self::Anywhere, Self::Tenant)
    }
}

/// By what a verified token can be revoked.
pub fn marks(claims: &Map<String, Value>) -> Marks {
    let born = seconds(claims.get("iat").and_then(Value::as_u64).unwrap_or(0));
    let tenant = text(claims, "tid");
    let of_tenant = tenant.map_or_else(Box::default, |tenant| within(Scope::Tenant(tenant), claims));
    Marks::new(born, of_tenant, within(Scope::Anywhere, claims))
}

fn within(scope: Scope<'_>, claims: &Map<String, Value>) -> Box<[Mark]> {
    let mut marks = Vec::with_capacity(4);
    let subject = text(claims, "sub").unwrap_or_default();
    // Entities and users have ids of one form, and an operator may choose them: what revokes one must not hit the other by accident.
    if claims.contains_key("permissions") && !OF_USERS.iter().any(|claim| claims.contains_key(*claim)) {
        return Box::new([entity(scope, subject)]);
    }
    marks.push(user(scope, subject));
    marks.extend(text(claims, "sid").map(|sid| session(scope, sid)));
    for id in applications(claims) {
        marks.push(member(scope, subject, id));
        marks.push(application(scope, id));
    }
    marks.into()
}

fn applications(claims: &Map<String, Value>) -> Vec<&str> {
    let audiences = match claims.get("aud") {
        Some(Value::Array(several)) => several.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    let mut ids: Vec<&str> = Vec::with_capacity(2);
    for id in text(claims, "applicationId").into_iter().chain(audiences.iter().filter_map(Value::as_str)) {
        if ids.len() < MAX_APPLICATIONS && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

pub(super) fn user(scope: Scope<'_>, user: &str) -> Mark {
    digest(scope, Kind::User, &[user])
}

/// Begins like the mark of the user, so that both are found in one place of memory.
pub(super) fn member(scope: Scope<'_>, user: &str, application: &str) -> Mark {
    let ([a, b, ..], [.., c, d]) = (self::user(scope, user), digest(scope, Kind::Member, &[user, application]));
    [a, b, c, d]
}

pub(super) fn application(scope: Scope<'_>, application: &str) -> Mark {
    digest(scope, Kind::Application, &[application])
}

pub(super) fn session(scope: Scope<'_>, session: &str) -> Mark {
    digest(scope, Kind::Session, &[session])
}

pub(super) fn entity(scope: Scope<'_>, entity: &str) -> Mark {
    digest(scope, Kind::Entity, &[entity])
}

/// Whether a mark is of a revocation that names no tenant.
pub(super) const fn is_anywhere(mark: Mark) -> bool {
    mark[3] & 1 == 1
}

/// 127 bits of SHA-256, and one that tells the scope. Without a key, because gateways and later processes have to find the same.
fn digest(scope: Scope<'_>, kind: Kind, parts: &[&str]) -> Mark {
    let mut context = Context::new(&SHA256);
    context.update(b"tollgate revocation 1");
    context.update(&[kind as u8]);
    let tenant = match scope {
        Scope::Tenant(tenant) => tenant,
        Scope::Anywhere => "",
    };
    for part in [tenant].iter().chain(parts) {
        let part = canonical(part);
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    let mut words = digest.as_ref().chunks_exact(4).filter_map(|word| Some(u32::from_be_bytes(word.try_into().ok()?)));
    let [a, b, c, d] = std::array::from_fn(|_| words.next().unwrap_or_default());
    [a, b, c, if matches!(scope, Scope::Anywhere) { d | 1 } else { d & !1 }]
}

/// A UUID in small letters; anything else as it is.
fn canonical(id: &str) -> std::borrow::Cow<'_, str> {
    let is_uuid = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if is_uuid && id.bytes().any(|byte| byte.is_ascii_uppercase()) { id.to_ascii_lowercase().into() } else { id.into() }
}

/// Until the year 2106.
pub(super) fn seconds(unix: u64) -> u32 {
    u32::try_from(unix).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(claims: Value) -> Marks {
        marks(claims.as_object().unwrap())
    }

    const USER: &str = "00000000-0000-0000-0000-11111111aaaa";

    #[test]
    fn a_users_token_can_be_revoked_by_five_names() {
        let claims = json!({ "sub": USER, "aud": ["app", "https://api.example"], "applicationId": "app", "sid": "s", "tid": "t", "iat": 7 });
        let found = of(claims);
        let scope = Scope::Tenant("t");
        let resource = "https://api.example";
        let expected = [
            user(scope, USER),
            session(scope, "s"),
            member(scope, USER, "app"),
            application(scope, "app"),
            member(scope, USER, resource),
            application(scope, resource),
        ];
        assert_eq!((found.born, &*found.of_tenant), (7, &expected[..]));
        assert_eq!(found.anywhere.len(), 6);
        assert!(found.anywhere.iter().all(|mark| is_anywhere(*mark)) && !found.of_tenant.iter().any(|mark| is_anywhere(*mark)));
    }

    #[test]
    fn ids_are_uuids_in_any_spelling_and_everything_else_as_it_is() {
        let scope = Scope::Tenant("t");
        assert_eq!(user(scope, USER), user(scope, &USER.to_uppercase()));
        assert_ne!(user(scope, "Bob"), user(scope, "bob"));
        assert_ne!(user(scope, "a"), user(Scope::Tenant("ta"), ""));
        assert_ne!(user(scope, "a"), user(Scope::Anywhere, "a"));
        assert_ne!(member(scope, "ab", "c"), member(scope, "a", "bc"));
    }

    #[test]
    fn entities_are_no_users() {
        let claims = json!({ "sub": USER, "aud": "target", "permissions": { "target": ["read"] }, "tid": "t", "iat": 7 });
        assert_eq!(&*of(claims.clone()).of_tenant, [entity(Scope::Tenant("t"), USER)]);
        // A lambda may give a user's token `permissions`, but cannot take `auth_time` out of it.
        let mut of_user = claims;
        of_user["auth_time"] = 7.into();
        assert!(of(of_user).of_tenant.contains(&user(Scope::Tenant("t"), USER)));
    }

    #[test]
    fn a_token_without_iat_is_as_old_as_can_be() {
        assert_eq!(of(json!({ "sub": "a" })).born, 0);
        assert_eq!(of(json!({ "sub": "a", "iat": u64::MAX })).born, u32::MAX);
        assert!(of(json!({ "sub": "a" })).of_tenant.is_empty());
    }
}
