use std::time::Duration;

use http::{HeaderMap, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::identity::revocation::{Order, Target};

/// Members of a group that one event may name; each becomes an entry.
const MAX_MEMBERS: usize = 10_000;
const MAX_ID_BYTES: usize = 256;

/// An event, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Names it; the same when FusionAuth sends it again.
    pub(super) id: String,
    /// `createInstant`, since 1970.
    pub(super) at: Duration,
    pub(super) meaning: Meaning,
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Revoke(Vec<Meant>),
    /// Keys changed.
    Keys,
    Nothing,
    OtherTenant,
}

/// Whom an event hits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meant {
    target: Target,
    tenant: Option<String>,
}

impl Meant {
    pub(super) fn until(self, until: Duration) -> Order {
        Order { target: self.target, tenant: self.tenant, until }
    }
}

/// Why an event is not understood; without anything of what was sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) String);

/// Whether a request brings JSON, and brings it as it is.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let kind = text(header::CONTENT_TYPE).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
        && text(header::CONTENT_ENCODING).is_none_or(|coding| coding.eq_ignore_ascii_case("identity"))
}

#[derive(Deserialize)]
struct Envelope {
    event: Value,
}

/// What all events have. FusionAuth's are large and grow; nothing else of them is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    id: String,
    create_instant: u64,
    tenant_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefreshTokenRevoked {
    user_id: Option<String>,
    application_id: Option<String>,
    refresh_token: Option<Named>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    id: Option<String>,
    tenant_id: Option<String>,
}

#[derive(Deserialize)]
struct OfUser {
    user: User,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct User {
    id: String,
    active: Option<bool>,
    tenant_id: Option<String>,
}

#[derive(Deserialize)]
struct OfEntity {
    entity: Named,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfRegistration {
    application_id: Option<String>,
    user: User,
    registration: Registration,
    original: Option<Registration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registration {
    application_id: Option<String>,
    roles: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct OfMembers {
    members: Vec<Member>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    user_id: Option<String>,
    user: Option<User>,
}

/// Reads an event. `tenants`, if there are any, are those whose events count.
pub(super) fn read(body: &[u8], tenants: Option<&[String]>) -> Result<Event, Unreadable> {
    let Envelope { event: whole } = serde_json::from_slice(body).map_err(|error| {
        // The error's text may quote what was sent; its place does not.
        Unreadable(format!("{:?} error at line {}, column {}", error.classify(), error.line(), error.column()))
    })?;
    of(&whole, tenants)
}

/// The same of what is inside.
pub(super) fn of(whole: &Value, tenants: Option<&[String]>) -> Result<Event, Unreadable> {
    let head: Head = typed(whole)?;
    if head.id.is_empty() || head.id.len() > MAX_ID_BYTES {
        return Err(Unreadable("an event without an id".into()));
    }
    let at = Duration::from_millis(head.create_instant);
    let event = |meaning| Ok(Event { id: head.id.clone(), at, meaning });
    if head.kind == "jwt.public-key.update" {
        // Keys are those of all tenants.
        return event(Meaning::Keys);
    }
    let Some((targets, tenant)) = targets(&head.kind, whole)? else { return event(Meaning::Nothing) };
    if targets.is_empty() {
        return event(Meaning::Nothing);
    }
    let tenant = head.tenant_id.clone().or(tenant);
    let scopes: Vec<Option<String>> = match (tenant, tenants) {
        (Some(tenant), Some(ours)) if !ours.iter().any(|our| our.eq_ignore_ascii_case(&tenant)) => {
            return event(Meaning::OtherTenant);
        }
        (Some(tenant), _) => vec![Some(tenant)],
        (None, Some(ours)) => ours.iter().cloned().map(Some).collect(),
        (None, None) => vec![None],
    };
    let meant = targets.into_iter().flat_map(|target| {
        scopes.iter().map(move |tenant| Meant { target: target.clone(), tenant: tenant.clone() }).collect::<Vec<_>>()
    });
    event(Meaning::Revoke(meant.collect()))
}

type Targets = Option<(Vec<Target>, Option<String>)>;

/// Whom an event of this type hits, and the tenant that its innards name. `None` for every type that takes nothing away.
fn targets(kind: &str, event: &Value) -> Result<Targets, Unreadable> {
    // What is said twice, before the change and after it (`.complete`, which is sent when it is certain), means the same.
    let kind = kind.strip_suffix(".complete").unwrap_or(kind);
    match kind {
        "jwt.refresh-token.revoke" => refresh_token(typed(event)?).map(Some),
        // A password that was changed or reset: whoever was in with the old one is out.
        "user.deactivate" | "user.delete" | "user.password.update" | "user.password.reset.success" => {
            let event: OfUser = typed(event)?;
            Ok(Some((vec![Target::User(event.user.id)], event.user.tenant_id)))
        }
        // Deactivated by an update of the whole user.
        "user.update" => {
            let event: OfUser = typed(event)?;
            let hit = (event.user.active == Some(false)).then_some(Target::User(event.user.id));
            Ok(Some((hit.into_iter().collect(), event.user.tenant_id)))
        }
        "user.registration.update" | "user.registration.delete" => registration(kind, typed(event)?).map(Some),
        // Groups give roles.
        "group.member.remove" | "group.member.update" => members(typed(event)?).map(Some),
        "entity.delete" => {
            let event: OfEntity = typed(event)?;
            let id = event.entity.id.ok_or_else(|| Unreadable("an entity without an id".into()))?;
            Ok(Some((vec![Target::Entity(id)], event.entity.tenant_id)))
        }
        _ => Ok(None),
    }
}

/// One token, all of a user, of a user in an application, or of an application.
fn refresh_token(event: RefreshTokenRevoked) -> Result<(Vec<Target>, Option<String>), Unreadable> {
    let (session, tenant) = event.refresh_token.map_or((None, None), |token| (token.id, token.tenant_id));
    // `user.id` of FusionAuth's own sample is another one than `userId`, which is the one that counts.
    let target = match (session, event.user_id, event.application_id) {
        // `sid` of the access tokens that came with it; the user's other devices stay.
        (Some(session), _, _) => Target::Session(session),
        (None, Some(user), Some(application)) => Target::Member { user, application },
        (None, Some(user), None) => Target::User(user),
        (None, None, Some(application)) => Target::Application(application),
        (None, None, None) => return Err(Unreadable("a revocation that names nobody".into())),
    };
    Ok((vec![target], tenant))
}

/// Deleted, or with other roles than before.
fn registration(kind: &str, event: OfRegistration) -> Result<(Vec<Target>, Option<String>), Unreadable> {
    let roles = |registration: &Registration| {
        let mut roles = registration.roles.clone().unwrap_or_default();
        roles.sort();
        roles
    };
    let is_same = |original: &Registration| roles(original) == roles(&event.registration);
    if kind == "user.registration.update" && event.original.as_ref().is_some_and(is_same) {
        return Ok((Vec::new(), None));
    }
    let application = event.application_id.or(event.registration.application_id);
    let application = application.ok_or_else(|| Unreadable("a registration without an application".into()))?;
    Ok((vec![Target::Member { user: event.user.id, application }], event.user.tenant_id))
}

fn members(event: OfMembers) -> Result<(Vec<Target>, Option<String>), Unreadable> {
    if event.members.len() > MAX_MEMBERS {
        return Err(Unreadable(format!("more than {MAX_MEMBERS} members of a group at once")));
    }
    let user = |member: Member| member.user_id.or(member.user.map(|user| user.id));
    let users: Option<Vec<String>> = event.members.into_iter().map(user).collect();
    let users = users.ok_or_else(|| Unreadable("a member without a user".into()))?;
    Ok((users.into_iter().map(Target::User).collect(), None))
}

fn typed<T: DeserializeOwned>(event: &Value) -> Result<T, Unreadable> {
    T::deserialize(event).map_err(|_| Unreadable("an event that lacks a member, or has one of another type".into()))
}

#[cfg(test)]
mod tests;
