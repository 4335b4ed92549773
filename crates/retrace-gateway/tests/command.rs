//! The command `retrace-gateway`.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/process.rs"]
mod process;
mod support;

use std::fs;

use process::{Process, output};
use retrace_local::Server;
use support::{counts, post_blocking, request, runs, whole};

#[test]
fn a_configuration_is_explained_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    fs::write(&file, "[traces]\nwait_seconds = 3\n").unwrap();
    let path = file.to_str().unwrap();
    let (status, out, err) = output(&["--check", "--config", path], &[("RETRACE_API_KEY", "rt_secret")]);
    assert!(status.success(), "{err}");
    assert!(out.contains("A trace is sent 3s after its last span") && !out.contains("rt_secret"), "{out}");

    fs::write(&file, "[traces]\nwait_second = 3\n").unwrap();
    let (status, _, err) = output(&["--check", "--config", path], &[("RETRACE_API_KEY", "rt_secret")]);
    assert_eq!(status.code(), Some(2));
    assert!(err.contains("did you mean `traces.wait_seconds`?"), "{err}");
    let (status, _, err) = output(&["--config", "/nowhere/gateway.toml"], &[]);
    assert_eq!(status.code(), Some(2));
    assert!(err.contains("/nowhere/gateway.toml"), "{err}");
}

#[cfg(feature = "kafka")]
#[test]
fn properties_of_kafka_are_checked_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (file, password) = (dir.path().join("gateway.toml"), dir.path().join("password"));
    let kafka = |more: &str| {
        let listen = "otlp = { http = \"\", grpc = \"\" }\nadmin = { listen = \"\" }";
        fs::write(&file, format!("{listen}\n[kafka]\nbrokers = [\"127.0.0.1:1\"]\n{more}")).unwrap();
    };
    fs::write(&password, "rt_secret_password\n").unwrap();
    let path = file.to_str().unwrap();
    let variables = [("RETRACE_API_KEY", "rt_secret"), ("KAFKA_USER", "rt_secret_user")];

    kafka(&format!(
        "properties = {{ \"security.protocol\" = \"SASL_PLAINTEXT\", \"sasl.mechanism\" = \"PLAIN\" }}\n\
         properties_env = {{ \"sasl.username\" = \"KAFKA_USER\" }}\nproperties_file = {{ \"sasl.password\" = \"{}\" }}",
        password.display()
    ));
    let (status, out, err) = output(&["--check", "--config", path], &variables);
    assert!(status.success(), "{err}");
    assert!(out.contains("Kafka: 127.0.0.1:1 in clear text, with SASL as group"), "{out}");
    assert!(out.contains("sasl.mechanism, sasl.password, sasl.username, security.protocol"), "{out}");
    assert!(!out.contains("rt_secret"), "{out}");

    // A slip in the name of a property is an error of the start, without its value.
    kafka(&format!("properties_file = {{ \"sasl.pasword\" = \"{}\" }}", password.display()));
    let (status, out, err) = output(&["--config", path], &variables);
    assert_eq!(status.code(), Some(2), "{err}");
    assert!(err.contains("sasl.pasword") && !(out + &err).contains("rt_secret"), "{err}");

    kafka("properties = { \"security.protocol\" = \"SASL_SSL\" }");
    for arguments in [&["--check", "--config", path][..], &["--config", path]] {
        if cfg!(feature = "kafka-tls") {
            break;
        }
        let (status, _, err) = output(arguments, &variables);
        assert_eq!(status.code(), Some(2));
        let expected = "kafka.properties: security.protocol: needs OpenSSL, and this program is built without `kafka-tls`: build it";
        assert!(err.contains(expected), "{err}");
    }
}

#[test]
fn sigterm_delivers_what_is_in_memory() {
    let sink = Server::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    let text = format!(
        "otlp = {{ http = \"127.0.0.1:0\", grpc = \"\" }}\nadmin = {{ listen = \"\" }}\ntraces = {{ wait_seconds = 3600 }}\nretrace = {{ base_url = \"{}\" }}",
        sink.url()
    );
    fs::write(&file, text).unwrap();
    let mut gateway = Process::start(&file);
    for trace in 0..10 {
        let body = request("front", &whole(trace, 3)).to_string();
        assert_eq!(post_blocking(&format!("http://{}/v1/traces", gateway.http), &[], &body).status, 200);
    }
    assert_eq!(runs(&sink), 0);
    assert!(gateway.terminate().success());
    let totals = gateway.line("spans of a tenant");
    assert_eq!((&totals["accepted"], &totals["delivered"], &totals["lost"]), (&40.into(), &40.into(), &0.into()));
    assert_eq!(counts(&sink, 10), (10, 40));
}

#[test]
fn the_documented_configurations_are_accepted() {
    let documents = ["../../docs/FLEETS.md", "README.md"]
        .map(|path| fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default());
    let dir = tempfile::tempdir().unwrap();
    for tenant in ["search", "support"] {
        fs::write(dir.path().join(tenant), "rt_secret\n").unwrap();
    }
    let variables = [
        ("RETRACE_API_KEY", "rt_secret"),
        ("SEARCH_KEY", "rt_secret"),
        ("INTAKE_TOKEN", "t"),
        ("KAFKA_PASSWORD", "rt_secret"),
    ];
    let mut checked = 0;
    for block in documents.iter().flat_map(|text| text.split("```toml\n").skip(1)) {
        if !cfg!(feature = "kafka-tls") && block.contains("SASL_SSL") {
            continue;
        }
        let text = block.split("```").next().unwrap().replace("/run/secrets", dir.path().to_str().unwrap());
        let file = dir.path().join("gateway.toml");
        fs::write(&file, &text).unwrap();
        let (status, _, err) = output(&["--check", "--config", file.to_str().unwrap()], &variables);
        assert!(status.success(), "{err}\n{text}");
        checked += 1;
    }
    // A package has no docs.
    assert!(checked >= 1);
}
