//! What the files of a connection hold: certificates, a key, a password.
//!
//! They are compared by content and not by time: a mounted Secret is replaced by moving a symlink, and the new files may be
//! older than the old ones.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::options::{BadOptions, ConnectOptions, Password};

/// What a file is for.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileRole {
    /// The authorities that etcd's certificate has to come from.
    Authority,
    /// The client certificate.
    Certificate,
    /// The client certificate's private key.
    Key,
    /// The user's password.
    Password,
}

impl fmt::Display for FileRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authority => "CA file",
            Self::Certificate => "client certificate file",
            Self::Key => "client key file",
            Self::Password => "password file",
        })
    }
}

/// Why a file cannot be used.
#[non_exhaustive]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileProblem {
    /// It cannot be read.
    Unreadable(io::ErrorKind),
    /// It is larger than 1 MiB.
    TooLarge,
    /// It holds no complete PEM block of the kind that is wanted.
    NoPem,
    /// It holds no password, or no text.
    NoPassword,
}

impl FileProblem {
    /// The stable slug that status and logs share.
    #[must_use]
    pub fn slug(self) -> &'static str {
        match self {
            Self::Unreadable(_) => "file_unreadable",
            Self::TooLarge => "file_too_large",
            Self::NoPem => "file_without_pem",
            Self::NoPassword => "file_without_password",
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(kind) => write!(f, "cannot be read: {kind}"),
            Self::TooLarge => f.write_str("is larger than 1 MiB"),
            Self::NoPem => f.write_str("holds no complete PEM block of its kind"),
            Self::NoPassword => f.write_str("holds no password in plain text"),
        }
    }
}

/// The content of all files at one moment, and the password wherever it is from.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Material {
    pub(super) authorities: Option<Vec<u8>>,
    /// Certificate and key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) password: Option<String>,
}

/// Never shows what is secret.
impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("authorities", &self.authorities.is_some())
            .field("identity", &self.identity.is_some())
            .field("password", &self.password.is_some())
            .finish()
    }
}

impl Material {
    /// Reads what the options name. Blocks for as long as the file system does.
    ///
    /// # Errors
    /// [`BadOptions::File`].
    pub(crate) fn read(options: &ConnectOptions) -> Result<Self, BadOptions> {
        let pem = |role, path: &Path, kind| {
            let bytes = bytes_of(role, path)?;
            if has_pem(&bytes, kind) {
                Ok(bytes)
            } else {
                Err(bad(role, path, FileProblem::NoPem))
            }
        };
        let authorities = options
            .ca_file
            .as_ref()
            .map(|path| pem(FileRole::Authority, path, "CERTIFICATE"))
            .transpose()?;
        let identity = match (&options.cert_file, &options.key_file) {
            (Some(certificate), Some(key)) => Some((
                pem(FileRole::Certificate, certificate, "CERTIFICATE")?,
                pem(FileRole::Key, key, "PRIVATE KEY")?,
            )),
            _ => None,
        };
        let password = match &options.password {
            Some(Password::Text(text)) => Some(text.clone()),
            Some(Password::File(path)) => Some(password_in(path)?),
            None => None,
        };
        Ok(Self {
            authorities,
            identity,
            password,
        })
    }

    /// The same off the runtime's threads, which a slow file system must not hold up.
    ///
    /// # Errors
    /// As [`Material::read`].
    pub(crate) async fn read_aside(options: ConnectOptions) -> Result<Self, BadOptions> {
        match tokio::task::spawn_blocking(move || Self::read(&options)).await {
            Ok(read) => read,
            // The runtime is going down, and with it whoever asked.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Far above any chain of certificates.
const LARGEST_FILE: u64 = 1024 * 1024;

fn bytes_of(role: FileRole, path: &Path) -> Result<Vec<u8>, BadOptions> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes));
    match read {
        Err(error) => Err(bad(role, path, FileProblem::Unreadable(error.kind()))),
        Ok(read) if read as u64 > LARGEST_FILE => Err(bad(role, path, FileProblem::TooLarge)),
        Ok(_) => Ok(bytes),
    }
}

/// Whether there is a complete block. A key's label may say its algorithm first, as in `EC PRIVATE KEY`. A file
/// that was written halfway has a beginning and no end.
fn has_pem(bytes: &[u8], kind: &str) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let bound = |word: &str| {
        text.lines().any(|line| {
            line.strip_prefix(word)
                .is_some_and(|rest| rest.trim_end().ends_with(&format!("{kind}-----")))
        })
    };
    bound("-----BEGIN ") && bound("-----END ")
}

fn password_in(path: &Path) -> Result<String, BadOptions> {
    let bytes = bytes_of(FileRole::Password, path)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(bad(FileRole::Password, path, FileProblem::NoPassword));
    }
    Ok(text.to_owned())
}

fn bad(role: FileRole, path: &Path, problem: FileProblem) -> BadOptions {
    BadOptions::File {
        role,
        path: path.to_owned(),
        problem,
    }
}
