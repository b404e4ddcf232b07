use crate::config::field::Field;
use crate::config::word::Word;
use crate::model::Name;
use crate::model::settings::{Mirror, Upstream};

/// `mirror`
pub(super) fn lower(field: Field<'_>, upstreams: &[Upstream]) -> Option<Mirror> {
    field.section(|section| {
        let upstream = section.required("upstream", "who gets the copies").and_then(|field| upstream(field, upstreams));
        let share = section.optional("share").map_or(Some(10_000), share);
        // What pingora keeps of a body to be able to send it again.
        let body = section.optional("body").map_or(Some(0), |field| field.bytes(0..=64 << 10));
        Some(Mirror { upstream: upstream?, share: share?, body: usize::try_from(body?).ok()? })
    })
}

fn upstream(field: Field<'_>, upstreams: &[Upstream]) -> Option<Name> {
    let word: Word<'_> = field.word()?;
    if !upstreams.iter().any(|upstream| *upstream.name == *word.text) {
        let names: Vec<&str> = upstreams.iter().map(|upstream| &*upstream.name).collect();
        word.unknown("upstream", "not in `upstreams`", &names);
    }
    Some(word.text.into())
}

/// `10%`, `0.5%`: hundredths of a percent.
fn share(field: Field<'_>) -> Option<u32> {
    const FORM: &str = "more than 0 % and at most 100 %, with two decimals at most: 10%, 0.5%";
    let word = field.word()?;
    let Some(number) = word.text.strip_suffix('%') else { return word.unusable("a share", FORM) };
    let (whole, part) = number.trim_end().split_once('.').unwrap_or((number.trim_end(), ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > 2 || !is_digits(whole) || !is_digits(part) {
        return word.unusable("a share", FORM);
    }
    match format!("{whole}{part:0<2}").parse::<u32>() {
        Ok(share @ 1..=10_000) => Some(share),
        _ => word.unusable("a share", FORM),
    }
}
