use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Objects and arrays inside each other, the outermost included.
const MAX_DEPTH: u8 = 32;

/// From here on, neighbouring integers are the same `f64`: what arrives as one was rounded on the way in.
const FIRST_ROUNDED: f64 = 9_223_372_036_854_775_808.0;

/// Reads one JSON object and refuses what two readers may understand differently: a name given twice (at any depth), numbers that
/// lose digits, lone surrogates, anything after the object. `serde_json` alone would keep the last of two equal names.
pub(super) fn object(text: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { depth_left: MAX_DEPTH }.deserialize(&mut reader)?;
    reader.end()?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(Error::custom("not an object")),
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth_left: u8,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        let depth_left = self.depth_left.checked_sub(1).ok_or_else(|| E::custom("nested too deeply"))?;
        Ok(Self { depth_left })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        if value.abs() >= FIRST_ROUNDED { Err(E::custom("a number that loses digits")) } else { Ok(value.into()) }
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(Error::custom("a name given twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_two_readers_may_understand_differently_is_refused() {
        let deep = |depth: usize| format!("{}{}", r#"{"a":"#.repeat(depth), "1") + "}".repeat(depth).as_str();
        assert!(object(deep(32).as_bytes()).is_ok());
        for text in [
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"plan":"free","plan":"free"}"#,
            r#"{"a":{"b":1,"\u0062":2}}"#,
            r#"[{"a":1}]"#,
            r#""text""#,
            "{} {}",
            "{}x",
            "\u{feff}{}",
            "",
            r#"{"a":1e400}"#,
            r#"{"a":18446744073709551616}"#,
            r#"{"a":-9223372036854775809}"#,
            r#"{"a":1e30}"#,
            r#"{"a":NaN}"#,
            r#"{"a":01}"#,
            r#"{"a":"\ud800"}"#,
            r#"{'a':1}"#,
            r#"{"a":1,}"#,
            deep(33).as_str(),
            deep(1000).as_str(),
        ] {
            assert!(object(text.as_bytes()).is_err(), "{}", text.get(..40).unwrap_or(text));
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn whole_numbers_stay_exact() {
        let members =
            object(br#"{"a":9007199254740993,"b":18446744073709551615,"c":-9223372036854775808,"d":-0,"e":1.5}"#).unwrap();
        assert_eq!(members["a"].as_u64(), Some(9_007_199_254_740_993));
        assert_eq!(members["b"].as_u64(), Some(u64::MAX));
        assert_eq!(members["c"].as_i64(), Some(i64::MIN));
        assert_eq!(members["d"].as_u64(), None);
        assert_eq!(members["e"].as_f64(), Some(1.5));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = object(&bytes);
        }

        #[test]
        fn what_is_accepted_means_what_serde_json_says(text in "\\{(\"[a-c]\":([1-9][0-9]{0,18}|\"[a-z]{0,3}\"|\\[\\]|null)(,\"[d-f]\":true)?)?\\}") {
            prop_assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), serde_json::from_str::<Value>(&text).unwrap());
        }
    }
}
