//! The connection of a writer: to one member at a time, and exchanged under the calls that go on over it.
//!
//! A client of all members sends each call to any of them, and goes on doing so while one of them hangs: every third refresh of a
//! lease would be lost, and every third write would end in doubt. So a writer keeps to one member for as long as that one
//! answers, and takes the next at the first call that it does not.

use std::sync::Arc;

use etcd_client::Client;
use tokio::sync::watch as channel;
use tracing::{debug, info, warn};

use super::connection::Connection;
use super::material::Material;
use super::rotation::{Look, look};
use super::{ConnectOptions, Fault};

/// The connection in use; clones share it.
#[derive(Clone)]
pub(crate) struct Link {
    current: Arc<channel::Sender<Connection>>,
}

impl Link {
    /// A link with what the files hold now. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Fault::Options`] where the options or the files cannot be used; the log says why.
    pub(crate) async fn open(options: ConnectOptions) -> Result<Self, Fault> {
        let read = match options.check_words() {
            Ok(()) => Material::read_aside(options.clone()).await,
            Err(bad) => Err(bad),
        };
        let material = read.map_err(|bad| {
            warn!(reason = bad.slug(), "cannot connect to etcd: {bad}");
            Fault::Options
        })?;
        let connection = Connection::to_one(Arc::new(options), material);
        Ok(Self {
            current: Arc::new(channel::Sender::new(connection)),
        })
    }

    /// How it connects.
    pub(crate) fn options(&self) -> Arc<ConnectOptions> {
        Arc::clone(self.current.borrow().options())
    }

    /// The connection in use at this moment.
    pub(crate) fn current(&self) -> Connection {
        self.current.borrow().clone()
    }

    /// Runs one call over the connection in use, and exchanges that where the call failed in a way that another connection may not.
    ///
    /// The call is not repeated: whether that is safe only the caller knows.
    ///
    /// # Errors
    /// The call's [`Fault`], or the login's.
    pub(crate) async fn call<T, F>(&self, call: impl FnOnce(Arc<Client>) -> F) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let connection = self.current();
        let answer = match connection.client().await {
            Ok(client) => call(client).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = &answer {
            self.blame(&connection, *fault);
        }
        answer
    }

    /// Takes another connection because of what happened on this one, unless that has been done already.
    pub(crate) fn blame(&self, connection: &Connection, fault: Fault) {
        if !may_pass_elsewhere(fault) {
            return;
        }
        let exchanged = self.current.send_if_modified(|current| {
            let is_in_use = current.is(connection);
            if is_in_use {
                *current = current.next();
            }
            is_in_use
        });
        if exchanged {
            debug!(reason = fault.slug(), "Takes another connection to etcd");
        }
    }

    /// Waits until another connection than this one is in use.
    pub(crate) async fn exchanged(&self, connection: &Connection) {
        let mut current = self.current.subscribe();
        // The sender lives as long as `self`.
        let _ = current.wait_for(|current| !current.is(connection)).await;
    }

    /// Follows the files for ever, if there are any: what is new is used once `key` could be read with it. `refused` hears of each look whether
    /// the files hold something that cannot be used.
    pub(crate) async fn follow_files(self, key: String, refused: impl Fn(bool) + Send + Sync) {
        let mut told = None;
        while self.options().has_files() {
            let current = self.current();
            let reason = match look(&current, &key).await {
                Look::Same => None,
                Look::Refused(reason) => Some(reason),
                Look::Works(renewed) => {
                    info!("The certificates or the password for etcd have changed; connects anew");
                    self.current.send_replace(renewed);
                    None
                }
            };
            if let Some(reason) = reason
                && told != Some(reason)
            {
                warn!(
                    reason,
                    "The new certificates or password for etcd cannot be used; the last good ones stay in use"
                );
            }
            told = reason;
            refused(reason.is_some());
        }
    }
}

/// Whether another member, or another login, may do better.
fn may_pass_elsewhere(fault: Fault) -> bool {
    match fault {
        Fault::Authentication
        | Fault::NotSent
        | Fault::Timeout
        | Fault::Tls
        | Fault::Unavailable => true,
        Fault::Compacted
        | Fault::Corrupt
        | Fault::LeaseNotFound
        | Fault::LeaseExists
        | Fault::NoSpace
        | Fault::Options
        | Fault::PermissionDenied
        | Fault::TooLarge
        | Fault::Other => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn link() -> Link {
        let options = ConnectOptions::new(["http://a:1", "http://b:1"]);
        Link::open(options).await.unwrap()
    }

    #[tokio::test]
    async fn what_another_member_may_answer_takes_the_next_one_and_once_only() {
        let link = link().await;
        let first = link.current();
        link.blame(&first, Fault::Timeout);
        let second = link.current();
        assert!(!second.is(&first));
        // Whoever was on the first one too learns of the same trouble a little later.
        link.blame(&first, Fault::Timeout);
        assert!(link.current().is(&second));
    }

    #[tokio::test]
    async fn a_no_is_no_reason_to_ask_somebody_else() {
        let link = link().await;
        let first = link.current();
        for fault in [
            Fault::NoSpace,
            Fault::LeaseNotFound,
            Fault::PermissionDenied,
        ] {
            link.blame(&first, fault);
            assert!(link.current().is(&first), "{fault:?}");
        }
    }
}
