use super::{Identifier, Refused};
use crate::identity::claims::{self, CHECKS, Said};
use crate::identity::credentials::{Binding, Scheme, is_opaque};
use crate::identity::examination::{Examination, Finding, Verdict};
use crate::identity::token::Token;
use crate::model::{Moment, TokenFault};

impl Identifier {
    /// Every check on this token with its result, for `tollgate token verify`. Waits for keys, and asks the issuer, as a request would.
    pub async fn examine(&self, token: &str, now: Moment) -> Examination {
        match Token::parse(token) {
            Ok(parsed) => self.examine_signed(token, &parsed, now).await,
            Err(TokenFault::Malformed) if is_opaque(token) => self.examine_opaque(token, now).await,
            Err(fault) => concluded(vec![form(Some(fault), "not a token that could be read")], None),
        }
    }

    async fn examine_signed(&self, text: &str, token: &Token<'_>, now: Moment) -> Examination {
        let mut findings = self.examine_claims(&token.claims, now);
        let (signer, is_asked) = match self.signer(token, now).await {
            Err(Refused::For(TokenFault::WrongAlgorithm))
                if token.algorithm.is_symmetric() && self.can_ask_about(&token.claims) =>
            {
                (self.inquire(text, Some(&token.claims), now).await.map(drop), true)
            }
            signer => (signer.map(drop), false),
        };
        let is_meant = claims::candidates(&self.policy, &token.claims).next().is_some();
        let kid = token.kid.as_deref().map_or_else(|| "no kid".into(), |kid| format!("kid {kid:?}"));
        let found = match &signer {
            Ok(()) if is_asked => "the issuer was asked and vouches for it",
            Ok(()) => "the signature is right",
            Err(Refused::WithoutKeys | Refused::WithoutMemory) if is_asked => "the issuer was asked and did not answer",
            Err(Refused::WithoutKeys | Refused::WithoutMemory) => "the issuer's keys could not be fetched",
            Err(Refused::For(TokenFault::Inactive)) => "the issuer was asked and does not vouch for it",
            Err(Refused::For(_)) if is_asked => "what the issuer says about it is not acceptable",
            Err(Refused::For(TokenFault::BadSignature)) => "the signature is wrong",
            Err(Refused::For(TokenFault::UnknownKey)) if !is_meant => {
                "not checked: the token is for none of the configured issuers"
            }
            Err(Refused::For(TokenFault::UnknownKey)) => "the issuer has no such key",
            Err(Refused::For(_)) if token.algorithm.is_symmetric() => {
                "no hmac_secrets of this issuer fits; better give the application an asymmetric key in FusionAuth"
            }
            Err(Refused::For(_)) => "that key is for another algorithm",
        };
        let kid: String = kid.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        findings.push(Finding {
            subject: "signature",
            fault: fault(&signer),
            text: format!("{} {kid}: {found}", token.algorithm.name()),
        });
        concluded(findings, signer.err())
    }

    async fn examine_opaque(&self, text: &str, now: Moment) -> Examination {
        if !self.knows_opaque_tokens() {
            let why = "not a JWT, and no issuer has `introspection` by which it could be asked about";
            return concluded(vec![form(Some(TokenFault::Malformed), why)], None);
        }
        match self.inquire(text, None, now).await {
            Ok((identity, _)) => {
                let mut findings = vec![form(None, "opaque: the issuer was asked and vouches for it")];
                findings.extend(self.examine_claims(identity.claims.values(), now));
                concluded(findings, None)
            }
            Err(refused) => {
                let found = match refused {
                    Refused::For(TokenFault::Inactive) => "opaque: the issuers were asked, and none vouches for it",
                    Refused::For(_) => "opaque: what the issuer says about it is not acceptable",
                    Refused::WithoutKeys | Refused::WithoutMemory => "opaque: the issuer was asked and did not answer",
                };
                concluded(vec![form(fault(&Err(refused)), found)], Some(refused))
            }
        }
    }

    fn examine_claims(&self, said: &Said, now: Moment) -> Vec<Finding> {
        let mut findings = Vec::with_capacity(CHECKS.len() + 2);
        for check in CHECKS {
            let fault = (check.judge)(&self.policy, said, now).err();
            let mut text = (check.show)(said, now);
            if fault.is_some()
                && let Some(expected) = (check.expected)(&self.policy, said)
            {
                text.push_str("; ");
                text.push_str(&expected);
            }
            findings.push(Finding { subject: check.subject, fault, text });
        }
        findings.push(self.examine_binding(said));
        findings
    }

    fn examine_binding(&self, said: &Said) -> Finding {
        let binding = Binding::of(said);
        // A token that is bound will be shown with a proof; which is not here to be examined.
        let scheme = if matches!(binding, Ok(Binding::Key(_))) { Scheme::Dpop } else { Scheme::Bearer };
        let fault = binding.and_then(|binding| binding.admits(scheme, self.policy.credentials.dpop)).err();
        let text = match (binding, fault) {
            (Ok(Binding::None), None) => "to no key",
            (Ok(Binding::None), Some(_)) => "to no key, but `identity.dpop` is `required`",
            (Ok(Binding::Key(_)), None) => "to a DPoP key: each request needs a proof",
            (Ok(Binding::Key(_)), Some(_)) => "to a DPoP key, but `identity.dpop` is `off`",
            (Err(_), _) => "`cnf` asks for a check that is not known here",
        };
        Finding { subject: "binding", fault, text: text.into() }
    }
}

fn form(fault: Option<TokenFault>, text: &str) -> Finding {
    Finding { subject: "form", fault, text: text.into() }
}

fn fault(outcome: &Result<(), Refused>) -> Option<TokenFault> {
    match outcome {
        Err(Refused::For(fault)) => Some(*fault),
        _ => None,
    }
}

fn concluded(findings: Vec<Finding>, refused: Option<Refused>) -> Examination {
    let verdict = match (findings.iter().find_map(|finding| finding.fault), refused) {
        (Some(fault), _) => Verdict::Refused(fault),
        (None, Some(_)) => Verdict::KeysUnavailable,
        (None, None) => Verdict::Accepted,
    };
    Examination { verdict, findings }
}
