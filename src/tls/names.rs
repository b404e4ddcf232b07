/// Whether a certificate with this name is good for `host` (RFC 9525 §6.3): the same name, or a wildcard for exactly one label.
pub fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        None => name == host,
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn rfc9525_wildcards_stand_for_one_label() {
        for (name, host, expected) in [
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("a*.example", "ab.example", false),
            ("*", "example", false),
        ] {
            assert_eq!(covers(name, host), expected, "{name} {host}");
        }
    }
}
