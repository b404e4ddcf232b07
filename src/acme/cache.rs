use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::fs::{self, DirBuilder, OpenOptions};
use tokio::io::AsyncWriteExt;

use crate::model::settings::Acme;
use crate::tls::Pair;

/// Whether a certificate has to be ordered: there is none, it lacks a name, or a third of its life is left.
pub(super) async fn is_due(acme: &Acme, now: Duration) -> bool {
    let Ok(text) = fs::read_to_string(acme.file()).await else { return true };
    let Ok(pair) = Pair::read(&text, &text) else { return true };
    let has_all = acme.names.iter().all(|name| pair.names.contains(name));
    let life = pair.not_after.saturating_sub(pair.not_before);
    !has_all || now + life / 3 >= pair.not_after
}

/// Puts key and certificate into one file, so that both change at once.
pub(super) async fn write(acme: &Acme, pem: &str) -> io::Result<()> {
    write_secretly(&acme.file(), pem).await
}

/// The account that an earlier process made at this server.
pub(super) async fn account(acme: &Acme) -> Option<String> {
    fs::read_to_string(acme.account_file()).await.ok()
}

pub(super) async fn write_account(acme: &Acme, text: &str) -> io::Result<()> {
    write_secretly(&acme.account_file(), text).await
}

async fn write_secretly(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).await?;
    }
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).await?;
    file.write_all(text.as_bytes()).await?;
    file.sync_all().await?;
    fs::rename(fresh, path).await
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::X509Builder;
    use openssl::x509::extension::SubjectAlternativeName;

    use super::*;
    use crate::model::settings::AcmeChallenge;

    const DAY: u64 = 86_400;

    /// Valid for ninety days from the first of 1970.
    fn issued(name: &str) -> String {
        let key = PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap()).unwrap();
        let mut builder = X509Builder::new().unwrap();
        builder.set_version(2).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::from_unix(90 * 86_400).unwrap()).unwrap();
        let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let text = [key.private_key_to_pem_pkcs8().unwrap(), builder.build().to_pem().unwrap()].concat();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_certificate_is_due_when_it_is_missing_lacks_a_name_or_a_third_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let acme = |names: &[&str]| Acme {
            directory: "https://ca.example/dir".into(),
            contacts: Vec::new(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            cache: folder.path().join("acme"),
            challenge: AcmeChallenge::Http01,
            ca: None,
        };
        let day = |days: u64| Duration::from_secs(days * DAY);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let one = acme(&["a.example"]);
            assert!(is_due(&one, day(1)).await);
            write(&one, "nonsense").await.unwrap();
            assert!(is_due(&one, day(1)).await);
            write(&one, &issued("a.example")).await.unwrap();
            assert!(!is_due(&one, day(1)).await);
            assert!(!is_due(&one, day(59)).await);
            assert!(is_due(&one, day(60)).await);
            assert!(is_due(&one, day(100)).await);
            assert!(is_due(&acme(&["a.example", "b.example"]), day(1)).await);
        });
    }
}
