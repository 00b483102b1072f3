//! Certificates of an authority that only the tests know.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: Arc<PrivateKeyDer<'static>>,
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valid {
    /// From 2000 on, for a century.
    Now,
    /// Until 2001.
    Once,
}

const MADE: &str = "keys and certificates can be made anywhere";

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    ///
    /// If no key can be made.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect(MADE);
        // Each has a name of its own.
        let key = KeyPair::generate().expect(MADE);
        let name = format!("authority {:?}", &key.public_key_raw()[1..9]);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        Authority(CertifiedIssuer::self_signed(params, key).expect(MADE))
    }

    /// Its own certificate, as `--ca-file` takes it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for a server that is called `name`, a host name or an address.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub fn certify(&self, name: &str, valid: Valid) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).expect(MADE);
        let until = if valid == Valid::Now { 2100 } else { 2001 };
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect(MADE);
        let certificate = params.signed_by(&key, &self.0).expect(MADE);
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        Certificate { chain: vec![certificate.der().clone()], key: Arc::new(key.into()) }
    }
}

impl Certificate {
    /// What a server speaks TLS with.
    ///
    /// # Panics
    ///
    /// If certificate and key do not belong together.
    pub fn acceptor(&self) -> TlsAcceptor {
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(self.chain.clone(), self.key.clone_key()).expect(MADE);
        TlsAcceptor::from(Arc::new(config))
    }
}
