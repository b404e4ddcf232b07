use http::Uri;

use super::identity::is_loopback;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::settings::{Login, Logout};
use crate::model::{Problem, local_page};

/// `identity.logout`
pub(super) fn lower(section: &Section<'_>, login: Option<&Login>) -> Logout {
    let mut logout = Logout::default();
    let Some(field) = section.optional("logout") else { return logout };
    field.section(|section| {
        let path_field = section.optional("path");
        let path = path_field.and_then(path);
        let front_channel = section.optional("front_channel");
        if let (Some(path), None) = (&path, front_channel) {
            logout.front_channel = format!("{path}/frontchannel");
        }
        logout.path = path.unwrap_or(logout.path.clone());
        logout.front_channel = front_channel.and_then(self::path).unwrap_or(logout.front_channel.clone());
        logout.after = section.optional("after").and_then(|field| address(field.word()?).map(str::to_owned));
        if logout.path == logout.front_channel
            && let Some(field) = front_channel
        {
            let problem = Problem::error("config::conflict", "`path` and `front_channel` are two paths");
            field.note(problem.label("the same as `path`").hint("one asks people, the other one is called by FusionAuth"));
        }
        for (field, mine) in [(path_field, &logout.path), (front_channel, &logout.front_channel)] {
            let is_taken = login.is_some_and(|login| login.callbacks.iter().any(|callback| callback.path == *mine));
            if let (true, Some(field)) = (is_taken, field) {
                field.note(Problem::error("config::conflict", "logins come back to this path").label("the callback's"));
            }
        }
    });
    if login.is_none() {
        let problem = Problem::error("config::conflict", "only people who log in through the gateway can log out of it");
        field.note_at_key(problem.label("without `login`").hint("add `identity.login`, or remove it"));
    }
    logout
}

fn path(field: Field<'_>) -> Option<String> {
    let word = field.word()?;
    let is_plain = local_page(word.text).as_deref() == Some(word.text) && !word.text.contains('?') && word.text != "/";
    if is_plain { Some(word.text.to_owned()) } else { word.unusable("a path of its own", "for example /logout") }
}

/// A page that browsers may be sent to: an https URL, or http on loopback.
pub(super) fn address<'a>(word: Word<'a>) -> Option<&'a str> {
    let hint = "for example https://www.example.com/goodbye";
    let Ok(uri) = word.text.parse::<Uri>() else { return word.unusable("a URL", hint) };
    let Some(scheme @ ("http" | "https")) = uri.scheme_str() else { return word.unusable("an https URL", hint) };
    let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else {
        return word.unusable("a URL of a page", hint);
    };
    if scheme == "http" && !is_loopback(authority.host()) {
        return word.unusable("an https URL", "http is for loopback only");
    }
    if word.text.contains('#') || !word.text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return word.unusable("a URL of a page", "without `#`, blanks and letters that are not ASCII");
    }
    Some(word.text)
}

/// `https://host[:port]` of such an address, as browsers write it in `Origin`.
pub(super) fn origin(address: &str) -> Option<String> {
    let uri: Uri = address.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let authority = uri.authority()?.as_str().to_ascii_lowercase();
    let authority = authority.strip_suffix(if scheme == "https" { ":443" } else { ":80" }).unwrap_or(&authority);
    Some(format!("{scheme}://{authority}"))
}
