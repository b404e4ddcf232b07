use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder, SslMethod, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::{X509, X509Builder, X509Name};

/// Somebody who signs certificates.
pub struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate and its key as the files hold them.
pub struct Leaf {
    pub certificate: String,
    pub key: String,
}

fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(common: &str) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("O", "Acme, Inc.").unwrap();
    name.append_entry_by_text("CN", common).unwrap();
    name.build()
}

fn begin(common: &str, key: &PKey<Private>, from: i64, until: i64) -> X509Builder {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, MsbOption::MAYBE_ZERO, false).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name(common)).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(now + from).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(now + until).unwrap()).unwrap();
    builder
}

fn pem(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

impl Authority {
    pub fn new(common: &str) -> Self {
        let key = key();
        let mut builder = begin(common, &key, -60, 86_400 * 365);
        builder.set_issuer_name(&name(common)).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self { certificate: builder.build(), key }
    }

    pub fn pem(&self) -> String {
        pem(self.certificate.to_pem().unwrap())
    }

    /// For a server of these names, good for a year.
    pub fn server(&self, names: &[&str]) -> Leaf {
        self.sign(names[0], 86_400 * 365, |san| {
            for name in names {
                san.dns(name);
            }
        })
    }

    /// For a client, with one name of each kind.
    pub fn client(&self, common: &str) -> Leaf {
        self.sign(common, 86_400, |san| {
            san.dns("client.example").uri("spiffe://acme/worker").email("worker@acme.example").ip("192.0.2.9");
        })
    }

    /// What a server for a host needs.
    pub fn acceptor(&self, host: &str) -> SslAcceptorBuilder {
        let leaf = self.server(&[host]);
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
        acceptor.set_certificate(&X509::from_pem(leaf.certificate.as_bytes()).unwrap()).unwrap();
        acceptor.set_private_key(&PKey::private_key_from_pem(leaf.key.as_bytes()).unwrap()).unwrap();
        acceptor
    }

    /// Nobody gets in without a certificate of this authority.
    pub fn demand(&self, acceptor: &mut SslAcceptorBuilder) {
        let mut store = X509StoreBuilder::new().unwrap();
        store.add_cert(self.certificate.clone()).unwrap();
        acceptor.set_verify_cert_store(store.build()).unwrap();
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    }

    fn sign(&self, common: &str, until: i64, names: impl FnOnce(&mut SubjectAlternativeName)) -> Leaf {
        let key = key();
        let mut builder = begin(common, &key, -86_400 * 30, until);
        builder.set_issuer_name(self.certificate.subject_name()).unwrap();
        let mut san = SubjectAlternativeName::new();
        names(&mut san);
        let san = san.build(&builder.x509v3_context(Some(&self.certificate), None)).unwrap();
        builder.append_extension(san).unwrap();
        builder.append_extension(BasicConstraints::new().build().unwrap()).unwrap();
        builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build().unwrap()).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        let certificate = pem(builder.build().to_pem().unwrap());
        Leaf { certificate, key: pem(key.private_key_to_pem_pkcs8().unwrap()) }
    }
}
