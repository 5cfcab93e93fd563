//! Callers of other machines: by which names, and over TLS.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::support::{Answer, Host, windlass};

/// The status and the body of a call to that host by that name.
fn called(host: &Host, path: &str, name: &str) -> String {
    let token = std::fs::read_to_string(host.data().join("token")).expect("a token");
    let mut stream = TcpStream::connect(host.address()).expect("connected");
    let head = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n");
    write!(stream, "{head}Authorization: Bearer {}\r\n\r\n", token.trim()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer
}

#[test]
fn host_for_others_answers_its_addresses_and_names_only() {
    let arguments = ["--allow-remote", "--host-name", "windlass.example.com", "--host-name", "behind.example:8443"];
    let host = Host::start_at("0.0.0.0:0", &arguments);
    let own_port = host.address().replace("127.0.0.1", "192.0.2.2");
    let allowed = [&*own_port, "198.51.100.7", "[2001:db8::1]:80", "windlass.example.com", "windlass.example.com:9000"];
    for name in allowed.into_iter().chain(["behind.example:8443", "localhost:9000", "127.0.0.1:9000"]) {
        let answer = called(&host, "/v1/tasks", name);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{name}: {answer}");
    }
    for name in ["evil.example", "behind.example", "windlass.example.com.evil.example", ""] {
        let answer = called(&host, "/v1/tasks", name);
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("WL0402"), "{name}: {answer}");
        assert!(answer.contains("windlass.example.com, behind.example:8443, every IP address"), "{answer}");
        assert!(called(&host, "/healthz", name).starts_with("HTTP/1.1 200 "), "{name}");
    }
    host.until_logged("other machines reach the API without TLS");
}

#[test]
fn host_of_this_machine_answers_a_forwarded_port_and_no_address_of_others() {
    let host = Host::start(&[]);
    assert!(called(&host, "/v1/tasks", "127.0.0.1:9000").starts_with("HTTP/1.1 200 "));
    assert!(called(&host, "/v1/tasks", "192.0.2.2:8080").starts_with("HTTP/1.1 403 "));
}

/// An authority of the test's own, and a certificate of it for `localhost`, in that folder.
fn certify(folder: &Path) {
    let mut params = CertificateParams::new([]).expect("right");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("made");
    let key = KeyPair::generate().expect("a key");
    let named = CertificateParams::new(["localhost".to_owned()]).expect("right");
    let certificate = named.signed_by(&key, &authority).expect("signed");
    let files = [("ca.pem", authority.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())];
    for (name, text) in files {
        // As tools that renew certificates do: whole or not at all.
        let draft = folder.join("draft");
        std::fs::write(&draft, text).expect("written");
        std::fs::rename(&draft, folder.join(name)).expect("renamed");
    }
}

#[test]
fn tls_is_spoken_with_a_certificate_that_may_be_renewed() {
    let files = tempfile::tempdir().expect("a folder");
    let path = |name: &str| files.path().join(name).display().to_string();
    certify(files.path());
    std::fs::copy(path("ca.pem"), path("first-ca.pem")).expect("copied");
    let host = Host::start(&["--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")]);
    assert_eq!(host.ask(&["runs"]).code, 0, "programs of this machine need no certificate");
    let ready = host.ready();
    let port = ready.split("https://127.0.0.1:").nth(1).and_then(|rest| rest.split(',').next()).expect("a port");
    let token = std::fs::read_to_string(host.data().join("token")).expect("a token");
    let ask = |authority: Option<&str>| {
        let mut command = windlass();
        command.args(["runs", "--url", &format!("https://localhost:{port}"), "--token", token.trim()]);
        if let Some(authority) = authority {
            command.args(["--ca-cert", &path(authority)]);
        }
        Answer::of(command)
    };
    assert_eq!(ask(Some("ca.pem")).code, 0, "{}", ask(Some("ca.pem")).errors);
    let unknown = ask(None);
    assert_eq!(unknown.code, 3, "{}", unknown.errors);
    assert!(unknown.errors.contains("[WL0601]") && unknown.errors.contains("--ca-cert"), "{}", unknown.errors);
    certify(files.path());
    host.until_logged("the API has a new certificate");
    assert_eq!(ask(Some("ca.pem")).code, 0);
    assert_eq!(ask(Some("first-ca.pem")).code, 3);
}

#[test]
fn unusable_certificate_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = windlass();
    command.args(["serve", "--tls-cert", "/no/such/cert", "--tls-key", "/no/such/key", "--data"]).arg(folder.path());
    let answer = Answer::of(command);
    assert_eq!(answer.code, 2);
    assert!(answer.errors.contains("[WL0620]") && answer.errors.contains("/no/such/cert"), "{}", answer.errors);
    let mut command = windlass();
    command.args(["serve", "--host-name", "https://a.example", "--data"]).arg(folder.path());
    assert_eq!(Answer::of(command).code, 2);
}
