//! Checklist B: the issuer is slow, hostile, gone or changing its keys.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tollgate::identity::{Identifier, KeyRings, RingStatus, Verdict};
use tollgate::model::settings::Auth;
use tollgate::model::{Moment, Rejection, TokenFault};

use crate::idp::{Answer, Idp};
use crate::ports::free_port;
use crate::support::{Gate, Signer, bearer, claims, claims_with, issuer, key_set, now, settings, until};

/// A clock of one test that can be put forward; the real one goes on below it.
macro_rules! clock {
    ($ahead:ident, $clock:ident) => {
        static $ahead: AtomicU64 = AtomicU64::new(0);
        fn $clock() -> Moment {
            now().plus(Duration::from_secs($ahead.load(Ordering::Relaxed)))
        }
    };
}

fn status(gate: &Gate) -> RingStatus {
    gate.rings.status().remove(0)
}

#[tokio::test]
async fn b1_a_flood_of_unknown_kids_is_one_fetch_per_cooldown() {
    clock!(AHEAD, clock);
    let signer = Signer::ed25519("known");
    let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
    let gate = Gate::open_by(&settings(vec![issuer(&idp.url)]), clock);
    until(|| gate.rings.ready()).await;
    let stranger = Signer::ed25519("stranger");
    let unknown =
        |kid: usize| stranger.sign(&json!({"alg": "Ed25519", "kid": format!("k{kid}")}).to_string(), &claims().to_string());

    for kid in 0..500 {
        assert_eq!(gate.fault_at(&unknown(kid), clock()).await, Some(TokenFault::UnknownKey));
    }
    assert_eq!(idp.asked("jwks.json"), 1, "still cooling down after the first fetch");

    AHEAD.store(31, Ordering::Relaxed);
    for kid in 0..500 {
        assert_eq!(gate.fault_at(&unknown(kid), clock()).await, Some(TokenFault::UnknownKey));
    }
    assert_eq!(idp.asked("jwks.json"), 2);
    assert_eq!(idp.asked("openid-configuration"), 1, "the place is known");

    // Tokens that could not be accepted anyway are no reason to ask.
    AHEAD.store(62, Ordering::Relaxed);
    let elsewhere = stranger.token(&claims_with(json!({"aud": "another"})));
    assert_eq!(gate.fault_at(&elsewhere, clock()).await, Some(TokenFault::WrongAudience));
    assert_eq!(idp.asked("jwks.json"), 2);
    assert_eq!(gate.fault_at(&signer.token(&claims()), clock()).await, None);
}

#[tokio::test]
async fn b1_the_cooldown_also_holds_while_there_are_no_keys() {
    let idp = Idp::open(Answer::Json(r#"{"keys":[]}"#.into())).await;
    let gate = Gate::open(&settings(vec![issuer(&idp.url)]));
    until(|| status(&gate).refreshes_failed == 1).await;
    let token = Signer::ed25519("k").token(&claims());
    for _ in 0..200 {
        assert_eq!(gate.sees(&token).await.err(), Some(Rejection::KeysUnavailable));
    }
    assert_eq!(idp.asked("jwks.json"), 1);
    assert_eq!(status(&gate).last_error.as_deref(), Some("the key set has no usable key"));
}

#[tokio::test]
async fn b2_the_first_token_of_a_new_key_is_accepted() {
    clock!(AHEAD, clock);
    let (old, new) = (Signer::ed25519("old"), Signer::ed25519("new"));
    let idp = Idp::open(Answer::Json(key_set(&[&old]))).await;
    let gate = Gate::open_by(&settings(vec![issuer(&idp.url)]), clock);
    let (old_token, new_token) = (old.token(&claims()), new.token(&claims()));
    let before = gate.sees_at(&old_token, clock()).await.unwrap();
    idp.publish(&[&old, &new]);
    assert_eq!(gate.fault_at(&new_token, clock()).await, Some(TokenFault::UnknownKey), "within the cooldown");
    AHEAD.store(31, Ordering::Relaxed);
    assert_eq!(gate.fault_at(&new_token, clock()).await, None);
    let after = gate.sees_at(&old_token, clock()).await.unwrap();
    assert!(Arc::ptr_eq(&before, &after), "a key that stays keeps what it vouched for");
}

#[tokio::test]
async fn b3_a_removed_key_takes_its_remembered_tokens_along() {
    let (leaving, staying) = (Signer::ed25519("leaving"), Signer::ed25519("staying"));
    let idp = Idp::open(Answer::Json(key_set(&[&leaving, &staying]))).await;
    let mut issuer = issuer(&idp.url);
    issuer.refresh = Duration::from_millis(20);
    let gate = Gate::open(&settings(vec![issuer]));
    let token = leaving.token(&claims());
    assert_eq!(gate.fault(&token).await, None);
    assert_eq!(gate.identifier.cached_tokens(), 1);
    idp.publish(&[&staying]);
    until(|| status(&gate).keys == 1).await;
    assert_eq!(gate.fault(&token).await, Some(TokenFault::UnknownKey));
    assert_eq!(gate.identifier.cached_tokens(), 0);
    assert_eq!(gate.fault(&staying.token(&claims())).await, None);
}

#[tokio::test]
async fn b3_a_new_key_under_an_old_kid_replaces_it() {
    let (first, second) = (Signer::ed25519("kid"), Signer::ed25519("kid"));
    let idp = Idp::open(Answer::Json(key_set(&[&first]))).await;
    let mut issuer = issuer(&idp.url);
    issuer.refresh = Duration::from_millis(20);
    let gate = Gate::open(&settings(vec![issuer]));
    let token = first.token(&claims());
    assert_eq!(gate.fault(&token).await, None);
    idp.publish(&[&second]);
    let asked = idp.asked("jwks.json");
    until(|| idp.asked("jwks.json") > asked + 1).await;
    assert_eq!(gate.fault(&token).await, Some(TokenFault::BadSignature));
    assert_eq!(gate.fault(&second.token(&claims())).await, None);
}

/// B4 and B5: whatever comes instead of keys, the good ones stay, and operators learn why.
#[tokio::test]
async fn b4_b5_a_bad_answer_never_replaces_good_keys() {
    let signer = Signer::ed25519("k");
    let trap = Idp::open(Answer::Json(key_set(&[&Signer::ed25519("evil")]))).await;
    let good = key_set(&[&signer]);
    let many = format!(r#"{{"keys":[{}7]}}"#, "{},".repeat(100_000));
    for (answer, error) in [
        (Answer::Status(500), "/.well-known/jwks.json answered 500 Internal Server Error"),
        (Answer::Status(404), "/.well-known/jwks.json answered 404 Not Found"),
        (Answer::Json("<html>Down for maintenance</html>".into()), "the key set is not readable"),
        (Answer::Json(good[..good.len() / 2].into()), "the key set is not readable"),
        (Answer::Json(String::new()), "the key set is not readable"),
        (Answer::Json("[]".into()), "the key set is not readable: not an object"),
        (Answer::Json("{}".into()), "the key set has no list `keys`"),
        (Answer::Json(r#"{"keys":{}}"#.into()), "the key set has no list `keys`"),
        (Answer::Json(r#"{"keys":[]}"#.into()), "the key set has no usable key"),
        (Answer::Json(format!(r#"{{"keys":[],{}"#, &good[1..])), "the key set is not readable: a name given twice"),
        (Answer::Json(many), "the key set has no usable key"),
        (Answer::Redirect(format!("{}/.well-known/jwks.json", trap.url)), "answered 302 Found; redirects are not followed"),
        (Answer::Redirect("file:///etc/passwd".into()), "answered 302 Found; redirects are not followed"),
        (Answer::Huge(100 << 20), "/.well-known/jwks.json is larger than 1048576 bytes"),
        (Answer::Drip, "/.well-known/jwks.json: no answer within 300ms"),
        (Answer::Hang, "/.well-known/jwks.json: no answer within 300ms"),
        (Answer::EndlessHeaders, "/.well-known/jwks.json: error sending request"),
    ] {
        let idp = Idp::open(Answer::Json(good.clone())).await;
        let mut issuer = issuer(&idp.url);
        issuer.refresh = Duration::from_millis(20);
        if matches!(answer, Answer::Drip | Answer::Hang) {
            issuer.timeout = Duration::from_millis(300);
        }
        let gate = Gate::open(&settings(vec![issuer]));
        until(|| gate.rings.ready()).await;
        assert!(!status(&gate).stale);
        idp.answer_keys(answer);
        until(|| status(&gate).last_error.is_some()).await;
        let status = status(&gate);
        let last_error = status.last_error.unwrap();
        assert!(last_error.contains(error), "{last_error} does not say: {error}");
        assert_eq!((status.keys, status.stale, status.ready), (1, true, true));
        assert_eq!(gate.fault(&signer.token(&claims())).await, None);
    }
    assert_eq!(trap.asked(""), 0);
}

#[tokio::test]
async fn b6_an_issuer_that_is_down_at_the_start_is_503_until_it_is_up() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let signer = Signer::ed25519("k");
    let gate = Gate::open(&settings(vec![issuer(&format!("http://{address}"))]));
    let token = signer.token(&claims());
    until(|| status(&gate).refreshes_failed > 0).await;
    assert!(!gate.rings.ready());
    for auth in [Auth::Required, Auth::Optional, Auth::OptionalLenient] {
        let refused = gate.identifier.identify(&bearer(&token, now()), auth).await.err().unwrap();
        assert_eq!((refused.status(), refused.retry_after()), (503, Some(5)), "{auth:?}");
    }
    assert!(gate.identifier.identify(&bearer(&token, now()), Auth::None).await.is_ok());
    assert_eq!(gate.fault(&signer.token(&claims_with(json!({"exp": 1})))).await, Some(TokenFault::Expired), "bad in any case");
    assert_eq!(gate.identifier.examine(&token, now()).await.verdict, Verdict::KeysUnavailable);
    let last_error = status(&gate).last_error.unwrap();
    assert!(last_error.contains("refused"), "{last_error}");

    let _idp = Idp::open_at(address, Answer::Json(key_set(&[&signer]))).await;
    until(|| gate.rings.ready()).await;
    assert_eq!(gate.fault(&token).await, None);
    assert_eq!(status(&gate).last_error, None);
}

#[tokio::test]
async fn b7_old_keys_serve_until_max_stale_and_then_nothing_does() {
    clock!(AHEAD, clock);
    let signer = Signer::ed25519("k");
    let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
    let gate = Gate::open_by(&settings(vec![issuer(&idp.url)]), clock);
    let long = |jti: &str| signer.token(&claims_with(json!({"exp": now().unix_seconds() + 80_000, "jti": jti})));
    let remembered = long("remembered");
    assert_eq!(gate.fault_at(&remembered, clock()).await, None);
    idp.answer_keys(Answer::Status(500));
    // refresh and max_stale are an hour each.
    AHEAD.store(2 * 3600 - 60, Ordering::Relaxed);
    assert_eq!(gate.fault_at(&remembered, clock()).await, None);
    assert_eq!(gate.fault_at(&long("fresh"), clock()).await, None);
    AHEAD.store(2 * 3600 + 1, Ordering::Relaxed);
    for token in [&remembered, &long("late")] {
        assert_eq!(gate.sees_at(token, clock()).await.err(), Some(Rejection::KeysUnavailable));
    }
    assert!(!gate.rings.ready());
    idp.publish(&[&signer]);
    AHEAD.store(2 * 3600 + 60, Ordering::Relaxed);
    assert_eq!(gate.fault_at(&remembered, clock()).await, None);
}

#[tokio::test]
async fn b8_discovery_is_asked_per_tenant_and_believed_only_about_its_own_origin() {
    let signer = Signer::ed25519("k");
    let trap = Idp::open(Answer::Json(key_set(&[&Signer::ed25519("evil")]))).await;
    let elsewhere = format!("{}/.well-known/jwks.json", trap.url);
    let scheme = |url: &str| url.replace("http://", "https://");
    for (discovery, warning) in [
        (json!({"issuer": "acme.com", "jwks_uri": elsewhere}), Some("which is not the issuer's url")),
        (json!({"issuer": "acme.com", "jwks_uri": scheme(&elsewhere)}), Some("which is not the issuer's url")),
        (json!({"issuer": "acme.com", "jwks_uri": "file:///etc/passwd"}), Some("which is not the issuer's url")),
        (json!({"issuer": "acme.com", "jwks_uri": 7}), Some("discovery has no `jwks_uri`")),
        (json!({"issuer": "acme.com"}), Some("discovery has no `jwks_uri`")),
        (
            json!({"issuer": "http://localhost:9011", "jwks_uri": "SELF/.well-known/jwks.json"}),
            Some("the configuration says \"acme.com\""),
        ),
        (json!({"issuer": "acme.com", "jwks_uri": "SELF/.well-known/jwks.json"}), None),
    ] {
        let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
        let document = discovery.to_string().replace("SELF", &idp.url);
        *idp.discovery.lock().unwrap() = Some(Answer::Json(document));
        let mut issuer = issuer(&idp.url);
        issuer.tenant = Some(claims()["tid"].as_str().unwrap().to_owned());
        let gate = Gate::open(&settings(vec![issuer]));
        assert_eq!(gate.fault(&signer.token(&claims())).await, None, "{discovery}");
        let warnings = status(&gate).warnings;
        assert_eq!(warnings.len(), usize::from(warning.is_some()), "{warnings:?}");
        assert!(warning.is_none_or(|text| warnings[0].contains(text)), "{warnings:?}");
        assert_eq!(idp.asked("/d7d09513-a3f5-401c-9685-34ab6c552453/.well-known/openid-configuration"), 1);
    }
    assert_eq!(trap.asked(""), 0);
}

#[tokio::test]
async fn b8_without_discovery_the_fixed_path_is_used() {
    let signer = Signer::ed25519("k");
    for answer in [Answer::Status(404), Answer::Json("no".into()), Answer::Redirect("/elsewhere".into())] {
        let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
        *idp.discovery.lock().unwrap() = Some(answer);
        let gate = Gate::open(&settings(vec![issuer(&idp.url)]));
        assert_eq!(gate.fault(&signer.token(&claims())).await, None);
        assert!(status(&gate).warnings[0].starts_with("no discovery, so /.well-known/jwks.json is used"));
    }
}

#[tokio::test]
async fn b10_a_thousand_first_requests_share_one_fetch() {
    let signer = Signer::ed25519("k");
    let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
    let settings = settings(vec![issuer(&idp.url)]);
    let rings = Arc::new(KeyRings::new(now));
    rings.follow(&settings.issuers);
    let identifier = Arc::new(Identifier::new(&settings, &rings));
    let requests: Vec<_> = (0..1000)
        .map(|number| {
            let (identifier, facts) =
                (Arc::clone(&identifier), bearer(&signer.token(&claims_with(json!({"jti": number}))), now()));
            tokio::spawn(async move { identifier.identify(&facts, Auth::Required).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let fetching = tokio::spawn(rings.keep_fresh());
    for request in requests {
        assert!(request.await.unwrap().unwrap().identity().is_some());
    }
    assert_eq!((idp.asked("jwks.json"), idp.asked("openid-configuration")), (1, 1));
    fetching.abort();
}

#[tokio::test]
async fn b10_requests_that_wait_for_a_failing_fetch_are_answered() {
    let idp = Idp::open(Answer::Hang).await;
    let mut issuer = issuer(&idp.url);
    issuer.timeout = Duration::from_millis(200);
    let gate = Gate::open(&settings(vec![issuer]));
    let (one, two) = (Signer::ed25519("a").token(&claims()), Signer::ec("b", "ES256").token(&claims()));
    until(|| idp.asked("jwks.json") == 1).await;
    let (one, two) = tokio::join!(gate.sees(&one), gate.sees(&two));
    assert_eq!((one.err(), two.err()), (Some(Rejection::KeysUnavailable), Some(Rejection::KeysUnavailable)));
    assert_eq!(idp.asked("jwks.json"), 1);
}

/// A certificate that nobody vouches for, for the right name.
#[tokio::test]
async fn b11_an_issuer_that_cannot_prove_its_name_is_not_asked() {
    use pingora::tls::{
        pkey::PKey,
        ssl::{SslAcceptor, SslMethod},
        x509::X509,
    };

    let pem = include_bytes!("self-signed.pem");
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
    acceptor.set_certificate(&X509::from_pem(pem).unwrap()).unwrap();
    acceptor.set_private_key(&PKey::private_key_from_pem(pem).unwrap()).unwrap();
    let acceptor = acceptor.build();
    let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            assert!(acceptor.accept(stream.unwrap()).is_err(), "the gateway sends nothing before the certificate is good");
        }
    });
    let gate = Gate::open(&settings(vec![issuer(&url)]));
    until(|| status(&gate).refreshes_failed > 0).await;
    let last_error = status(&gate).last_error.unwrap();
    assert!(last_error.contains("certificate verify failed"), "{last_error}");
    assert!(!gate.rings.ready());
}

#[tokio::test]
async fn b12_a_hanging_issuer_does_not_hold_up_another() {
    let signer = Signer::ed25519("k");
    let (hanging, healthy) = (Idp::open(Answer::Hang).await, Idp::open(Answer::Json(key_set(&[&signer]))).await);
    let mut other = issuer(&hanging.url);
    (other.name, other.issuer) = ("other".into(), "other.example".into());
    let gate = Gate::open(&settings(vec![other, issuer(&healthy.url)]));
    assert_eq!(&*gate.sees(&signer.token(&claims())).await.unwrap().issuer, "acme");
    assert!(!gate.rings.ready());
}

#[tokio::test]
async fn keys_outlive_a_reload_and_leave_with_their_issuer() {
    let signer = Signer::ed25519("k");
    let idp = Idp::open(Answer::Json(key_set(&[&signer]))).await;
    let gate = Gate::open(&settings(vec![issuer(&idp.url)]));
    assert_eq!(gate.fault(&signer.token(&claims())).await, None);

    let mut changed = issuer(&idp.url);
    (changed.audiences, changed.max_stale) = (vec!["another".into()], Duration::from_secs(7));
    gate.rings.follow(&[changed.clone()]);
    let next = Identifier::new(&settings(vec![changed.clone()]), &gate.rings);
    let token = signer.token(&claims_with(json!({"aud": "another"})));
    assert!(next.identify(&bearer(&token, now()), Auth::Required).await.is_ok());
    assert_eq!(idp.asked("jwks.json"), 1, "the keys were there");
    let late = now().plus(Duration::from_secs(3608));
    let late = next.identify(&bearer(&token, late), Auth::Required).await;
    assert_eq!(late.err(), Some(Rejection::KeysUnavailable), "the new max_stale holds");

    let mut other = changed.clone();
    other.name = "other".into();
    gate.rings.follow(&[changed, other.clone()]);
    until(|| gate.rings.status().len() == 2 && gate.rings.ready()).await;
    gate.rings.follow(&[other]);
    assert_eq!(gate.rings.status().iter().map(|status| &*status.name).collect::<Vec<_>>(), ["other"]);
    assert!(gate.rings.ready());
}
