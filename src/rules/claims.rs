use std::any::Any;
use std::sync::Arc;

use rhai::{Array, Dynamic, INT, Map};
use serde_json::Value;

use super::recall::Recall;
use crate::model::{Caller, Claims};

/// The claims of one token as rules see them: converted once per token, shared by all its requests, never changed.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// Sorted by name. A dozen claims are found faster this way than by hashing.
    values: Vec<(Box<str>, Dynamic)>,
    /// What rules made of them.
    pub(super) recall: Recall,
}

impl Prepared {
    /// The prepared claims of `caller`; `nobody` stands for a request without identity.
    pub(super) fn of(caller: &Caller, nobody: &Arc<Self>) -> Arc<Self> {
        let Some(identity) = caller.identity() else { return Arc::clone(nobody) };
        let prepared = identity.claims.prepared(|values| Arc::new(Self::convert(values)) as Arc<dyn Any + Send + Sync>);
        // The slot could only hold something else if another folder used it as well; then converting again is merely slow.
        Arc::clone(prepared).downcast().unwrap_or_else(|_| Arc::new(Self::new(&identity.claims)))
    }

    fn new(claims: &Claims) -> Self {
        Self::convert(claims.values())
    }

    fn convert(values: &serde_json::Map<String, Value>) -> Self {
        let mut values: Vec<_> = values.iter().map(|(name, value)| (name.as_str().into(), dynamic(value))).collect();
        values.sort_by(|a: &(Box<str>, Dynamic), b| a.0.cmp(&b.0));
        Self { values, recall: Recall::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// A claim, `()` if the token has none of this name.
    pub(super) fn value(&self, name: &str) -> Dynamic {
        self.get(name).cloned().unwrap_or(Dynamic::UNIT)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn get(&self, name: &str) -> Option<&Dynamic> {
        let at = self.values.binary_search_by(|(present, _)| (**present).cmp(name)).ok()?;
        self.values.get(at).map(|(_, value)| value)
    }

    /// FusionAuth's `roles`: an array of names, absent without a registration for the application.
    pub(super) fn has_role(&self, role: &str) -> bool {
        self.get("roles").is_some_and(|roles| lists(roles, role))
    }

    /// OAuth's `scope`: names separated by spaces (RFC 6749 §3.3); some lambdas write an array.
    pub(super) fn has_scope(&self, scope: &str) -> bool {
        self.get("scope").is_some_and(|scopes| match scopes.as_immutable_string_ref() {
            Ok(text) => text.split(' ').any(|present| present == scope),
            Err(_) => lists(scopes, scope),
        })
    }

    /// FusionAuth's `permissions` of client-credentials tokens: an object of arrays by entity id, or an array.
    pub(super) fn has_permission(&self, permission: &str) -> bool {
        self.get("permissions").is_some_and(|permissions| match permissions.as_map_ref() {
            Ok(entities) => entities.values().any(|granted| lists(granted, permission)),
            Err(_) => lists(permissions, permission),
        })
    }

    /// The same for one entity. An array names none, so it stands for the entities that the token is for.
    pub(super) fn has_permission_at(&self, entity: &str, permission: &str) -> bool {
        let is_for = |audience: &Dynamic| match audience.as_immutable_string_ref() {
            Ok(text) => text.as_str() == entity,
            Err(_) => lists(audience, entity),
        };
        self.get("permissions").is_some_and(|permissions| match permissions.as_map_ref() {
            Ok(entities) => entities.get(entity).is_some_and(|granted| lists(granted, permission)),
            Err(_) => lists(permissions, permission) && self.get("aud").is_some_and(is_for),
        })
    }
}

fn lists(array: &Dynamic, wanted: &str) -> bool {
    array
        .as_array_ref()
        .is_ok_and(|items| items.iter().any(|item| item.as_immutable_string_ref().is_ok_and(|text| text.as_str() == wanted)))
}

/// JSON as Rhai sees it. Integers beyond 64 bits become floats, as in every JavaScript client of the token.
pub(super) fn dynamic(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(value) => Dynamic::from_bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Dynamic::from_int(INT::from(integer)),
            None => Dynamic::from_float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => Dynamic::from_array(items.iter().map(dynamic).collect::<Array>()),
        Value::Object(members) => {
            Dynamic::from_map(members.iter().map(|(name, value)| (name.as_str().into(), dynamic(value))).collect::<Map>())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn prepared(claims: Value) -> Prepared {
        Prepared::convert(claims.as_object().unwrap())
    }

    #[test]
    fn roles_scopes_and_permissions_in_the_shapes_of_fusionauth() {
        let user = prepared(json!({ "roles": ["admin", "user"], "scope": "openid billing:write" }));
        assert!(user.has_role("admin") && !user.has_role("adm"));
        assert!(user.has_scope("billing:write") && !user.has_scope("billing"));
        assert!(!user.has_permission("read"));
        let by_entity = prepared(json!({ "permissions": { "e-1": ["read"], "e-2": ["write"] } }));
        assert!(by_entity.has_permission("write") && !by_entity.has_permission("e-1"));
        assert!(prepared(json!({ "permissions": ["read"] })).has_permission("read"));
        assert!(by_entity.has_permission_at("e-1", "read") && !by_entity.has_permission_at("e-1", "write"));
        assert!(!by_entity.has_permission_at("e-3", "read"));
        let listed = prepared(json!({ "permissions": ["read"], "aud": ["e-1", "e-2"] }));
        assert!(listed.has_permission_at("e-2", "read") && !listed.has_permission_at("e-3", "read"));
        assert!(prepared(json!({ "permissions": ["read"], "aud": "e-1" })).has_permission_at("e-1", "read"));
        assert!(!prepared(json!({ "permissions": ["read"] })).has_permission_at("e-1", "read"));
        assert!(!prepared(json!({ "roles": "admin" })).has_role("admin"), "a text is not a list of roles");
        assert!(prepared(json!({ "scope": ["a", "b"] })).has_scope("b"));
    }

    #[test]
    fn every_json_type_has_its_rhai_type() {
        let claims =
            prepared(json!({ "i": 7, "f": 1.5, "b": true, "n": null, "s": "x", "big": u64::MAX, "a": [1], "o": { "k": "v" } }));
        assert_eq!(claims.value("i").as_int(), Ok(7));
        assert_eq!(claims.value("f").as_float(), Ok(1.5));
        assert_eq!(claims.value("b").as_bool(), Ok(true));
        assert!(claims.value("n").is_unit() && claims.value("absent").is_unit());
        assert!(claims.contains("n") && !claims.contains("absent"));
        assert!(claims.value("big").is_float());
        assert!(claims.value("a").is_array() && claims.value("o").is_map());
        assert!(prepared(json!({})).is_empty());
    }
}
