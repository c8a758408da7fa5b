//! Why the API server's resources cannot be seen, under stable names.

/// Why the API server's resources cannot be seen.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// Nothing has been listed yet.
    NotListed,
    /// The API server does not serve the resource: the CRD is missing.
    ResourceUnknown,
    /// The ServiceAccount may not list or watch it.
    Forbidden,
    /// The credentials are not taken.
    Unauthorized,
    /// The server asked to be left alone for a while: 429, or 503 with a time.
    Throttled,
    /// What a list or a watch would go on from is gone: 410, in whichever form.
    Expired,
    /// An answer that is not what it should be: cut off, or no JSON.
    Malformed,
    /// An answer that is older than what was seen before.
    Stale,
    /// The CRD is not ours: it drops what it does not know, so nothing that passed through it can be trusted.
    DefinitionPrunes,
    /// No usable answer.
    Unavailable,
}

impl Fault {
    /// All of them, for whoever shows each.
    pub const ALL: [Self; 10] = [
        Self::NotListed,
        Self::ResourceUnknown,
        Self::Forbidden,
        Self::Unauthorized,
        Self::Throttled,
        Self::Expired,
        Self::Malformed,
        Self::Stale,
        Self::DefinitionPrunes,
        Self::Unavailable,
    ];

    /// The stable slug that metrics, logs and `/readyz` share.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::NotListed => "kube_not_listed",
            Self::ResourceUnknown => "kube_resource_unknown",
            Self::Forbidden => "kube_forbidden",
            Self::Unauthorized => "kube_unauthorized",
            Self::Throttled => "kube_throttled",
            Self::Expired => "kube_expired",
            Self::Malformed => "kube_malformed",
            Self::Stale => "kube_stale",
            Self::DefinitionPrunes => "kube_definition_prunes",
            Self::Unavailable => "kube_unavailable",
        }
    }

    /// What a refusal with this HTTP status, or an event that carries one, means.
    #[must_use]
    pub(super) fn of_code(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::ResourceUnknown,
            410 => Self::Expired,
            429 => Self::Throttled,
            _ => Self::Unavailable,
        }
    }

    pub(super) fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_code(status.code),
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => Self::Malformed,
            _ => Self::Unavailable,
        }
    }
}
