use std::fs;

use super::*;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nMA==\n-----END EC PRIVATE KEY-----\n";

#[test]
fn a_password_never_goes_over_plain_http_unless_somebody_said_so() {
    let mut options = ConnectOptions::new(["http://a:2379"]);
    options.user = Some("proxy".into());
    options.password = Some(Password::Text("geheim".into()));
    let refused = Err(BadOptions::InsecureCredentials { position: 1 });
    assert_eq!(options.check(), refused);
    // Without a scheme it would be plain as well.
    options.endpoints = vec!["a:2379".into()];
    assert_eq!(options.check(), refused);
    options.allow_insecure_credentials = true;
    assert_eq!(options.check(), Ok(()));
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    let with = |change: fn(&mut ConnectOptions)| {
        let mut options = ConnectOptions::new(["http://a:2379"]);
        change(&mut options);
        options.check().unwrap_err().slug()
    };
    assert_eq!(with(|o| o.endpoints.clear()), "no_endpoint");
    assert_eq!(with(|o| o.endpoints[0] = "ftp://a".into()), "bad_endpoint");
    assert_eq!(with(|o| o.endpoints[0] = "http://".into()), "bad_endpoint");
    assert_eq!(
        with(|o| o.endpoints[0] = "http://u:geheim@a:1".into()),
        "login_in_endpoint"
    );
    assert_eq!(with(|o| o.cert_file = Some("c".into())), "half_identity");
    assert_eq!(with(|o| o.user = Some("u".into())), "half_login");
    assert_eq!(with(|o| o.ca_file = Some("c".into())), "plain_endpoint");
    assert_eq!(
        with(|o| o.timings.keep_alive_interval = Duration::from_secs(5)),
        "keep_alive_too_often"
    );
    let https = with(|o| o.endpoints[0] = "https://a:1".into());
    assert_eq!(https, if HAS_TLS { "no_ca_file" } else { "no_tls" });
}

#[test]
fn neither_a_message_nor_a_debug_output_shows_a_secret() {
    let mut options = ConnectOptions::new(["http://u:geheim@a:1"]);
    options.password = Some(Password::Text("geheim".into()));
    options.user = Some("u".into());
    let shown = format!("{options:?} {}", options.check().unwrap_err());
    assert!(!shown.contains("geheim"), "{shown}");
}

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
#[test]
fn each_file_is_refused_with_its_name_and_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        Some(path)
    };
    let mut options = ConnectOptions::new(["https://a:1"]);
    options.ca_file = file("ca", CERTIFICATE);
    options.cert_file = file("cert", CERTIFICATE);
    options.key_file = file("key", KEY);
    options.user = Some("u".into());
    options.password = file("password", "geheim\r\n").map(Password::File);
    assert_eq!(options.check(), Ok(()));

    let problem = |name: &str, text: &str| {
        let good = fs::read_to_string(directory.path().join(name)).unwrap();
        file(name, text);
        let bad = options.check().unwrap_err();
        assert!(bad.to_string().contains(name), "{bad}");
        file(name, &good);
        bad.slug()
    };
    assert_eq!(problem("ca", ""), "file_without_pem");
    assert_eq!(
        problem("cert", &CERTIFICATE[..CERTIFICATE.len() / 2]),
        "file_without_pem"
    );
    assert_eq!(problem("key", CERTIFICATE), "file_without_pem");
    assert_eq!(problem("password", "\n"), "file_without_password");
    assert_eq!(problem("key", &KEY.repeat(20_000)), "file_too_large");
    fs::remove_file(directory.path().join("ca")).unwrap();
    assert_eq!(options.check().unwrap_err().slug(), "file_unreadable");
}
