use std::fmt;

use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, ParsedPublicKey,
    RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

/// What FusionAuth's Key Master can sign with, and RSA-PSS for DPoP proofs alone: FusionAuth's keys never use it, and an RSA key of an
/// issuer must not serve two algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    Ed25519,
    Hs256,
    Hs384,
    Hs512,
}

impl Algorithm {
    /// What a client may prove with that it has a key (RFC 9449 11.6: asymmetric ones only); what of FusionAuth's list AWS-LC can do, which
    /// is all but Ed448.
    pub(super) const OF_PROOFS: [Self; 10] = [
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Ed25519,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];

    /// The `alg` of a DPoP proof.
    pub(super) fn of_proof(name: &str) -> Option<Self> {
        if name == "EdDSA" { Some(Self::Ed25519) } else { Self::OF_PROOFS.into_iter().find(|known| known.name() == name) }
    }

    /// The `alg` of a token or of a published key; case matters (RFC 7515 4.1.1).
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            // RFC 9864 gave Ed25519 a name of its own, which FusionAuth writes; RFC 8037's name is still the common one.
            "Ed25519" | "EdDSA" => Self::Ed25519,
            "HS256" => Self::Hs256,
            "HS384" => Self::Hs384,
            "HS512" => Self::Hs512,
            _ => return None,
        })
    }

    /// As FusionAuth writes it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Ed25519 => "Ed25519",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// Whether whoever can verify can also sign.
    pub(super) const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// A key and the one algorithm it is for: a token's header can agree with it, never choose.
pub(super) struct VerificationKey {
    algorithm: Algorithm,
    verifier: Verifier,
}

enum Verifier {
    Library(DecodingKey, jsonwebtoken::Algorithm),
    /// What jsonwebtoken does not offer: P-521, and RSA with the 2047 bits that some key generators leave.
    Direct(ParsedPublicKey),
}

impl VerificationKey {
    /// Big-endian, without leading zeros; `bits` is the length of `n`, 2047 to 8192.
    pub(super) fn rsa(algorithm: Algorithm, n: &[u8], e: &[u8], bits: usize) -> Option<Self> {
        let library = match algorithm {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
            Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
            Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
            Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
            _ => return None,
        };
        let direct = match algorithm {
            Algorithm::Rs256 => &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            Algorithm::Rs512 => &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            _ => &signature::RSA_PKCS1_2048_8192_SHA384,
        };
        let parsed = RsaPublicKeyComponents { n, e }.to_parsed_public_key(direct).ok()?;
        let verifier = match (bits, algorithm) {
            (2048.., _) => Verifier::Library(DecodingKey::from_rsa_raw_components(n, e), library),
            (2047, Algorithm::Rs256 | Algorithm::Rs512) => Verifier::Direct(parsed),
            _ => return None,
        };
        Some(Self { algorithm, verifier })
    }

    /// The curve follows from the algorithm; `None` unless the coordinates have its length and the point is on it.
    pub(super) fn ec(algorithm: Algorithm, x: &[u8], y: &[u8]) -> Option<Self> {
        let (length, curve) = match algorithm {
            Algorithm::Es256 => (32, &ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => (48, &ECDSA_P384_SHA384_FIXED),
            Algorithm::Es512 => (66, &ECDSA_P521_SHA512_FIXED),
            _ => return None,
        };
        if x.len() != length || y.len() != length {
            return None;
        }
        let point = [&[4], x, y].concat();
        let parsed = ParsedPublicKey::new(curve, &point).ok()?;
        let verifier = match algorithm {
            Algorithm::Es256 => Verifier::Library(DecodingKey::from_ec_der(&point), jsonwebtoken::Algorithm::ES256),
            Algorithm::Es384 => Verifier::Library(DecodingKey::from_ec_der(&point), jsonwebtoken::Algorithm::ES384),
            _ => Verifier::Direct(parsed),
        };
        Some(Self { algorithm, verifier })
    }

    /// 32 bytes.
    pub(super) fn ed25519(x: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(&ED25519, x).ok()?;
        let verifier = Verifier::Library(DecodingKey::from_ed_der(x), jsonwebtoken::Algorithm::EdDSA);
        Some(Self { algorithm: Algorithm::Ed25519, verifier })
    }

    /// The secret's text is the key, as in FusionAuth; `None` if it is shorter than the hash (RFC 7518 3.2).
    pub(super) fn hmac(algorithm: Algorithm, secret: &str) -> Option<Self> {
        let (hash_bytes, library) = match algorithm {
            Algorithm::Hs256 => (32, jsonwebtoken::Algorithm::HS256),
            Algorithm::Hs384 => (48, jsonwebtoken::Algorithm::HS384),
            Algorithm::Hs512 => (64, jsonwebtoken::Algorithm::HS512),
            _ => return None,
        };
        let verifier = Verifier::Library(DecodingKey::from_secret(secret.as_bytes()), library);
        (secret.len() >= hash_bytes).then_some(Self { algorithm, verifier })
    }

    /// The only algorithm this key verifies.
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` (base64url) is this key's over `signed`.
    pub(super) fn verifies(&self, signed: &str, signature: &str) -> bool {
        match &self.verifier {
            Verifier::Library(key, algorithm) => {
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, *algorithm).unwrap_or(false)
            }
            Verifier::Direct(key) => {
                URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| key.verify_sig(signed.as_bytes(), &signature).is_ok())
            }
        }
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKey({})", self.algorithm.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: &str = "aMmrIaPcHYOXK-0YPSjmMQLyVhHdPjriXVBFq7BVWIsYr9WwnfCjj57z0j1uFBQbFyssy08i-tXIBcut_cU3yyaMDnpfL_uTBAdNe1B1cIKg47H91htmf8RiPq5EOvzjb7C1WCshDJogegb05WylvSO5VWd0hyatQkzSCdRxwJxte94-AtQ-yOGGoIAbPpc6cdbru_WKWWJASO3kAgJ1s-bzaw9TI-lStPGPObgPKjBSfScKY8_x7uVT11jEcuxdJdNHB7oFJBe3GEg73MUbW5tel_XsKmWkUad389jdfpExUEzYycXO_b2VCv4ac-HE5IUvjcDPzYvd_QnS5iwm2w";
    const RS256: &str = "A08eW85IVhgy56sx1Ruq8U9zVUjEYRZj0aKBqYlKtFyZt0d0E74jdBvNbcQhX8xjQcIx7KKF3CxMFbN9oKnTAmLgtje88M1VCJr43_QVExKU44WseSktyVIqk0x5gTkRW5d_mzW2jt_parD8nOy-YO5hUvAgXoQ1Lt1D0SqJw2jkxREpsBfFTIrSKcELbS8XvIYkcst-Bh8rBWjnuu6Ll0YMWRQyIDAXqIBxXlB0Z7m_fiBH_ZAJhiy3FMPtgVTSXVbdX1akTChlUzarLe4epGHS20IDix8fDqm2crSV1rhXUkHc7f-tShQEl0wyfs6Rr4xec15Y0bc3rV1-_0DROA";
    const RS512: &str = "XUEEL_pgLR1UxWnd5KNrfnGRKMxXI6A2iMF75f0oU_sIVgFZftFA5jLqtwRZcazVz4YlHyYNh73jxIiJ6ZQha0cVH8CAmxel6jKKOBkTZpJ5g0OAV7ITtugzmM27ai_2JtGFc9jmhgfPUAcqqqfLR3R696jMwbd8pH2itk1EYSuhfnkiQlBl11I5HZUgZREW1iWYxw_fnL47ibOWc6nyz2NpbaaL6pn9hhXzHDTVqsVp9PtjoHfM7cdckmQUmp8wKEazLUesgCFFBQVPylCcLw-DV0y9CRdTJ8hh-RAgXp_M3tXOFBRfirAZaC1Yg0OpdH4x6nyl-VQ2yzyLipYLBA";

    /// FusionAuth's own library once met such a key and accepts them since. Key and signatures are OpenSSL's.
    #[test]
    fn a_2047_bit_key_verifies_where_the_library_would_not() {
        let n = URL_SAFE_NO_PAD.decode(N).unwrap();
        let key = |algorithm| VerificationKey::rsa(algorithm, &n, &[1, 0, 1], 2047);
        assert!(key(Algorithm::Rs256).unwrap().verifies("header.payload", RS256));
        assert!(key(Algorithm::Rs512).unwrap().verifies("header.payload", RS512));
        assert!(!key(Algorithm::Rs256).unwrap().verifies("header.payload", RS512));
        assert!(!key(Algorithm::Rs256).unwrap().verifies("header.payloae", RS256));
        assert!(key(Algorithm::Rs384).is_none(), "AWS-LC has no such verification");
    }

    #[test]
    fn a21_a_secret_shorter_than_the_hash_is_no_key() {
        for (algorithm, length) in [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)] {
            assert!(VerificationKey::hmac(algorithm, &"s".repeat(length)).is_some());
            assert!(VerificationKey::hmac(algorithm, &"s".repeat(length - 1)).is_none());
        }
        assert!(VerificationKey::hmac(Algorithm::Hs256, "").is_none());
    }
}
