//! A certificate for development: self-signed, made at start, kept nowhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};
use rustls_pki_types::PrivatePkcs8KeyDer;

use super::certs::Certificate;
use super::error::ConfigError;
use super::x509;

/// Days of validity. Some clients refuse more than 825, some self-signed certificates of more than
/// 398.
const DAYS: i64 = 365;

/// A P-256 certificate for localhost, 127.0.0.1 and ::1, valid for a year from the day before `now`
/// (seconds since 1970).
pub(super) fn make(now: i64) -> Result<Certificate, ConfigError> {
    let failed = |error: rcgen::Error| {
        ConfigError::general(format!("cannot make a self-signed certificate: {error}"))
    };
    let names =
        ["localhost".to_owned(), Ipv4Addr::LOCALHOST.to_string(), Ipv6Addr::LOCALHOST.to_string()];
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::new(names).map_err(failed)?;
    let today = now.div_euclid(86_400);
    let day = |days: i64| {
        let (year, month, day) = x509::date(days);
        date_time_ymd(year, month, day)
    };
    params.not_before = day(today - 1);
    params.not_after = day(today + DAYS);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "ringway development");
    let certificate = params.self_signed(&key).map_err(failed)?;
    let key_der = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    Certificate::new(vec![certificate.der().clone()], key_der, None)
        .map_err(|refused| ConfigError::general(refused.into_reason()))
}
