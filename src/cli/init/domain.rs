//! FusionAuth's objects as its API gives them, the fields that matter here. Names are those of FusionAuth 1.69.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::model::settings::Secret;

/// FusionAuth's own administration, present in every installation.
pub(super) const ADMIN_APPLICATION: &str = "3c219e58-ed0e-4b18-ad48-f4f92793ae32";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Tenant {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) issuer: Option<String>,
    pub(super) jwt_configuration: JwtConfiguration,
    pub(super) event_configuration: EventConfiguration,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct JwtConfiguration {
    /// Of an application: whether this stands instead of the tenant's.
    pub(super) enabled: bool,
    pub(super) access_token_key_id: Option<String>,
    pub(super) id_token_key_id: Option<String>,
    pub(super) time_to_live_in_seconds: Option<u64>,
    /// Lifetimes and policies, which an application that stands alone must have, too.
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventConfiguration {
    pub(super) events: BTreeMap<String, EventSwitch>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct EventSwitch {
    pub(super) enabled: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Application {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) tenant_id: String,
    /// Missing means yes: FusionAuth 1.69 says it by `state`, too.
    pub(super) active: Option<bool>,
    pub(super) roles: Vec<Role>,
    pub(super) jwt_configuration: JwtConfiguration,
    pub(super) lambda_configuration: LambdaConfiguration,
    pub(super) oauth_configuration: OAuthConfiguration,
    pub(super) universal_configuration: UniversalConfiguration,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct UniversalConfiguration {
    pub(super) universal: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) is_super_role: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LambdaConfiguration {
    pub(super) access_token_populate_id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct OAuthConfiguration {
    #[serde(rename = "authorizedRedirectURLs")]
    pub(super) authorized_redirect_urls: Vec<String>,
    #[serde(rename = "authorizedURLValidationPolicy")]
    pub(super) authorized_url_validation_policy: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) client_secret: Option<Secret>,
    pub(super) enabled_grants: Vec<String>,
    pub(super) generate_refresh_tokens: bool,
    #[serde(rename = "logoutURL")]
    pub(super) logout_url: Option<String>,
    pub(super) require_registration: bool,
    pub(super) scope_handling_policy: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) algorithm: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Lambda {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) body: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Webhook {
    pub(super) id: String,
    pub(super) url: String,
    pub(super) global: bool,
    pub(super) tenant_ids: Vec<String>,
    pub(super) events_enabled: BTreeMap<String, bool>,
    pub(super) signature_configuration: SignatureConfiguration,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SignatureConfiguration {
    pub(super) enabled: bool,
}

fn secret<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(input)?.filter(|text| !text.is_empty()).map(|text| Secret::new(&text)))
}

impl Application {
    pub(super) fn is_of_fusionauth(&self) -> bool {
        self.id == ADMIN_APPLICATION || self.name == "Tenant manager"
    }

    /// What signs its tokens and how long they live: its own settings, or the tenant's.
    pub(super) fn jwt<'a>(&'a self, tenant: &'a Tenant) -> &'a JwtConfiguration {
        if self.jwt_configuration.enabled { &self.jwt_configuration } else { &tenant.jwt_configuration }
    }
}
