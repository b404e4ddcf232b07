use std::hash::Hasher;

use rhai::{Dynamic, EvalAltResult, Map};
use siphasher::sip::SipHasher13;

use super::arguments::{in_percent, scalar};
use crate::model::{Name, Share};
use crate::rules::evaluation::running;
use crate::rules::objects::failure;

/// Everybody, in hundredths of a percent.
const ALL: u64 = 10_000;

/// The same key is always in or always out of one rule's rollout, on every gateway; another rule picks other keys. Nobody without a
/// key is in, except in a full one.
pub(super) fn in_rollout(who: &Dynamic, percent: &Dynamic) -> Result<bool, Box<EvalAltResult>> {
    let share = in_percent(percent).map_err(failure)?;
    let who = scalar(who, "a rollout's key").map_err(failure)?;
    running(|evaluation| is_in(evaluation.rule.name(), who.as_deref(), share))
}

/// `#{ weight: 10, key: claims.org }`: whoever is in this rule's rollout of that size.
pub(super) fn share(rule: &str, upstream: &Name, options: &Map) -> Result<Share, String> {
    options.keys().try_for_each(|name| option(name))?;
    let weight = in_percent(options.get("weight").ok_or("`weight` is missing: write `#{ weight: 10, key: claims.org }`")?)?;
    let key = options.get("key").ok_or("`key` is missing: write `#{ weight: 10, key: claims.org }`")?;
    let key: Option<Name> = scalar(key, "the key of `route_to`")?.map(|text| text.as_str().into());
    let is_in = is_in(rule, key.as_deref(), weight);
    Ok(Share { upstream: Name::clone(upstream), weight, key, is_in })
}

/// The options of `route_to`.
pub(in crate::rules) fn option(name: &str) -> Result<(), String> {
    match name {
        "weight" | "key" => Ok(()),
        _ => Err(format!("`route_to` has no option `{name}`; write `#{{ weight: 10, key: claims.org }}`")),
    }
}

fn is_in(rule: &str, who: Option<&str>, share: u64) -> bool {
    let Some(who) = who else { return share >= ALL };
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(rule.as_bytes());
    hasher.write_u8(0xff);
    hasher.write(who.as_bytes());
    hasher.finish() % ALL < share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(weight: i64, key: &str) -> Map {
        [("weight".into(), Dynamic::from_int(weight)), ("key".into(), key.into())].into_iter().collect()
    }

    #[test]
    fn a_share_grows_without_losing_anybody() {
        let canary: Name = "canary".into();
        let is_in = |weight, key: &str| share("rule", &canary, &options(weight, key)).unwrap().is_in;
        let keys: Vec<String> = (0..2_000).map(|n| format!("org-{n}")).collect();
        let mut before = 0;
        for weight in [0, 10, 30, 100] {
            let inside = keys.iter().filter(|key| is_in(weight, key)).count();
            let expected = keys.len() * usize::try_from(weight).unwrap() / 100;
            assert!(inside.abs_diff(expected) < 80, "{inside} of {} at {weight} %", keys.len());
            assert!(keys.iter().filter(|key| is_in(weight, key)).count() >= before);
            before = inside;
        }
        for key in &keys {
            assert!(!is_in(10, key) || is_in(30, key), "{key} fell out");
        }
    }

    #[test]
    fn options_are_complete_and_known() {
        let canary: Name = "canary".into();
        let mut map = options(10, "a");
        assert!(share("r", &canary, &map).is_ok());
        map.insert("sticky".into(), true.into());
        assert!(share("r", &canary, &map).unwrap_err().contains("no option `sticky`"));
        let mut map = options(10, "a");
        map.remove("key");
        assert!(share("r", &canary, &map).unwrap_err().contains("`key` is missing"));
        assert!(share("r", &canary, &options(101, "a")).unwrap_err().contains("no percentage"));
        map.insert("key".into(), Dynamic::UNIT);
        assert!(!share("r", &canary, &map).unwrap().is_in, "nobody in particular is in no part");
    }
}
