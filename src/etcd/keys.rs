//! The keys that one document key implies.

/// The document's key and what stands beside it, under the same prefix.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Keys {
    document: String,
}

/// A document key that cannot be used.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadKey {
    /// The key is empty.
    #[error("the directives key is empty; osproxy's own default is `osproxy/directives`")]
    Empty,
    /// The key ends in a slash, so that the keys beside it would not be below it.
    #[error("the directives key ends in `/`; name the document itself, as in `osproxy/directives`")]
    TrailingSlash,
    /// The key is longer than 512 bytes.
    #[error("the directives key is longer than 512 bytes")]
    TooLong,
    /// The key holds a control character.
    #[error("the directives key holds a control character")]
    ControlCharacter,
}

impl Keys {
    /// The keys around the document at `document`.
    ///
    /// # Errors
    /// [`BadKey`], which says what is allowed.
    pub fn new(document: impl Into<String>) -> Result<Self, BadKey> {
        let document = document.into();
        if document.is_empty() {
            Err(BadKey::Empty)
        } else if document.ends_with('/') {
            Err(BadKey::TrailingSlash)
        } else if document.len() > 512 {
            Err(BadKey::TooLong)
        } else if document.chars().any(char::is_control) {
            Err(BadKey::ControlCharacter)
        } else {
            Ok(Self { document })
        }
    }

    /// The document itself; absent when there is nothing to say.
    #[must_use]
    pub fn document(&self) -> &str {
        &self.document
    }

    /// Which cluster and release publish here.
    #[must_use]
    pub fn owner(&self) -> String {
        format!("{}/owner", self.document)
    }

    /// The name of the election; the leader's own key stands below it, as etcd's election recipe makes it.
    #[must_use]
    pub fn election(&self) -> String {
        format!("{}/leader", self.document)
    }

    /// A person's word: while it is there nobody writes the document.
    #[must_use]
    pub fn paused(&self) -> String {
        format!("{}/paused", self.document)
    }

    /// Below this stand the records of the proxies.
    #[must_use]
    pub fn fleet(&self) -> String {
        format!("{}/fleet/", self.document)
    }

    /// What the proxy of this name says of itself.
    #[must_use]
    pub fn record(&self, instance: &str) -> String {
        format!("{}/fleet/{instance}", self.document)
    }

    /// Over how many milliseconds proxies spread their records.
    #[must_use]
    pub fn window(&self) -> String {
        format!("{}/window", self.document)
    }
}
