//! How a store is set up.

use std::path::PathBuf;
use std::sync::Arc;

use osproxy_core::Clock;
use tokio::runtime::Handle;

use super::driver::Driver;
use super::fleet::reporter;
use super::shared::Shared;
use super::{EtcdDirectiveStore, EtcdError};
use crate::etcd::{ConnectOptions, Connection, Keys, Material, Password, Timings};
use crate::fleet::is_instance;

/// Sets up an [`EtcdDirectiveStore`] that needs more than endpoints and a key.
///
/// ```no_run
/// # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
/// # use std::sync::Arc;
/// # use osproxy_core::SystemClock;
/// # use osproxy_directives::EtcdDirectiveStore;
/// let endpoints = ["https://etcd-0:2379", "https://etcd-1:2379", "https://etcd-2:2379"];
/// let store = EtcdDirectiveStore::builder(endpoints, "osproxy/directives", Arc::new(SystemClock))
///     .ca_file("/etc/osproxy/etcd/ca.crt")
///     .client_certificate("/etc/osproxy/etcd/tls.crt", "/etc/osproxy/etcd/tls.key")
///     .instance("proxy-7")
///     .start_empty()
///     .build()
///     .await?;
/// # drop(store);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is started before `build`"]
pub struct StoreBuilder {
    options: ConnectOptions,
    key: String,
    clock: Arc<dyn Clock>,
    instance: Option<Arc<str>>,
    starts_empty: bool,
}

impl StoreBuilder {
    pub(super) fn new(options: ConnectOptions, key: String, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            key,
            clock,
            instance: None,
            starts_empty: false,
        }
    }

    /// The file with the authorities (PEM) that etcd's certificate has to come from. Required for `https://`; takes one
    /// of the features `tls-ring` and `tls-aws-lc`. It and every other file is read again every few seconds. What is
    /// new is tried first, and where etcd does not take it the last good one stays in use and
    /// [`Status::unused_files`](super::Status::unused_files) says why.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.options.ca_file = Some(path.into());
        self
    }

    /// The files (PEM) with the client certificate and its private key.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.options.cert_file = Some(certificate.into());
        self.options.key_file = Some(key.into());
        self
    }

    /// The name that etcd's certificate has to be for, where it is not the endpoint's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.options.server_name = Some(name.into());
        self
    }

    /// The etcd user and its password.
    pub fn user(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.options.user = Some(user.into());
        self.options.password = Some(Password::Text(password.into()));
        self
    }

    /// The etcd user, and the file that holds its password.
    pub fn user_with_password_file(
        mut self,
        user: impl Into<String>,
        path: impl Into<PathBuf>,
    ) -> Self {
        self.options.user = Some(user.into());
        self.options.password = Some(Password::File(path.into()));
        self
    }

    /// Sends user and password over plain `http` too, where anybody on the way can read them. Refused unless this is said.
    pub fn allow_insecure_credentials(mut self) -> Self {
        self.options.allow_insecure_credentials = true;
        self
    }

    /// The time bounds of the connection.
    pub fn timings(mut self, timings: Timings) -> Self {
        self.options.timings = timings;
        self
    }

    /// How this proxy is called: 1 to 128 letters, digits and `-_.`, and another name for each process.
    ///
    /// With a name the store says of itself, at `<key>/fleet/<name>`, up to which revision it is current or which document it refused, so that
    /// whoever applied a directive learns whether this proxy has it. That takes the right to write below `<key>/fleet/` and to
    /// read `<key>/window`; without it the store works the same and says nothing. [`Status::reporting`](super::Status::reporting) says how that
    /// stands.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = Some(name.into().into());
        self
    }

    /// Starts at once with an empty set and keeps trying, instead of failing where etcd cannot be read.
    pub fn start_empty(mut self) -> Self {
        self.starts_empty = true;
        self
    }

    /// Reads the key and starts to watch it; see [`EtcdDirectiveStore::connect`]. With [`StoreBuilder::start_empty`] it
    /// returns without having asked etcd anything.
    ///
    /// # Errors
    /// [`EtcdError`] where something cannot be used, and, unless it starts empty, where the key cannot be
    /// read: within 3 s where etcd refuses, within 10 s where it is mute.
    pub async fn build(self) -> Result<EtcdDirectiveStore, EtcdError> {
        let runtime = Handle::try_current().map_err(|_| EtcdError::NoRuntime)?;
        let keys = Keys::new(self.key)?;
        if self
            .instance
            .as_deref()
            .is_some_and(|name| !is_instance(name))
        {
            return Err(EtcdError::Instance);
        }
        self.options.check_words()?;
        let material = Material::read_aside(self.options.clone()).await?;
        let connection = Connection::to_all(Arc::new(self.options), material);
        let shared = Arc::new(Shared::new(self.clock, self.instance.clone()));
        let mut driver = Driver::new(connection.clone(), &keys, Arc::clone(&shared));
        let mut retirement = None;
        let mut reports = None;
        if let Some(instance) = self.instance {
            let (report, speaker, retires) =
                reporter(&keys, &instance, connection, Arc::clone(&shared));
            driver.speak(speaker);
            (reports, retirement) = (Some(report), Some(retires));
        }
        if !self.starts_empty {
            driver.start().await.map_err(EtcdError::Connect)?;
        }
        if let Some(reports) = reports {
            runtime.spawn(reports.run());
        }
        let task = runtime.spawn(driver.run()).abort_handle();
        Ok(EtcdDirectiveStore::new(shared, Some(task), retirement))
    }
}

impl std::fmt::Debug for StoreBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreBuilder")
            .field("options", &self.options)
            .field("key", &self.key)
            .field("instance", &self.instance)
            .field("starts_empty", &self.starts_empty)
            .finish_non_exhaustive()
    }
}
