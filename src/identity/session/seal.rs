use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::settings::Secret;

/// How this version writes what it seals.
const VERSION: u8 = 1;
const KEY_ID: usize = 4;
const ID: usize = 16;
/// Version, key, id and nonce.
const HEAD: usize = 1 + KEY_ID + ID + NONCE_LEN;
const TAG: usize = 16;

/// What names a sealed thing: random, and readable without the key.
pub(in crate::identity) type SealId = [u8; ID];

/// Seals texts that browsers keep for us: AES-256-GCM with random nonces, whose bound of 2^32 seals per key a busy gateway reaches after
/// years; `identity.session.keys` is a list so that the key can be changed long before.
pub(in crate::identity) struct Seals {
    /// The first one seals.
    keys: Vec<SealKey>,
}

struct SealKey {
    id: [u8; KEY_ID],
    key: LessSafeKey,
}

impl Seals {
    pub(in crate::identity) fn new(secrets: &[Secret]) -> Self {
        Self { keys: secrets.iter().filter_map(SealKey::of).collect() }
    }

    /// Base64url. What is sealed for one purpose does not open for another.
    pub(in crate::identity) fn seal(&self, purpose: &str, id: &SealId, plain: &[u8]) -> Option<String> {
        let key = self.keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = Vec::with_capacity(HEAD + plain.len() + TAG);
        sealed.push(VERSION);
        sealed.extend_from_slice(&key.id);
        sealed.extend_from_slice(id);
        let aad = aad(purpose, &sealed);
        sealed.extend_from_slice(&nonce);
        let mut body = plain.to_vec();
        key.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut body).ok()?;
        sealed.append(&mut body);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The id and what was sealed. `None` for whatever was not sealed by one of the keys for this purpose, byte for byte.
    pub(in crate::identity) fn open(&self, purpose: &str, text: &[u8]) -> Option<(SealId, Vec<u8>)> {
        let mut sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (head, body) = sealed.split_at_mut_checked(HEAD)?;
        let (bound, nonce) = head.split_at_checked(HEAD - NONCE_LEN)?;
        let (version, rest) = bound.split_first()?;
        let (key_id, id) = rest.split_at_checked(KEY_ID)?;
        if *version != VERSION {
            return None;
        }
        let key = self.keys.iter().find(|key| key.id == key_id)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = key.key.open_in_place(nonce, Aad::from(aad(purpose, bound)), body).ok()?;
        Some((id.try_into().ok()?, plain.to_vec()))
    }
}

impl SealKey {
    /// HKDF (RFC 5869) gives a short text the form of a key, and the key a name that tells nothing about it.
    fn of(secret: &Secret) -> Option<Self> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tollgate sealed cookies").extract(secret.expose().as_bytes());
        let key = UnboundKey::from(extracted.expand(&[b"aes-256-gcm"], &AES_256_GCM).ok()?);
        let mut name = [0; 32];
        extracted.expand(&[b"key id"], hkdf::HKDF_SHA256).ok()?.fill(&mut name).ok()?;
        Some(Self { id: name.first_chunk().copied()?, key: LessSafeKey::new(key) })
    }
}

fn aad(purpose: &str, head: &[u8]) -> Vec<u8> {
    [purpose.as_bytes(), &[0], head].concat()
}

/// So many random bytes; `None` if the system has none, which nobody survives.
pub(in crate::identity) fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seals(secrets: &[&str]) -> Seals {
        Seals::new(&secrets.iter().map(|text| Secret::new(text)).collect::<Vec<_>>())
    }

    #[test]
    fn d13_what_was_sealed_opens_and_nothing_else_does() {
        let ours = seals(&["one secret of thirty-two characters"]);
        let text = ours.seal("session", &[7; 16], b"plain").unwrap();
        assert_eq!(ours.open("session", text.as_bytes()), Some(([7; 16], b"plain".to_vec())));
        assert_eq!(ours.open("login", text.as_bytes()), None);
        assert_eq!(seals(&["another secret of thirty-two charac"]).open("session", text.as_bytes()), None);
        for place in 0..text.len() {
            let mut bent = text.clone().into_bytes();
            for bit in 0..7 {
                bent[place] ^= 1 << bit;
                assert_eq!(ours.open("session", &bent), None, "bit {bit} of {place}");
                bent[place] ^= 1 << bit;
            }
            assert_eq!(ours.open("session", &bent[..place]), None, "cut at {place}");
        }
    }

    #[test]
    fn d13_a_key_that_was_first_still_opens_until_it_is_gone() {
        let (old, new) = ("the old secret of thirty-two charact", "the new secret of thirty-two charact");
        let before = seals(&[old]).seal("session", &[1; 16], b"x").unwrap();
        let during = seals(&[new, old]);
        assert!(during.open("session", before.as_bytes()).is_some());
        let fresh = during.seal("session", &[1; 16], b"x").unwrap();
        let after = seals(&[new]);
        assert!(after.open("session", fresh.as_bytes()).is_some());
        assert!(after.open("session", before.as_bytes()).is_none());
    }

    #[test]
    fn the_same_text_is_never_sealed_alike() {
        let ours = seals(&["one secret of thirty-two characters"]);
        let [one, two] = [(); 2].map(|()| ours.seal("session", &[7; 16], b"plain").unwrap());
        assert_ne!(one, two);
    }

    proptest! {
        #[test]
        fn d13_any_bytes_are_answered_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let ours = seals(&["one secret of thirty-two characters"]);
            prop_assert_eq!(ours.open("session", &text), None);
            prop_assert_eq!(ours.open("session", URL_SAFE_NO_PAD.encode(&text).as_bytes()), None);
        }
    }
}
