use std::sync::Arc;

use crate::acme::{self, Ordered};
use crate::gateway::{Gateway, clock};
use crate::model::settings::Acme;

/// Keeps what ACME issues fresh; the watch on its files brings it into use.
pub(super) async fn keep_fresh(gateway: &Gateway) {
    let wanted = || -> Vec<Arc<Acme>> {
        let snapshot = gateway.snapshot();
        snapshot.config.listeners.iter().filter_map(|listener| listener.tls.as_ref()?.acme.clone()).collect()
    };
    let told = |acme: &Acme, ordered: &Ordered| {
        let name = acme.label();
        match ordered {
            Ordered::Yes => tracing::info!(name, "a certificate was issued"),
            Ordered::No(error) => tracing::error!(name, error, "no certificate was issued; the one before stays in use"),
        }
        gateway.lasting.metrics.ordered(name, matches!(ordered, Ordered::Yes));
    };
    acme::keep_fresh(&gateway.lasting.challenges, wanted, || clock::now().unix(), told).await;
}
