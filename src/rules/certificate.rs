use rhai::{Array, Dynamic, Map};

use crate::model::ClientCertificate;

/// `request.client_certificate`: made when a rule asks for it.
pub(super) fn view(certificate: Option<&ClientCertificate>) -> Dynamic {
    let Some(certificate) = certificate else { return Dynamic::UNIT };
    let list = |names: &[String]| names.iter().map(|name| name.as_str().into()).collect::<Array>();
    let mut map = Map::new();
    for (name, value) in [
        ("subject", &certificate.subject),
        ("issuer", &certificate.issuer),
        ("serial", &certificate.serial),
        ("fingerprint", &certificate.fingerprint),
    ] {
        map.insert(name.into(), value.as_str().into());
    }
    map.insert("dns_names".into(), list(&certificate.dns_names).into());
    map.insert("uris".into(), list(&certificate.uris).into());
    map.insert("emails".into(), list(&certificate.emails).into());
    map.insert("ips".into(), certificate.ips.iter().map(|ip| ip.to_string().into()).collect::<Array>().into());
    map.into()
}
