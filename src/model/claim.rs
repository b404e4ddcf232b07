use serde_json::{Map, Value};

/// A claim by its exact name, else by a dotted path into objects. Names may have dots themselves (`https://hasura.io/jwt/claims`).
pub(crate) fn find<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    object.get(path).or_else(|| {
        path.match_indices('.').find_map(|(dot, _)| {
            let (name, rest) = path.split_at_checked(dot)?;
            find(object.get(name)?.as_object()?, rest.strip_prefix('.')?)
        })
    })
}

/// A claim that is one value, as text.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(yes.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
