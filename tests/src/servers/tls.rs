//! Throwaway certificates, as the `openssl` command makes them.

use std::fs;
use std::process::Command;

use super::resources::Dir;

const SETTINGS: &str = "\
[req]
prompt = no
distinguished_name = name
[name]
CN = cacheops tests
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// Has `ca.crt` in the directory, and `server.crt` with `server.key`, which it
/// vouches for.
pub fn make_certificates(dir: &Dir) {
    fs::write(dir.file("openssl.cnf"), SETTINGS).expect("the directory is writable");
    certificate(dir, "ca", &[]);
    certificate(dir, "server", &["-CA", "ca.crt", "-CAkey", "ca.key"]);
}

fn certificate(dir: &Dir, name: &str, signed: &[&str]) {
    let output = Command::new("openssl")
        .current_dir(dir.path())
        .args("req -x509 -config openssl.cnf -days 30 -nodes".split(' '))
        .args("-newkey ec -pkeyopt ec_paramgen_curve:prime256v1".split(' '))
        .args(["-subj", &format!("/CN=cacheops tests {name}"), "-extensions", name])
        .args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")])
        .args(signed)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
