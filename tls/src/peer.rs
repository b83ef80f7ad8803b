//! Who a certificate is of.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Longest name that is told.
const MAX_NAME_BYTES: usize = 200;

/// The first name that a certificate is for: a URI, as SPIFFE writes them, or else a DNS name. None when it has neither.
///
/// Names are for logs: who may do what is the authority's word, which was checked before.
pub fn peer_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let name = certificate.valid_uri_names().next().or_else(|| certificate.valid_dns_names().next())?;
    Some(name[..name.floor_char_boundary(MAX_NAME_BYTES)].to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    #[test]
    fn a_spiffe_id_comes_before_a_host_name() {
        let name_of = |names: &[SanType]| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.subject_alt_names = names.to_vec();
            peer_name(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
        };
        let dns = SanType::DnsName("sidecar.test".try_into().unwrap());
        let uri = SanType::URI("spiffe://test/ns/models/sa/flights".try_into().unwrap());
        assert_eq!(name_of(&[dns.clone(), uri]).as_deref(), Some("spiffe://test/ns/models/sa/flights"));
        assert_eq!(name_of(&[dns]).as_deref(), Some("sidecar.test"));
        assert_eq!(name_of(&[]), None);
    }
}
