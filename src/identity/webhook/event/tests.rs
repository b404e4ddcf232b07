use serde_json::json;

use super::*;

const TENANT: &str = "e872a880-b14f-6d62-c312-cb40f22af465";

fn event(kind: &str, members: Value) -> Vec<u8> {
    let mut event = json!({ "type": kind, "id": "e1", "createInstant": 1_505_762_615_056_u64, "tenantId": TENANT, "info": {} });
    for (name, value) in members.as_object().unwrap() {
        event[name] = value.clone();
    }
    json!({ "event": event }).to_string().into_bytes()
}

fn hit(kind: &str, members: Value) -> Vec<Target> {
    match read(&event(kind, members), None).unwrap().meaning {
        Meaning::Revoke(meant) => {
            assert!(meant.iter().all(|meant| meant.tenant.as_deref() == Some(TENANT)));
            meant.into_iter().map(|meant| meant.target).collect()
        }
        Meaning::Nothing => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn member(user: &str, application: &str) -> Target {
    Target::Member { user: user.into(), application: application.into() }
}

/// FusionAuth's own sample (json/events/jwt-refresh-token-revoke-all-user.json): `user.id` is not `userId`.
#[test]
fn all_four_shapes_of_a_revoked_refresh_token_are_told_apart() {
    let kind = "jwt.refresh-token.revoke";
    let user = json!({ "active": true, "email": "a@example.com", "id": "00000000-0000-0001-0000-000000000000" });
    let lifetimes = json!({ "21a8893c-51b3-4964-8a50-6afb66ee8acd": 600 });
    let all = json!({ "applicationTimeToLiveInSeconds": lifetimes, "userId": "u", "user": user });
    assert_eq!(hit(kind, all), [Target::User("u".into())]);
    let in_one = json!({ "applicationTimeToLiveInSeconds": lifetimes, "userId": "u", "user": user, "applicationId": "a" });
    assert_eq!(hit(kind, in_one), [member("u", "a")]);
    let application = json!({ "applicationTimeToLiveInSeconds": lifetimes, "applicationId": "a" });
    assert_eq!(hit(kind, application), [Target::Application("a".into())]);
    let token = json!({ "id": "r", "applicationId": "a", "userId": "u", "tenantId": TENANT, "insertInstant": 1, "metaData": {} });
    let one = json!({ "userId": "u", "user": user, "applicationId": "a", "refreshToken": token });
    assert_eq!(hit(kind, one), [Target::Session("r".into())]);
    assert!(read(&event(kind, json!({})), None).is_err());
}

#[test]
fn users_that_must_be_out_are_out() {
    let user = json!({ "user": { "id": "u", "active": false, "data": { "deep": [[[[{}]]]] }, "tenantId": TENANT } });
    for kind in [
        "user.deactivate",
        "user.delete",
        "user.delete.complete",
        "user.password.update",
        "user.password.reset.success",
        "user.update",
    ] {
        assert_eq!(hit(kind, user.clone()), [Target::User("u".into())], "{kind}");
    }
    assert_eq!(hit("user.update", json!({ "user": { "id": "u", "active": true } })), []);
    for kind in ["user.reactivate", "user.create", "user.login.success", "user.email.update", "test", "made.up"] {
        assert_eq!(hit(kind, user.clone()), [], "{kind}");
    }
    assert_eq!(
        hit("entity.delete.complete", json!({ "entity": { "id": "e", "tenantId": TENANT } })),
        [Target::Entity("e".into())]
    );
    let members = json!({ "group": {}, "members": [{ "userId": "u" }, { "user": { "id": "v" } }] });
    assert_eq!(hit("group.member.remove", members), [Target::User("u".into()), Target::User("v".into())]);
}

#[test]
fn a_registration_counts_when_its_roles_change() {
    let update = |before: Value, after: Value| json!({ "user": { "id": "u" }, "applicationId": "a", "original": before, "registration": after });
    let roles = |names: &[&str]| json!({ "applicationId": "a", "roles": names });
    let kind = "user.registration.update";
    assert_eq!(hit(kind, update(roles(&["x", "y"]), roles(&["x"]))), [member("u", "a")]);
    assert_eq!(hit(kind, update(roles(&["x"]), roles(&["x", "y"]))), [member("u", "a")]);
    assert_eq!(hit(kind, update(roles(&["x", "y"]), roles(&["y", "x"]))), []);
    assert_eq!(hit(kind, update(json!({}), roles(&[]))), []);
    assert_eq!(hit(kind, update(Value::Null, roles(&["x"]))), [member("u", "a")], "nobody knows what it was");
    let delete = json!({ "user": { "id": "u" }, "registration": roles(&["x"]) });
    assert_eq!(hit("user.registration.delete", delete), [member("u", "a")]);
}

#[test]
fn w2_other_tenants_are_left_alone() {
    let body = event("user.delete", json!({ "user": { "id": "u" } }));
    let ours = [TENANT.to_uppercase()];
    assert!(matches!(read(&body, Some(&ours)).unwrap().meaning, Meaning::Revoke(_)));
    assert_eq!(read(&body, Some(&["other".to_owned()])).unwrap().meaning, Meaning::OtherTenant);
    // An event without a tenant is for those that we know.
    let body = event("user.delete", json!({ "tenantId": null, "user": { "id": "u" } }));
    let Meaning::Revoke(meant) = read(&body, Some(&["s".to_owned(), "t".to_owned()])).unwrap().meaning else { panic!() };
    assert_eq!(meant.iter().map(|meant| meant.tenant.as_deref()).collect::<Vec<_>>(), [Some("s"), Some("t")]);
    let Meaning::Revoke(meant) = read(&body, None).unwrap().meaning else { panic!() };
    assert_eq!(meant.iter().map(|meant| meant.tenant.as_deref()).collect::<Vec<_>>(), [None]);
}

#[test]
fn what_is_no_event_is_an_error_that_quotes_nothing() {
    for body in ["", "{}", "[]", r#"{"event":{}}"#, r#"{"event":{"type":"test","createInstant":1}}"#, r#"{"event":{"secret":"#] {
        let Err(Unreadable(reason)) = read(body.as_bytes(), None) else { panic!("{body}") };
        assert!(!reason.contains("secret"), "{reason}");
    }
    for instant in ["-1", "1.5", "\"1\"", "1e99"] {
        let body = format!(r#"{{"event":{{"type":"test","id":"a","createInstant":{instant}}}}}"#);
        assert!(read(body.as_bytes(), None).is_err(), "{instant}");
    }
    let event = read(&event("jwt.public-key.update", json!({ "applicationIds": ["a"] })), Some(&[])).unwrap();
    assert_eq!((event.meaning, event.at), (Meaning::Keys, Duration::from_millis(1_505_762_615_056)));
}

#[test]
fn only_plain_json_is_json() {
    let headers = |kind: &'static str, coding: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        coding.map(|coding| headers.insert(header::CONTENT_ENCODING, http::HeaderValue::from_static(coding)));
        headers
    };
    assert!(is_json(&headers("application/json", None)));
    assert!(is_json(&headers("Application/JSON; charset=utf-8", Some("identity"))));
    for (kind, coding) in [("application/json", Some("gzip")), ("text/plain", None), ("application/jsonx", None), ("", None)] {
        assert!(!is_json(&headers(kind, coding)), "{kind} {coding:?}");
    }
    assert!(!is_json(&HeaderMap::new()));
}
