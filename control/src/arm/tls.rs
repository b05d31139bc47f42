//! The API's certificates: an authority of its own, which is kept, and a certificate of the server,
//! which is made anew at each start.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// The authority.
pub struct Authority {
    key: KeyPair,
    certificate: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// The key cannot be made.
    pub fn generate() -> Result<Authority, rcgen::Error> {
        let key = KeyPair::generate()?;
        let certificate = params()?.self_signed(&key)?.pem();
        Ok(Authority { key, certificate })
    }

    /// The one that was kept: its key in PKCS #8 and its certificate in PEM.
    ///
    /// # Errors
    /// The key is none.
    pub fn restore(key: &[u8], certificate: String) -> Result<Authority, rcgen::Error> {
        Ok(Authority { key: KeyPair::try_from(key)?, certificate })
    }

    /// Its key, in PKCS #8.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        self.key.serialize_der()
    }

    /// Its certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// What a server of these names needs.
    ///
    /// # Errors
    /// The certificate cannot be made.
    pub fn server(&self, names: Vec<String>) -> Result<Arc<ServerConfig>, String> {
        let text = |error: rcgen::Error| error.to_string();
        let mut leaf = CertificateParams::new(names).map_err(text)?;
        leaf.distinguished_name = named("adit");
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(text)?;
        let params = params().map_err(text)?;
        let issuer = Issuer::from_params(&params, &self.key);
        let certificate = leaf.signed_by(&key, &issuer).map_err(text)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(|error| error.to_string())?;
        Ok(Arc::new(config))
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

fn params() -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.distinguished_name = named("adit local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}
