use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use super::roca;
use super::verify::{Algorithm, VerificationKey};
use crate::model::TokenFault;

/// Keys of one issuer; FusionAuth's set is global, so a large installation may have dozens.
const MAX_KEYS: usize = 100;
/// Keys with the same `kid` and algorithm that are tried on one token.
const MAX_CANDIDATES: usize = 4;
const MAX_KID_BYTES: usize = 256;

/// Members that only a private key has (RFC 7518 6.2.2, 6.3.2, 6.4.1). Whoever can read such a set can sign, so the key is worth nothing.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A key that may vouch for tokens.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) verification: VerificationKey,
    /// What makes it this key and not another of the same name.
    material: Vec<u8>,
    withdrawn: AtomicBool,
}

impl Key {
    pub(super) fn new(kid: Option<String>, verification: VerificationKey, material: Vec<u8>) -> Self {
        Self { kid, verification, material, withdrawn: AtomicBool::new(false) }
    }

    /// Whether its issuer no longer publishes it: what it signed is worth nothing any more, remembered or not.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    fn is_same_as(&self, other: &Self) -> bool {
        self.kid == other.kid
            && self.verification.algorithm() == other.verification.algorithm()
            && self.material == other.material
    }
}

/// The keys of one issuer that were admitted, from one fetched document (JWK set, RFC 7517).
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Arc<Key>>,
    /// One line per key that was not admitted, for operators; what the issuer wrote is escaped.
    pub(super) skipped: Vec<String>,
}

impl KeySet {
    /// Reads a document. `previous` are the keys in use: those that are still there stay the same objects.
    ///
    /// A document without a single usable key is an error, so that it never replaces a good set.
    pub(super) fn parse(document: &[u8], previous: Option<&Self>) -> Result<Self, String> {
        let mut document = json::object(document).map_err(|error| format!("the key set is not readable: {error}"))?;
        let Some(Value::Array(entries)) = document.remove("keys") else {
            return Err("the key set has no list `keys`".into());
        };
        let mut set = Self::default();
        for entry in &entries {
            match set.admit(entry) {
                Ok(key) => {
                    let known = previous.and_then(|previous| previous.keys.iter().find(|known| known.is_same_as(&key)));
                    set.keys.push(known.cloned().unwrap_or_else(|| Arc::new(key)));
                }
                Err(reason) if set.skipped.len() < MAX_KEYS => set.skipped.push(format!("{}: {reason}", shown(entry))),
                Err(_) => {}
            }
        }
        if set.keys.is_empty() {
            let reasons = if set.skipped.is_empty() { String::new() } else { format!(" ({})", set.skipped.join("; ")) };
            return Err(format!("the key set has no usable key{reasons}"));
        }
        Ok(set)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The keys that a token with this header may be signed with, at least one and at most four.
    ///
    /// `UnknownKey`: none has this `kid`, or there is no `kid` and not exactly one key for the algorithm. `WrongAlgorithm`: the key is
    /// for another one.
    pub(super) fn candidates(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<Vec<Arc<Key>>, TokenFault> {
        let fits = |key: &&Arc<Key>| key.verification.algorithm() == algorithm;
        let Some(kid) = kid else {
            let mut fitting = self.keys.iter().filter(fits);
            return match (fitting.next(), fitting.next()) {
                (Some(only), None) => Ok(vec![Arc::clone(only)]),
                _ => Err(TokenFault::UnknownKey),
            };
        };
        let mut named = self.keys.iter().filter(|key| key.kid.as_deref() == Some(kid)).peekable();
        if named.peek().is_none() {
            return Err(TokenFault::UnknownKey);
        }
        let candidates: Vec<_> = named.filter(fits).take(MAX_CANDIDATES).cloned().collect();
        if candidates.is_empty() { Err(TokenFault::WrongAlgorithm) } else { Ok(candidates) }
    }

    /// Marks every key that `successor` no longer has (CVE-2025-22149: a key that was removed must not live on).
    pub(super) fn withdraw_missing(&self, successor: &Self) {
        for key in &self.keys {
            if !successor.keys.iter().any(|kept| Arc::ptr_eq(kept, key)) {
                key.withdrawn.store(true, Ordering::Release);
            }
        }
    }

    fn admit(&self, entry: &Value) -> Result<Key, String> {
        let jwk = entry.as_object().ok_or("not an object")?;
        let key = admit(jwk)?;
        if self.keys.len() >= MAX_KEYS {
            return Err(format!("only the first {MAX_KEYS} keys are used"));
        }
        if self.keys.iter().any(|known| known.is_same_as(&key)) {
            return Err("listed twice".into());
        }
        Ok(key)
    }
}

/// The filter between a published key and a trusted one. Wycheproof shows what a JWT library alone lets through: keys for encryption,
/// keys too weak to trust, and algorithms that do not belong to the key.
fn admit(jwk: &Map<String, Value>) -> Result<Key, String> {
    let declared = declared(jwk, Algorithm::named)?;
    let (verification, material) = admit_for(jwk, declared)?;
    Ok(Key::new(text(jwk, "kid")?.map(str::to_owned), verification, material))
}

/// The public key that a DPoP proof brings along, for exactly the algorithm that its header names. It passes the same filter: what is
/// bound to a key that anybody can find is bound to nobody.
pub(super) fn of_proof(jwk: &Map<String, Value>, algorithm: Algorithm) -> Result<VerificationKey, String> {
    match declared(jwk, Algorithm::of_proof)? {
        Some(declared) if declared != algorithm => Err(format!("the key is for {}", declared.name())),
        _ => admit_for(jwk, Some(algorithm)).map(|(verification, _)| verification),
    }
}

fn declared(jwk: &Map<String, Value>, named: fn(&str) -> Option<Algorithm>) -> Result<Option<Algorithm>, String> {
    let Some(name) = text(jwk, "alg")? else { return Ok(None) };
    named(name).map(Some).ok_or_else(|| format!("algorithm {name:?} is not accepted"))
}

fn admit_for(jwk: &Map<String, Value>, algorithm: Option<Algorithm>) -> Result<Admitted, String> {
    if let Some(member) = PRIVATE_MEMBERS.iter().find(|member| jwk.contains_key(**member)) {
        let kind = if *member == "k" { "a symmetric key" } else { "a private key" };
        return Err(format!("{kind} was published (`{member}`); treat it as stolen"));
    }
    if !matches!(text(jwk, "use")?, None | Some("sig")) {
        return Err("`use` is not \"sig\"".into());
    }
    match jwk.get("key_ops") {
        None => {}
        Some(Value::Array(operations)) if operations.iter().any(|operation| operation == "verify") => {}
        Some(_) => return Err("`key_ops` does not contain \"verify\"".into()),
    }
    if text(jwk, "kid")?.is_some_and(|kid| kid.len() > MAX_KID_BYTES) {
        return Err(format!("`kid` is longer than {MAX_KID_BYTES} bytes"));
    }
    match text(jwk, "kty")?.ok_or("no `kty`")? {
        "RSA" => rsa(jwk, algorithm),
        "EC" => ec(jwk, algorithm),
        "OKP" => okp(jwk, algorithm),
        other => Err(format!("key type {other:?} is not accepted")),
    }
}

type Admitted = (VerificationKey, Vec<u8>);

/// Without `alg` an RSA key is for RS256 only: it is what providers that leave `alg` out sign with, and one key must not serve several.
fn rsa(jwk: &Map<String, Value>, algorithm: Option<Algorithm>) -> Result<Admitted, String> {
    let algorithm = match algorithm.unwrap_or(Algorithm::Rs256) {
        fitting @ (Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512) => fitting,
        // No published key is for these: their names are not accepted there.
        fitting @ (Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512) => fitting,
        other => return Err(format!("an RSA key cannot be for {}", other.name())),
    };
    let [n, e] = [bytes(jwk, "n")?, bytes(jwk, "e")?].map(without_leading_zeros);
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !(2047..=8192).contains(&bits) {
        return Err(format!("the modulus has {bits} bits, not 2048 to 8192"));
    }
    if n.last().is_none_or(|last| last & 1 == 0) {
        return Err("the modulus is even".into());
    }
    // 1 and even exponents are no RSA; beyond 32 bits AWS-LC does not go, and nobody else does.
    if e.len() > 4 || e.last().is_none_or(|last| last & 1 == 0) || e == [1] {
        return Err("the exponent is not an odd number from 3 to 2^32".into());
    }
    if roca::is_weak(&n) {
        return Err("the modulus is of the kind that ROCA (CVE-2017-15361) factors".into());
    }
    let key = VerificationKey::rsa(algorithm, &n, &e, bits)
        .ok_or_else(|| format!("a {bits}-bit modulus cannot be used for {}", algorithm.name()))?;
    Ok((key, [&n[..], &e[..]].concat()))
}

fn ec(jwk: &Map<String, Value>, algorithm: Option<Algorithm>) -> Result<Admitted, String> {
    let curve = text(jwk, "crv")?.ok_or("no `crv`")?;
    let own = match curve {
        "P-256" => Algorithm::Es256,
        "P-384" => Algorithm::Es384,
        "P-521" => Algorithm::Es512,
        other => return Err(format!("curve {other:?} is not accepted")),
    };
    if algorithm.is_some_and(|algorithm| algorithm != own) {
        return Err(format!("a key on {curve} is for {} only", own.name()));
    }
    let [x, y] = [bytes(jwk, "x")?, bytes(jwk, "y")?];
    let key = VerificationKey::ec(own, &x, &y).ok_or_else(|| format!("not a point on {curve}"))?;
    Ok((key, [x, y].concat()))
}

fn okp(jwk: &Map<String, Value>, algorithm: Option<Algorithm>) -> Result<Admitted, String> {
    match text(jwk, "crv")?.ok_or("no `crv`")? {
        "Ed25519" => {}
        other => return Err(format!("curve {other:?} is not accepted")),
    }
    if algorithm.is_some_and(|algorithm| algorithm != Algorithm::Ed25519) {
        return Err("an Ed25519 key is for Ed25519 only".into());
    }
    let x = bytes(jwk, "x")?;
    let key = VerificationKey::ed25519(&x).ok_or("not an Ed25519 key")?;
    Ok((key, x))
}

fn text<'a>(jwk: &'a Map<String, Value>, member: &str) -> Result<Option<&'a str>, String> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{member}` is not a string")),
    }
}

fn bytes(jwk: &Map<String, Value>, member: &str) -> Result<Vec<u8>, String> {
    let text = text(jwk, member)?.ok_or_else(|| format!("no `{member}`"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("`{member}` is not base64url"))
}

/// RFC 7518 2 forbids them, Java's `BigInteger` writes them.
fn without_leading_zeros(number: Vec<u8>) -> Vec<u8> {
    number.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn shown(entry: &Value) -> String {
    match entry.get("kid").and_then(Value::as_str) {
        Some(kid) => format!("key {:?}", kid.chars().take(40).collect::<String>()),
        None => "a key without `kid`".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_document_is_answered_without_a_panic(
            kty in "RSA|EC|OKP|oct", crv in "P-256|P-521|Ed25519|x", alg in "RS256|ES256|ES512|EdDSA|x", n in "[A-Za-z0-9_-]{0,344}", e in "[A-Z]{0,6}",
        ) {
            let jwk = serde_json::json!({"kty": kty, "crv": crv, "alg": alg, "n": n, "e": e, "x": n, "y": n});
            let _ = KeySet::parse(serde_json::json!({"keys": [jwk]}).to_string().as_bytes(), None);
            let _ = KeySet::parse(n.as_bytes(), None);
        }
    }
}
