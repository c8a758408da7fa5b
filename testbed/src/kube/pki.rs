//! The certificates and keys of one control plane, made anew for each.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::scratch::Scratch;

/// The names under which Pods and people reach an API server.
const SERVER_NAMES: [&str; 4] = [
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
];

/// Who the API server is when it asks a kubelet for a log.
const KUBELET_CLIENT: &str = "kube-apiserver-kubelet-client";

/// A certificate and its key, as files.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Everything that the API server and its clients need to trust each other.
#[derive(Debug)]
pub(super) struct Pki {
    /// The authority over the server and over clients.
    pub(super) authority: PathBuf,
    pub(super) server: Identity,
    pub(super) admin: Identity,
    pub(super) controller_manager: Identity,
    /// What a kubelet shows to the API server, on loopback.
    pub(super) kubelet: Identity,
    /// What the API server shows to a kubelet.
    pub(super) kubelet_client: Identity,
    /// Signs and checks ServiceAccount tokens.
    pub(super) token_key: PathBuf,
    pub(super) token_public_key: PathBuf,
}

impl Pki {
    /// Makes and writes all of it, in milliseconds.
    pub(super) fn create(scratch: &Scratch) -> Result<Self> {
        let authority = Authority::create()?;
        let tokens = KeyPair::generate().context("cannot make a key")?;
        Ok(Self {
            authority: scratch.write("ca.crt", &authority.certificate)?,
            server: authority.server(scratch, "apiserver", "kube-apiserver", &SERVER_NAMES)?,
            admin: authority.client(scratch, "admin", "testbed-admin", Some("system:masters"))?,
            controller_manager: authority.client(
                scratch,
                "controller-manager",
                "system:kube-controller-manager",
                None,
            )?,
            kubelet: authority.server(scratch, "kubelet", "system:node:testbed", &[])?,
            kubelet_client: authority.client(scratch, "kubelet-client", KUBELET_CLIENT, None)?,
            token_key: scratch.write("tokens.key", &tokens.serialize_pem())?,
            token_public_key: scratch.write("tokens.pub", &tokens.public_key_pem())?,
        })
    }
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn create() -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params
            .self_signed(&key)
            .context("cannot make an authority")?
            .pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    fn server(
        &self,
        scratch: &Scratch,
        file: &str,
        name: &str,
        hosts: &[&str],
    ) -> Result<Identity> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params
            .subject_alt_names
            .push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(scratch, file, params)
    }

    fn client(
        &self,
        scratch: &Scratch,
        file: &str,
        user: &str,
        group: Option<&str>,
    ) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(scratch, file, params)
    }

    fn sign(
        &self,
        scratch: &Scratch,
        file: &str,
        mut params: CertificateParams,
    ) -> Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("cannot sign a certificate")?;
        Ok(Identity {
            certificate: scratch.write(&format!("{file}.crt"), &certificate.pem())?,
            key: scratch.write(&format!("{file}.key"), &key.serialize_pem())?,
        })
    }
}
