//! What goes wrong with etcd, told apart once for everybody.

use etcd_client::Error;

/// A failure of a call to etcd, by what can be done about it.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The credentials are not, or no longer, good: wrong, missing, expired, overtaken by a change of etcd's users, or shown to an etcd that has none.
    Authentication,
    /// A revision that has been compacted.
    Compacted,
    /// etcd has found its own data corrupt, and refuses everything until somebody has looked.
    Corrupt,
    /// The lease is gone.
    LeaseNotFound,
    /// A lease of this id exists already.
    LeaseExists,
    /// etcd's storage is full: it takes deletions and nothing else.
    NoSpace,
    /// The request never left: no connection to the member could be made.
    NotSent,
    /// The endpoints, the certificates or the login were refused before anything was sent.
    Options,
    /// The credentials are good and do not allow this.
    PermissionDenied,
    /// No TLS connection could be made: a certificate that one side does not take, or another name than is expected.
    Tls,
    /// The request, or the answer, is larger than a limit.
    TooLarge,
    /// No answer within the deadline. It may have been carried out, and may still be.
    Timeout,
    /// etcd, or the way to it, broke; also a member without a leader.
    Unavailable,
    /// Something else; never seen so far.
    Other,
}

impl Fault {
    /// Every one that there is.
    pub const ALL: [Self; 14] = [
        Self::Authentication,
        Self::Compacted,
        Self::Corrupt,
        Self::LeaseNotFound,
        Self::LeaseExists,
        Self::NoSpace,
        Self::NotSent,
        Self::Options,
        Self::PermissionDenied,
        Self::Tls,
        Self::TooLarge,
        Self::Timeout,
        Self::Unavailable,
        Self::Other,
    ];

    /// The stable slug that status, Events, metrics and logs share.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::Authentication => "etcd_authentication",
            Self::Compacted => "etcd_compacted",
            Self::Corrupt => "etcd_corrupt",
            Self::LeaseNotFound => "etcd_lease_not_found",
            Self::LeaseExists => "etcd_lease_exists",
            Self::NoSpace => "etcd_no_space",
            Self::NotSent => "etcd_unreachable",
            Self::Options => "etcd_options",
            Self::PermissionDenied => "etcd_permission_denied",
            Self::Tls => "etcd_tls",
            Self::TooLarge => "etcd_too_large",
            Self::Timeout => "etcd_timeout",
            Self::Unavailable => "etcd_unavailable",
            Self::Other => "etcd_other",
        }
    }

    /// Whether a write that failed so was certainly not carried out and never will be: etcd answered no, or was never asked.
    #[must_use]
    pub fn is_certain(self) -> bool {
        match self {
            Self::Authentication
            | Self::Compacted
            | Self::Corrupt
            | Self::LeaseNotFound
            | Self::LeaseExists
            | Self::NoSpace
            | Self::NotSent
            | Self::Options
            | Self::PermissionDenied
            | Self::TooLarge => true,
            Self::Timeout | Self::Tls | Self::Unavailable | Self::Other => false,
        }
    }

    /// Reads an error of etcd-client. gRPC codes alone do not tell: etcd uses one code for many things, so its own texts decide
    /// first (`api/v3rpc/rpctypes/error.go` in etcd's repository lists them).
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match error {
            Error::GRpcStatus(status) => Self::of_status(status.code() as i32, status.message()),
            Error::IoError(_) | Error::TransportError(_) => Self::Unavailable,
            Error::LeaseKeepAliveError(_) => Self::LeaseNotFound,
            _ => Self::Other,
        }
    }

    /// Reads the reason that etcd gives in-band when it cancels a watch.
    #[must_use]
    pub fn of_reason(reason: &str) -> Self {
        Self::of_status(0, reason)
    }

    fn of_status(code: i32, message: &str) -> Self {
        const TEXTS: &[(&str, Fault)] = &[
            ("invalid auth token", Fault::Authentication),
            ("revision of auth store is old", Fault::Authentication),
            ("user name is empty", Fault::Authentication),
            ("authentication failed", Fault::Authentication),
            ("authentication is not enabled", Fault::Authentication),
            ("corrupt cluster", Fault::Corrupt),
            ("permission denied", Fault::PermissionDenied),
            ("database space exceeded", Fault::NoSpace),
            ("lease already exists", Fault::LeaseExists),
            ("lease not found", Fault::LeaseNotFound),
            ("required revision has been compacted", Fault::Compacted),
            ("request is too large", Fault::TooLarge),
            ("message larger than max", Fault::TooLarge),
            ("message length too large", Fault::TooLarge),
            ("tcp connect error", Fault::NotSent),
            ("dns error", Fault::NotSent),
            ("invalid peer certificate", Fault::Tls),
            ("received fatal alert", Fault::Tls),
            ("tls handshake timeout", Fault::Timeout),
            ("timeout expired", Fault::Timeout),
            ("request timed out", Fault::Timeout),
        ];
        let message = message.to_ascii_lowercase();
        if let Some((_, fault)) = TEXTS.iter().find(|(text, _)| message.contains(text)) {
            return *fault;
        }
        // The gRPC status codes, by number so that no version of tonic is part of the contract.
        match code {
            1 | 4 => Self::Timeout,
            7 => Self::PermissionDenied,
            2 | 10 | 13 | 14 => Self::Unavailable,
            16 => Self::Authentication,
            _ => Self::Other,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Authentication => "etcd does not take the credentials",
            Self::Compacted => "etcd has compacted the revision",
            Self::Corrupt => "etcd has raised its alarm CORRUPT and refuses everything",
            Self::LeaseNotFound => "the lease is gone",
            Self::LeaseExists => "the lease exists already",
            Self::NoSpace => "etcd's storage is full (compact, defragment, then disarm the alarm)",
            Self::NotSent => "no connection to etcd could be made",
            Self::Options => "the endpoints, certificates or login for etcd cannot be used",
            Self::PermissionDenied => "etcd denies the permission",
            Self::Tls => "no TLS connection to etcd could be made",
            Self::TooLarge => "too large for etcd's limits",
            Self::Timeout => "etcd did not answer in time",
            Self::Unavailable => "etcd is unavailable",
            Self::Other => "etcd answered with an unknown error",
        })
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_that_etcd_uses_are_told_apart() {
        for (code, text, fault) in [
            (
                8,
                "etcdserver: mvcc: database space exceeded",
                Fault::NoSpace,
            ),
            (
                3,
                "etcdserver: revision of auth store is old",
                Fault::Authentication,
            ),
            (16, "etcdserver: invalid auth token", Fault::Authentication),
            (
                9,
                "etcdserver: authentication is not enabled",
                Fault::Authentication,
            ),
            (15, "etcdserver: corrupt cluster", Fault::Corrupt),
            (3, "etcdserver: user name is empty", Fault::Authentication),
            (7, "etcdserver: permission denied", Fault::PermissionDenied),
            (
                5,
                "etcdserver: requested lease not found",
                Fault::LeaseNotFound,
            ),
            (9, "etcdserver: lease already exists", Fault::LeaseExists),
            (
                11,
                "etcdserver: mvcc: required revision has been compacted",
                Fault::Compacted,
            ),
            (3, "etcdserver: request is too large", Fault::TooLarge),
            (
                8,
                "trying to send message larger than max (3000000 vs. 2097152)",
                Fault::TooLarge,
            ),
            (
                11,
                "Error, decoded message length too large: found 10 bytes",
                Fault::TooLarge,
            ),
            (14, "tcp connect error", Fault::NotSent),
            (1, "Timeout expired", Fault::Timeout),
            (14, "TLS handshake timeout.", Fault::Timeout),
            (14, "invalid peer certificate: UnknownIssuer", Fault::Tls),
            (14, "received fatal alert: CertificateRequired", Fault::Tls),
            (14, "etcdserver: request timed out", Fault::Timeout),
            (14, "etcdserver: no leader", Fault::Unavailable),
            (2, "h2 protocol error: broken pipe", Fault::Unavailable),
        ] {
            assert_eq!(Fault::of_status(code, text), fault, "{text}");
        }
    }

    #[test]
    fn no_fault_is_left_out_of_their_list() {
        let slugs: std::collections::BTreeSet<_> =
            Fault::ALL.into_iter().map(Fault::slug).collect();
        // Each has one line of this kind, which the compiler asks for.
        let lines = include_str!("fault.rs").matches("=> \"etcd_").count();
        assert_eq!(slugs.len(), lines);
    }

    #[test]
    fn a_lost_answer_is_never_taken_for_a_no() {
        for fault in [Fault::Timeout, Fault::Unavailable, Fault::Other] {
            assert!(!fault.is_certain(), "{fault:?}");
        }
    }
}
