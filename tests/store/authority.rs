//! Certificates for an etcd and its clients, made anew for each test.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test binary compiles this file for itself and uses a part of it"
)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// An authority of its own name.
pub struct Authority {
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate: params.self_signed(&key)?.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// For `name`, which is also the user where it shows it as a client.
    pub fn identity(&self, name: &str) -> Result<Identity> {
        let mut params = CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate()?;
        Ok(Identity {
            certificate: params.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// A mounted Secret: files that are symlinks into `..data`, which is itself one and is replaced as a whole.
pub struct Secret {
    directory: tempfile::TempDir,
    version: u32,
}

impl Secret {
    pub fn new(files: &[(&str, &str)]) -> Result<Self> {
        let mut secret = Self {
            directory: tempfile::tempdir()?,
            version: 0,
        };
        secret.replace(files)?;
        for (name, _) in files {
            std::os::unix::fs::symlink(Path::new("..data").join(name), secret.path(name))?;
        }
        Ok(secret)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As the kubelet does it: a new directory, a new symlink to it, and a rename over the old one.
    pub fn replace(&mut self, files: &[(&str, &str)]) -> Result<()> {
        self.version += 1;
        let directory = format!("..{}", self.version);
        fs::create_dir(self.path(&directory))?;
        for (name, text) in files {
            fs::write(self.path(&directory).join(name), text)?;
        }
        std::os::unix::fs::symlink(&directory, self.path("..data_tmp"))?;
        fs::rename(self.path("..data_tmp"), self.path("..data"))?;
        Ok(())
    }
}
