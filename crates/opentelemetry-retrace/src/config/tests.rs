use super::*;

fn resolve(settings: Settings, env: &[(&str, &str)]) -> (Result<Option<Config>, BuildError>, Vec<String>) {
    let read = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
    settings.resolve(&read)
}

fn config(settings: Settings, env: &[(&str, &str)]) -> Config {
    resolve(settings, env).0.unwrap().unwrap()
}

fn keyed() -> Settings {
    Settings { api_key: Some("rt_code".into()), ..Settings::default() }
}

#[test]
fn code_comes_before_our_variable_before_opentelemetrys_before_the_default() {
    let url = |settings: Settings, env: &[(&str, &str)]| config(settings, env).base_url.as_str().to_owned();
    let ours = ("RETRACE_BASE_URL", "http://127.0.0.1:2");
    let theirs = ("OTEL_EXPORTER_RETRACE_ENDPOINT", "http://127.0.0.1:3");
    let code = Settings { base_url: Some("http://127.0.0.1:1".into()), ..keyed() };
    assert_eq!(url(code, &[ours, theirs]), "http://127.0.0.1:1");
    assert_eq!(url(keyed(), &[ours, theirs]), "http://127.0.0.1:2");
    assert_eq!(url(keyed(), &[theirs]), "http://127.0.0.1:3");
    assert_eq!(url(keyed(), &[("RETRACE_BASE_URL", "")]), "https://api.retraceai.tech");
}

#[test]
fn every_variable_has_its_effect() {
    /// Variables with a test of their own: here, in `sampling.rs`, or in `propagator/names.rs`.
    const TESTED_ELSEWHERE: [&str; 11] = [
        "RETRACE_BASE_URL",
        "RETRACE_ALLOW_CLEARTEXT_HOST",
        "OTEL_EXPORTER_RETRACE_ENDPOINT",
        "RETRACE_ENABLED",
        "OTEL_SDK_DISABLED",
        "RETRACE_SAMPLE_RATE",
        "RETRACE_SAMPLE_SEED",
        "OTEL_TRACES_SAMPLER",
        "OTEL_TRACES_SAMPLER_ARG",
        "OTEL_PROPAGATORS",
        "OTEL_EXPORTER_RETRACE_COMPRESSION",
    ];
    const VALUES: &[(&str, &str)] = &[
        ("RETRACE_API_KEY", "rt_env"),
        ("RETRACE_PROJECT_ID", "p"),
        ("RETRACE_ENVIRONMENT", "staging"),
        ("RETRACE_CAPTURE_CONTENT", "false"),
        ("RETRACE_SPAN_SELECTION", "ALL"),
        ("RETRACE_TRANSPORT", "WS"),
        ("RETRACE_FLUSH_TIMEOUT", "2.5"),
        ("OTEL_EXPORTER_RETRACE_TIMEOUT", "0"),
        ("OTEL_EXPORTER_RETRACE_HEADERS", "x-team=a%20b"),
        ("OTEL_EXPORTER_RETRACE_CERTIFICATE", "/ca.pem"),
        ("RETRACE_SPOOL_DIR", "/spool"),
        ("RETRACE_ALLOW_REMOTE_REPLAY", "on"),
        ("RETRACE_ALLOW_REMOTE_CASSETTE", "on"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "64"),
    ];
    for Variable { name, .. } in VARIABLES {
        let is_tested = TESTED_ELSEWHERE.contains(name) || VALUES.iter().any(|(key, _)| key == name);
        assert!(is_tested, "no test sets {name}: add it to VALUES, and its effect to the assertions below");
    }
    let config = config(Settings::default(), VALUES);
    assert_eq!(config.api_key.expose(), "rt_env");
    assert_eq!((config.project_id.as_deref(), config.environment.as_deref()), (Some("p"), Some("staging")));
    assert_eq!((config.capture_content, config.selection), (false, SpanSelection::All));
    assert_eq!(config.transport, Transport::Ws);
    assert_eq!((config.flush_timeout, config.timeout), (Duration::from_millis(2_500), None));
    assert_eq!(config.headers["x-team"], "a b");
    assert!(config.headers["x-team"].is_sensitive());
    assert_eq!(config.certificate, Some((PathBuf::from("/ca.pem"), "OTEL_EXPORTER_RETRACE_CERTIFICATE")));
    assert_eq!(config.spool.unwrap().dir, PathBuf::from("/spool"));
    assert_eq!((config.remote_replay, config.remote_cassette), (true, true));
    assert_eq!(config.batch_size, 64);
}

#[test]
fn compression_of_the_environment_is_ignored_without_its_feature() {
    let by_environment = |name: &str| resolve(keyed(), &[("OTEL_EXPORTER_RETRACE_COMPRESSION", name)]);
    let (gzip, warnings) = by_environment("GZIP");
    assert_eq!(gzip.unwrap().unwrap().compression, Compression::Gzip);
    assert_eq!(warnings.is_empty(), cfg!(feature = "gzip"), "{warnings:?}");
    for (name, count) in [("none", 0), ("zstd", 1)] {
        let (config, warnings) = by_environment(name);
        assert_eq!((config.unwrap().unwrap().compression, warnings.len()), (Compression::None, count), "{warnings:?}");
    }
}

#[test]
fn a_transport_is_named_as_in_the_other_sdks() {
    for (name, transport) in [("auto", Transport::Auto), ("ws", Transport::Ws), ("http", Transport::Http)] {
        assert_eq!(Transport::try_from(name), Ok(transport));
        let code = Settings { transport: Some(Ok(transport)), ..keyed() };
        assert_eq!(config(code, &[("RETRACE_TRANSPORT", "http")]).transport, transport, "code comes first");
    }
    let unknown = Transport::try_from("wss").unwrap_err().to_string();
    assert!(unknown.contains("wss") && unknown.contains("`auto`, `ws`, `http`"), "{unknown}");
}

#[test]
fn switched_off_needs_nothing() {
    for env in [("RETRACE_ENABLED", "false"), ("RETRACE_ENABLED", "off"), ("OTEL_SDK_DISABLED", "TRUE")] {
        assert!(resolve(Settings::default(), &[env]).0.unwrap().is_none(), "{env:?}");
        let on = Settings { enabled: Some(true), ..keyed() };
        assert!(resolve(on, &[env]).0.unwrap().is_some(), "code comes first");
    }
    let off = Settings { enabled: Some(false), ..Settings::default() };
    assert!(resolve(off, &[("RETRACE_BASE_URL", "nonsense")]).0.unwrap().is_none());
}

#[test]
fn a_switch_that_cannot_be_read_protects() {
    let (config, warnings) = resolve(keyed(), &[("RETRACE_ENABLED", "offf")]);
    assert!(config.unwrap().is_none());
    assert_eq!(warnings, ["RETRACE_ENABLED=\"offf\" is neither on nor off, which switches it off: use true or false"]);
    let (config, warnings) = resolve(keyed(), &[("RETRACE_CAPTURE_CONTENT", "ture")]);
    assert!(!config.unwrap().unwrap().capture_content);
    assert!(warnings[0].contains("RETRACE_CAPTURE_CONTENT=\"ture\""), "{warnings:?}");
    let code = || Settings { enabled: Some(true), capture_content: Some(true), ..keyed() };
    let (config, warnings) = resolve(code(), &[("RETRACE_ENABLED", "offf"), ("RETRACE_CAPTURE_CONTENT", "ture")]);
    assert!(config.unwrap().unwrap().capture_content);
    assert!(warnings.is_empty(), "what code decides needs no variable: {warnings:?}");
    for unset in ["", " "] {
        let (config, warnings) = resolve(keyed(), &[("RETRACE_ENABLED", unset), ("RETRACE_CAPTURE_CONTENT", unset)]);
        assert!(config.unwrap().unwrap().capture_content && warnings.is_empty(), "{unset:?}: {warnings:?}");
    }
}

/// Ignoring one of these would send content, or the key, to another place than intended.
#[cfg(unix)]
#[test]
fn a_value_that_is_no_text_does_not_become_a_default_that_is_less_safe() {
    use std::os::unix::ffi::OsStringExt as _;
    let resolve = |settings: Settings, broken: &str| {
        settings.resolve(&|name| (name == broken).then(|| OsString::from_vec(b"https://\xff".to_vec()))).0
    };
    for (settings, broken) in [
        (keyed(), "RETRACE_BASE_URL"),
        (keyed(), "OTEL_EXPORTER_RETRACE_ENDPOINT"),
        (Settings::default(), "RETRACE_API_KEY"),
    ] {
        let error = resolve(settings, broken).unwrap_err().to_string();
        assert!(error.contains(broken) && error.contains("UTF-8"), "{error}");
    }
    assert!(resolve(keyed(), "RETRACE_ENABLED").unwrap().is_none());
    assert!(!resolve(keyed(), "RETRACE_CAPTURE_CONTENT").unwrap().unwrap().capture_content);
    let (path, _) = resolve(keyed(), "OTEL_EXPORTER_RETRACE_CERTIFICATE").unwrap().unwrap().certificate.unwrap();
    assert_eq!(path.into_os_string().into_vec(), b"https://\xff");
}

#[test]
fn a_warning_about_headers_repeats_no_value() {
    let (config, warnings) = resolve(keyed(), &[("OTEL_EXPORTER_RETRACE_HEADERS", "x-retrace-key=hunter2,x")]);
    assert!(config.is_ok());
    assert!(warnings[0].contains("OTEL_EXPORTER_RETRACE_HEADERS=… is ignored"), "{warnings:?}");
    assert!(!format!("{warnings:?}").contains("hunter2"), "{warnings:?}");
}

#[test]
fn invalid_values_in_the_environment_are_ignored_with_a_warning() {
    let (config, warnings) = resolve(
        keyed(),
        &[
            ("RETRACE_FLUSH_TIMEOUT", "-3"),
            ("RETRACE_TRANSPORT", "pigeon"),
            ("RETRACE_SPAN_SELECTION", "some"),
            ("OTEL_EXPORTER_RETRACE_TIMEOUT", "soon"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
        ],
    );
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    assert!(warnings[0].contains("RETRACE_TRANSPORT=\"pigeon\" is ignored: use `auto`, `ws`, `http`"), "{warnings:?}");
    let config = config.unwrap().unwrap();
    assert_eq!((config.flush_timeout, config.batch_size), (limits::FLUSH_TIMEOUT, defaults::BATCH_SIZE));
}

#[test]
fn invalid_values_in_code_are_errors_with_a_remedy() {
    let error = |settings: Settings, env: &[(&str, &str)]| resolve(settings, env).0.unwrap_err().to_string();
    let missing = error(Settings::default(), &[]);
    assert!(missing.contains("with_api_key") && missing.contains("RETRACE_API_KEY"), "{missing}");
    let blank = error(Settings { api_key: Some("rt_ab cd".into()), ..Settings::default() }, &[]);
    assert!(blank.contains("with_api_key") && blank.contains("blanks") && !blank.contains("rt_ab"), "{blank}");
    let blank = error(Settings::default(), &[("RETRACE_API_KEY", "rt_ab\n")]);
    assert!(blank.contains("RETRACE_API_KEY") && !blank.contains("rt_ab"), "{blank}");
    let clear = error(Settings { base_url: Some("http://example.org".into()), ..keyed() }, &[]);
    assert!(clear.contains("with_base_url") && clear.contains("example.org") && clear.contains("https"), "{clear}");
    let pigeon = Settings { transport: Some(Transport::try_from("pigeon")), ..keyed() };
    let pigeon = error(pigeon, &[]);
    assert!(pigeon.contains("with_transport") && pigeon.contains("pigeon") && pigeon.contains("http"), "{pigeon}");
    let small = error(Settings { buffer_bytes: Some(10), ..keyed() }, &[]);
    assert!(small.contains("with_buffer_bytes") && small.contains("65536"), "{small}");
    for (name, value) in [("x-retrace-key", "v"), ("Content-Length", "1"), ("bad name", "v"), ("x", "line\nbreak")] {
        let header = Settings { headers: vec![(name.to_owned(), value.to_owned())], ..keyed() };
        let header = error(header, &[]);
        assert!(header.contains(name) && !header.contains("break"), "{header}");
    }
    let typo = error(keyed(), &[("RETRACE_BASE_URL", "htps://localhost")]);
    assert!(typo.contains("RETRACE_BASE_URL"), "a typing error does not send content elsewhere: {typo}");
}

#[test]
fn the_key_may_stand_among_the_headers() {
    let config = config(Settings::default(), &[("OTEL_EXPORTER_RETRACE_HEADERS", "X-Retrace-Key=rt_h,x-a=1")]);
    assert_eq!(config.api_key.expose(), "rt_h");
    assert_eq!(config.headers.len(), 1);
    assert!(!format!("{config:?}").contains("rt_h"));
}

#[test]
fn the_rate_of_the_environment_holds_unless_code_sets_one() {
    let debug = |settings: Settings, env: &[(&str, &str)]| format!("{:?}", config(settings, env).rule);
    let env = [("RETRACE_SAMPLE_RATE", "25%"), ("RETRACE_SAMPLE_SEED", "s")];
    let rule = debug(keyed(), &env);
    assert!(rule.contains("rate: 0.25") && rule.contains("\"s\"") && rule.contains("yields_to: Some"), "{rule}");
    let rule = debug(Settings { sample_rate: Some(0.5), ..keyed() }, &env);
    assert!(rule.contains("rate: 0.5") && !rule.contains("\"s\"") && rule.contains("yields_to: None"), "{rule}");
    assert_eq!(debug(keyed(), &[("RETRACE_SAMPLE_SEED", "s")]), "None");
    let (built, warnings) = resolve(keyed(), &[("RETRACE_SAMPLE_RATE", "half")]);
    assert!(built.unwrap().unwrap().rule.is_none());
    assert!(warnings[0].starts_with("RETRACE_SAMPLE_RATE=\"half\" is ignored"), "{warnings:?}");
}

#[test]
fn clear_text_to_another_host_is_allowed_by_name_and_warned_about() {
    let url = ("RETRACE_BASE_URL", "http://receiver:3001");
    let error = resolve(keyed(), &[url]).0.unwrap_err().to_string();
    assert!(error.contains("set RETRACE_ALLOW_CLEARTEXT_HOST=receiver:3001"), "{error}");
    let (built, warnings) = resolve(keyed(), &[url, ("RETRACE_ALLOW_CLEARTEXT_HOST", "other, receiver:3001")]);
    assert_eq!(built.unwrap().unwrap().base_url.as_str(), "http://receiver:3001");
    assert!(warnings[0].contains("http://receiver:3001 in clear text"), "{warnings:?}");
    let by_code = Settings { cleartext_hosts: vec!["receiver:3001".to_owned()], ..keyed() };
    assert!(resolve(by_code, &[url]).0.is_ok());
    assert!(resolve(keyed(), &[url, ("RETRACE_ALLOW_CLEARTEXT_HOST", "http://receiver:3001")]).0.is_err());
}
