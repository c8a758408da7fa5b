//! ConfigMaps and Secrets of one namespace, and the tokens of a Pod.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use ::kube::api::{Api, PostParams};
use ::kube::{Client, Error};
use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, Pod, Secret, ServiceAccount, ServiceAccountTokenProjection,
};

/// How long a token lasts that says nothing about it.
const TOKEN_SECONDS: i64 = 60 * 60;

/// What holds files or variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        })
    }
}

/// Reads one namespace's objects from the API server, each time anew.
#[derive(Clone)]
pub(crate) struct Objects {
    client: Client,
    namespace: String,
}

impl Objects {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    /// The keys and values of an object; nothing where it is not there and may be missing.
    ///
    /// # Errors
    /// When it is not there and may not be missing, or the API server does not answer.
    pub(crate) async fn data(
        &self,
        kind: Kind,
        name: &str,
        optional: bool,
    ) -> Result<BTreeMap<String, Vec<u8>>> {
        let data = match kind {
            Kind::Secret => self.secret(name).await,
            Kind::ConfigMap => self.config_map(name).await,
        };
        match data {
            Ok(data) => Ok(data),
            Err(Error::Api(status)) if status.code == 404 && optional => Ok(BTreeMap::new()),
            Err(Error::Api(status)) if status.code == 404 => {
                bail!("{} \"{name}\" not found", kind.to_string().to_lowercase())
            }
            Err(error) => Err(error).with_context(|| format!("cannot read the {kind} {name}")),
        }
    }

    async fn secret(&self, name: &str) -> ::kube::Result<BTreeMap<String, Vec<u8>>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let data = api.get(name).await?.data.unwrap_or_default();
        Ok(data
            .into_iter()
            .map(|(key, value)| (key, value.0))
            .collect())
    }

    async fn config_map(&self, name: &str) -> ::kube::Result<BTreeMap<String, Vec<u8>>> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let map = api.get(name).await?;
        let text = map.data.unwrap_or_default().into_iter();
        let bytes = map.binary_data.unwrap_or_default().into_iter();
        Ok(text
            .map(|(key, value)| (key, value.into_bytes()))
            .chain(bytes.map(|(key, value)| (key, value.0)))
            .collect())
    }

    async fn token(&self, pod: &Pod, wanted: &ServiceAccountTokenProjection) -> Result<String> {
        let account = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.as_deref())
            .unwrap_or("default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: wanted.audience.clone().into_iter().collect(),
                expiration_seconds: Some(wanted.expiration_seconds.unwrap_or(TOKEN_SECONDS)),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: pod.metadata.name.clone(),
                    uid: pod.metadata.uid.clone(),
                }),
            },
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let granted = api
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for the ServiceAccount {account}"))?;
        let status = granted.status.context("an answer without a token")?;
        Ok(status.token)
    }
}

/// The tokens that one Pod holds, each renewed when four fifths of its time are over, as a kubelet does.
#[derive(Default)]
pub(super) struct Tokens {
    held: BTreeMap<String, (String, Instant)>,
}

impl Tokens {
    /// The token for a place, asked for when there is none yet or it is time for another one.
    pub(super) async fn get(
        &mut self,
        place: &str,
        pod: &Pod,
        wanted: &ServiceAccountTokenProjection,
        objects: &Objects,
    ) -> Result<String> {
        if let Some((token, renew)) = self.held.get(place)
            && Instant::now() < *renew
        {
            return Ok(token.clone());
        }
        let token = objects.token(pod, wanted).await?;
        let seconds = wanted.expiration_seconds.unwrap_or(TOKEN_SECONDS);
        let lasts = Duration::from_secs(seconds.try_into().unwrap_or_default());
        let renew = Instant::now() + lasts * 4 / 5;
        self.held.insert(place.to_owned(), (token.clone(), renew));
        Ok(token)
    }

    /// Has every token asked for anew.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }
}
