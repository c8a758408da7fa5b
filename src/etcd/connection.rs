//! A connection that is made when it is first needed, and can be made anew: over the next member, or with what the files hold now.

use std::sync::Arc;

use etcd_client::{Client, GetOptions};
use tokio::sync::OnceCell;

use super::connect::connect_to;
use super::material::Material;
use super::{ConnectOptions, Fault, within};

/// A client that is made when it is first needed; clones share it.
#[derive(Clone)]
pub(crate) struct Connection {
    options: Arc<ConnectOptions>,
    /// What the files held when they were last found to work.
    material: Arc<Material>,
    /// Which of the endpoints it speaks to; where none is named, to all of them by turns.
    member: Option<usize>,
    /// Shared, because it is large.
    client: Arc<OnceCell<Arc<Client>>>,
}

impl Connection {
    /// To all members by turns, as etcd-client does it: each call goes to any of them.
    #[cfg(feature = "store")]
    pub(crate) fn to_all(options: Arc<ConnectOptions>, material: Material) -> Self {
        Self::new(options, material, None)
    }

    /// To one member, the first that is named. A member that hangs then costs the one call that finds it out, and
    /// not one of three for as long as it hangs.
    #[cfg(feature = "operator")]
    pub(crate) fn to_one(options: Arc<ConnectOptions>, material: Material) -> Self {
        Self::new(options, material, Some(0))
    }

    fn new(options: Arc<ConnectOptions>, material: Material, member: Option<usize>) -> Self {
        Self {
            options,
            material: Arc::new(material),
            member,
            client: Arc::default(),
        }
    }

    /// The same from scratch, and to the next member where it speaks to one: the next call connects, and logs in.
    pub(crate) fn next(&self) -> Self {
        let members = self.options.endpoints.len().max(1);
        Self {
            member: self.member.map(|member| (member + 1) % members),
            client: Arc::default(),
            ..self.clone()
        }
    }

    /// The same from scratch, with what the files hold now.
    pub(super) fn with(&self, material: Material) -> Self {
        Self {
            material: Arc::new(material),
            client: Arc::default(),
            ..self.clone()
        }
    }

    pub(crate) fn options(&self) -> &Arc<ConnectOptions> {
        &self.options
    }

    pub(super) fn material(&self) -> &Material {
        &self.material
    }

    /// Whether both are the same attempt at a connection.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.client, &other.client)
    }

    /// The client. The first call makes it; one that failed is made again by the next.
    ///
    /// # Errors
    /// The login's [`Fault`], or [`Fault::Options`].
    pub(crate) async fn client(&self) -> Result<Arc<Client>, Fault> {
        self.client
            .get_or_try_init(|| async {
                let connecting = connect_to(&self.options, &self.material, self.member);
                // Boxed: it is made once, and would make the future of every call as large as itself.
                Ok(Arc::new(Box::pin(connecting).await?))
            })
            .await
            .cloned()
    }

    /// Whether a key can be read over it: the proof that etcd takes what the files hold.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn probe(&self, key: &str) -> Result<(), Fault> {
        let mut kv = self.client().await?.kv_client();
        let options = GetOptions::new().with_keys_only();
        let read = kv.get(key, Some(options));
        within(self.options.timings.unary_timeout, read)
            .await
            .map(drop)
    }
}
