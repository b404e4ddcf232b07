use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::environment::Surroundings;
use crate::config::field::Field;
use crate::config::section::Section;
use crate::config::word::Word;
use crate::model::Problem;
use crate::model::settings::{Certificate, ClientCertificates, Protocols, Secret, Tls, TlsVersion};
use crate::tls::{Acceptor, CipherKind, Pair, PairFault, authorities, cipher_kind};

/// Bytes of a file: thousands of certificates.
const LARGEST: usize = 4 << 20;

/// A certificate that ends sooner is worth a word.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// `listeners[].tls:`
pub(super) fn lower(field: Field<'_>, protocols: Protocols, surroundings: &Surroundings<'_>) -> Option<Tls> {
    let reader = Reader { surroundings };
    let tls = field.section(|section| {
        section.not_built_yet(
            "acme",
            "let an ACME client such as certbot or lego write the files; they are reloaded as they change",
        );
        let certificates = reader.certificates(section);
        let minimum = section.optional("minimum_version");
        let minimum = minimum.and_then(|field| field.one_of(&[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)]));
        let (ciphers, suites) = section.optional("ciphers").map(ciphers).unwrap_or_default();
        let client = section.optional("client_certificates").map(|field| reader.client_certificates(field));
        // A client that may not come in must not come in because of another mistake in the file.
        let client = client.map_or(Some(None), |client| client.map(Some))?;
        Some(Tls { certificates: certificates?, minimum: minimum.unwrap_or_default(), ciphers, suites, client })
    })?;
    if let Err(fault) = Acceptor::new(&tls, protocols) {
        let message = format!("these TLS settings cannot be used: {fault}");
        field.note_at_key(Problem::error("config::tls", message).label("refused by OpenSSL"));
        return None;
    }
    Some(tls)
}

struct Reader<'a> {
    surroundings: &'a Surroundings<'a>,
}

impl Reader<'_> {
    /// One pair directly, or a list of them.
    fn certificates(&self, section: &Section<'_>) -> Option<Vec<Certificate>> {
        let several = section.optional("certificates");
        let (chain, key) = (section.optional("certificate"), section.optional("private_key"));
        let Some(field) = several else {
            if chain.is_none() && key.is_none() {
                section.missing(
                    "`certificate` is missing",
                    "for example `certificate: tls/fullchain.pem, private_key: tls/key.pem`",
                );
                return None;
            }
            return self.pair(section, chain, key).map(|pair| vec![pair]);
        };
        if let Some(one) = chain.or(key) {
            let problem = Problem::error("config::bad-value", "there are `certificates`, and another one beside them");
            one.note_at_key(problem.label("beside the list").hint("move it into the list"));
        }
        let items = field.some_items("without a certificate nobody can connect");
        let read: Vec<Option<Certificate>> = items
            .into_iter()
            .map(|item| {
                item.section(|section| self.pair(section, section.optional("certificate"), section.optional("private_key")))
            })
            .collect();
        let certificates: Vec<Certificate> = read.into_iter().collect::<Option<_>>()?;
        for (at, later) in certificates.iter().enumerate() {
            let twice = later.names.iter().find(|name| certificates.iter().take(at).any(|earlier| earlier.names.contains(name)));
            if let Some(name) = twice {
                let message = format!("two certificates are for {name}; the first one is shown");
                field.note_at_key(Problem::warning("config::duplicate-name", message).label("more than one"));
            }
        }
        (!certificates.is_empty()).then_some(certificates)
    }

    fn pair(&self, section: &Section<'_>, chain: Option<Field<'_>>, key: Option<Field<'_>>) -> Option<Certificate> {
        for (field, name) in [(chain, "certificate"), (key, "private_key")] {
            if field.is_none() {
                section.missing(&format!("`{name}` is missing"), "a certificate and its private key, two files in PEM");
            }
        }
        let (chain_word, key_word) = (chain.and_then(Field::word), key.and_then(Field::word));
        let (chain, key) = (chain_word.and_then(|word| self.text(word)), key_word.and_then(|word| self.text(word)));
        let (chain_word, key_word, chain, key) = (chain_word?, key_word?, chain?, key?);
        if self.surroundings.is_open_to_everybody(&self.surroundings.resolve(Path::new(key_word.text))) {
            let problem = Problem::warning("config::readable-secret", "every account of this machine can read this private key");
            key_word.note(problem.label("world-readable").hint("chmod o-r"));
        }
        match Pair::read(&chain, &key) {
            Ok(pair) => {
                self.note_age(chain_word, &pair);
                Some(Certificate { chain, key: Secret::new(&key), names: pair.names, not_after: pair.not_after })
            }
            Err(fault) => {
                let word = if matches!(fault, PairFault::NoKey | PairFault::Mismatch) { key_word } else { chain_word };
                let problem =
                    Problem::error("config::certificate", format!("{} cannot be used: {fault}", word.shown_or("this file")));
                word.note(match fault {
                    PairFault::Order(_) => {
                        problem.label("out of order").hint("the certificate first, then who signed it, and so on")
                    }
                    _ => problem.label("this file"),
                });
                None
            }
        }
    }

    fn note_age(&self, word: Word<'_>, pair: &Pair) {
        let now = self.surroundings.now();
        let name = word.shown_or("this certificate");
        let date = |at: Duration| {
            let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
            jiff::Timestamp::from_second(seconds).map_or_else(|_| "some day".to_owned(), |at| at.to_string())
        };
        let warn = |message: String, label: &str| word.note(Problem::warning("config::certificate", message).label(label));
        // Not an error: to start with it harms nobody more than not to start at all.
        if pair.not_after <= now {
            warn(format!("{name} expired at {}", date(pair.not_after)), "clients refuse it");
        } else if pair.not_after <= now + SOON {
            warn(format!("{name} expires at {}", date(pair.not_after)), "soon");
        } else if pair.not_before > now {
            warn(format!("{name} is not valid before {}", date(pair.not_before)), "clients refuse it");
        }
        if let Some(doubt) = pair.doubt {
            warn(format!("{name}: {doubt}"), "no name");
        }
    }

    /// `None` after a problem was noted.
    fn client_certificates(&self, field: Field<'_>) -> Option<ClientCertificates> {
        field.section(|section| {
            let mode = section.required("mode", "`required` or `optional`");
            let mode = mode.and_then(|field| field.one_of(&[("required", true), ("optional", false)]));
            let ca =
                section.required("ca", "a file in PEM with the certificates of those who may have signed clients' certificates");
            let word = ca.and_then(Field::word)?;
            let ca = self.text(word)?;
            if let Err(fault) = authorities(&ca) {
                let message = format!("{} cannot be used: {fault}", word.shown_or("this file"));
                word.note(Problem::error("config::certificate", message).label("this file"));
                return None;
            }
            Some(ClientCertificates { required: mode?, ca })
        })
    }

    fn text(&self, word: Word<'_>) -> Option<Arc<str>> {
        match self.surroundings.text(&self.surroundings.resolve(Path::new(word.text)), LARGEST) {
            Ok(text) => Some(text.into()),
            Err(fault) => {
                let message = format!("{} cannot be used: {fault}", word.shown_or("this file"));
                let problem = Problem::error("config::unreadable-file", message).label("this file");
                word.note(problem.hint("paths begin at the folder of the configuration"));
                None
            }
        }
    }
}

/// The ciphers of TLS 1.2 and the suites of TLS 1.3.
fn ciphers(field: Field<'_>) -> (Vec<String>, Vec<String>) {
    let (mut ciphers, mut suites) = (Vec::new(), Vec::new());
    for word in field.some_items("leave it out for Mozilla's intermediate list").into_iter().filter_map(Field::word) {
        match cipher_kind(word.text) {
            Some(CipherKind::Tls12) => ciphers.push(word.text.to_owned()),
            Some(CipherKind::Tls13) => suites.push(word.text.to_owned()),
            None => {
                let hint = "OpenSSL's names of ciphers with ECDHE or DHE and AES-GCM or ChaCha20, such as \
                            ECDHE-ECDSA-AES128-GCM-SHA256, or of TLS 1.3, such as TLS_AES_128_GCM_SHA256";
                word.unusable::<()>("a cipher to use", hint);
            }
        }
    }
    (ciphers, suites)
}
