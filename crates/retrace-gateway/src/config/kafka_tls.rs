//! Properties of librdkafka that need OpenSSL, which only a build with `kafka-tls` has.

use super::Secret;

/// Returns what to do about a property that this build of librdkafka cannot take.
pub(super) fn problem(property: &str, value: &Secret) -> Option<&'static str> {
    if cfg!(feature = "kafka-tls") || !needs_openssl(property, value) {
        return None;
    }
    Some("needs OpenSSL, and this program is built without `kafka-tls`: build it with `--features kafka-tls`")
}

fn needs_openssl(property: &str, value: &Secret) -> bool {
    let value = value.expose().to_ascii_uppercase();
    match property {
        "security.protocol" => matches!(value.as_str(), "SSL" | "SASL_SSL"),
        // librdkafka takes the hashes of OpenSSL for these mechanisms, also over a connection without TLS.
        "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("SCRAM-") || value == "OAUTHBEARER",
        "enable.ssl.certificate.verification" | "enable.sasl.oauthbearer.unsecure.jwt" => true,
        _ => property.starts_with("ssl.") || property.starts_with("ssl_"),
    }
}

/// Describes how brokers are reached; empty for a protocol that librdkafka does not know.
pub(super) fn describe(protocol: Option<&Secret>) -> &'static str {
    match protocol.map(|protocol| protocol.expose().to_ascii_uppercase()).as_deref() {
        None | Some("PLAINTEXT") => " in clear text",
        Some("SASL_PLAINTEXT") => " in clear text, with SASL",
        Some("SSL") => " over TLS",
        Some("SASL_SSL") => " over TLS, with SASL",
        Some(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_openssl_is_known() {
        for (property, value, expected) in [
            ("security.protocol", "ssl", true),
            ("security.protocol", "SASL_SSL", true),
            ("security.protocol", "SASL_PLAINTEXT", false),
            ("sasl.mechanism", "SCRAM-SHA-512", true),
            ("sasl.mechanisms", "PLAIN", false),
            ("ssl.ca.location", "/etc/ca.pem", true),
            ("sasl.password", "ssl", false),
            ("client.rack", "ssl", false),
        ] {
            assert_eq!(needs_openssl(property, &Secret::new(value)), expected, "{property} = {value}");
        }
    }
}
