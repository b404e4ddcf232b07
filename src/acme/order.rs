use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};

use super::cache;
use super::client::Http;
use crate::model::settings::{Acme, AcmeChallenge};
use crate::tls::Challenges;

/// How long the server may take to look at the names, and to sign.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).backoff(1.5).timeout(Duration::from_secs(90));

/// Orders one certificate and gives its key and chain, as PEM in one text. The error is for operators.
pub(super) async fn place(acme: &Acme, challenges: &Challenges) -> Result<String, String> {
    let account = account(acme).await?;
    let names: Vec<Identifier> = acme.names.iter().cloned().map(Identifier::Dns).collect();
    let told = |error: instant_acme::Error| whole(&error);
    let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(told)?;
    let wanted = match acme.challenge {
        AcmeChallenge::Http01 => ChallengeType::Http01,
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(told)?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => return Err(format!("an authorization is {status:?}")),
        }
        let name = authorization.identifier().to_string();
        let mut challenge = authorization
            .challenge(wanted.clone())
            .ok_or_else(|| format!("the server offers no {} for {name}", acme.challenge.label()))?;
        let proof = challenge.key_authorization();
        match acme.challenge {
            AcmeChallenge::Http01 => challenges.answer(&challenge.token, proof.as_str()),
            AcmeChallenge::TlsAlpn01 => {
                challenges.show(&name, proof.digest().as_ref()).map_err(|error| format!("no proof for {name}: {error}"))?;
            }
        }
        challenge.set_ready().await.map_err(told)?;
    }
    match order.poll_ready(&PATIENCE).await.map_err(told)? {
        OrderStatus::Ready => {}
        status => return Err(format!("the server could not see that the names are ours: the order is {status:?}")),
    }
    let key = order.finalize().await.map_err(told)?;
    let chain = order.poll_certificate(&PATIENCE).await.map_err(told)?;
    Ok(format!("{}\n{chain}", key.trim_end()))
}

/// The account of the cache, or a new one.
async fn account(acme: &Acme) -> Result<Account, String> {
    let builder = || Http::new(acme).map(|http| Account::builder_with_http(Box::new(http)));
    if let Some(text) = cache::account(acme).await {
        let credentials: AccountCredentials =
            serde_json::from_str(&text).map_err(|error| format!("{} is no account: {error}", acme.account_file().display()))?;
        return builder()?.from_credentials(credentials).await.map_err(|error| whole(&error));
    }
    let contacts: Vec<&str> = acme.contacts.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
    let made = builder()?.create(&new, acme.directory.clone(), None).await;
    let (account, credentials) = made.map_err(|error| whole(&error))?;
    let text = serde_json::to_string(&credentials).map_err(|error| error.to_string())?;
    cache::write_account(acme, &text).await.map_err(|error| format!("the account cannot be written: {error}"))?;
    Ok(account)
}

/// An error with its causes: "error sending request" alone helps nobody.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
