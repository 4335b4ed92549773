use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_with(text, &[])
}

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut all = vec![("RETRACE_API_KEY", "rt_default"), ("A_KEY", "rt_a")];
    all.extend(variables);
    let names: Vec<String> = all.iter().map(|(name, _)| (*name).to_owned()).collect();
    let value = |name: &str| all.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Config::parse("gateway.toml", text, &names, &value)
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let config = parse("").unwrap();
    assert_eq!(config.otlp.http.unwrap().to_string(), "127.0.0.1:4318");
    assert_eq!(config.traces.wait, Duration::from_secs(10));
    assert_eq!(config.tenants.default.as_deref(), Some("default"));
    assert_eq!(config.tenant["default"].api_key, Secret::new("rt_default"));
    assert_eq!(config.retrace.transport, "ws");
    assert!(config.kafka.is_none() && config.otlp.tls.is_none() && config.retrace.capture_content.is_none());
}

#[test]
fn each_default_can_be_written_into_the_file() {
    for setting in SETTINGS.iter().filter(|setting| setting.table != TENANT && !setting.default.is_empty()) {
        let value = match setting.kind {
            Kind::Text => format!("{:?}", setting.default),
            Kind::List => format!("[{:?}]", setting.default),
            _ => setting.default.to_owned(),
        };
        parse(&format!("[{}]\n{} = {value}", setting.table, setting.key)).unwrap();
    }
}

#[test]
fn an_unknown_name_is_an_error_with_the_nearest_one() {
    for (text, message) in [
        ("[otpl]\nhttp = \"\"", "gateway.toml: `otpl` is not a setting: did you mean `otlp`?"),
        (
            "[traces]\nwait_second = 1",
            "gateway.toml: `traces.wait_second` is not a setting: did you mean `traces.wait_seconds`?",
        ),
        ("[[tenant]]\nname = \"a\"\napi_key = \"rt\"", "did you mean `tenant.api_key_env`?"),
        ("[log]\nsomething_else = 1", "`retrace-gateway --check` lists those that are"),
    ] {
        let error = error(text);
        assert!(error.contains(message), "{error}");
    }
    let unknown = parse_with("", &[("RETRACE_GATEWAY_OTLP_HTP", "x")]).unwrap_err().to_string();
    assert_eq!(
        unknown,
        "environment: `RETRACE_GATEWAY_OTLP_HTP` is not a setting: did you mean `RETRACE_GATEWAY_OTLP_HTTP`?"
    );
}

#[test]
fn a_variable_overrides_the_file() {
    let variables = [
        ("RETRACE_GATEWAY_OTLP_HTTP", "127.0.0.1:1"),
        ("RETRACE_GATEWAY_TRACES_WAIT_SECONDS", "0.5"),
        ("RETRACE_GATEWAY_RETRACE_CAPTURE_CONTENT", "false"),
        ("RETRACE_GATEWAY_RETRACE_CLEARTEXT_HOSTS", "a:1, b:2"),
        ("RETRACE_GATEWAY_CONFIG", "/etc/gateway.toml"),
    ];
    let config = parse_with("[otlp]\nhttp = \"127.0.0.1:2\"\n[traces]\nwait_seconds = 3", &variables).unwrap();
    assert_eq!(config.otlp.http.unwrap().port(), 1);
    assert_eq!(config.traces.wait, Duration::from_millis(500));
    assert_eq!(config.retrace.capture_content, Some(false));
    assert_eq!(config.retrace.cleartext_hosts, ["a:1", "b:2"]);
    let error = parse_with("", &[("RETRACE_GATEWAY_OTLP_MAX_BODY_BYTES", "many")]).unwrap_err().to_string();
    assert_eq!(error, "RETRACE_GATEWAY_OTLP_MAX_BODY_BYTES: expected a whole number, 0 or more");
}

#[test]
fn a_syntax_error_names_its_line_and_does_not_repeat_it() {
    let error = error("[kafka]\nproperties = { \"sasl.password\" = \"canary }\n");
    assert!(error.starts_with("gateway.toml is not TOML: line 2: ") && !error.contains("canary"), "{error}");
}

#[test]
fn the_spool_of_the_environment_is_divided_by_tenant_as_well() {
    let config = parse_with("", &[("RETRACE_SPOOL_DIR", "/spool")]).unwrap();
    assert_eq!(config.retrace.spool_dir, Some("/spool".into()));
    let config = parse_with("[retrace]\nspool_dir = \"/other\"", &[("RETRACE_SPOOL_DIR", "/spool")]).unwrap();
    assert_eq!(config.retrace.spool_dir, Some("/other".into()));
}

#[test]
fn a_value_that_cannot_be_used_is_named() {
    for (text, message) in [
        ("otlp = 3", "otlp: is a table: write [otlp]"),
        ("[otlp", "gateway.toml is not TOML"),
        ("[otlp]\nhttp = \"localhost\"", "otlp.http: \"localhost\" is no address"),
        ("[otlp]\ncertificate = \"c.pem\"", "otlp.certificate: needs otlp.key"),
        ("[retrace]\ntransport = \"grpc\"", "retrace.transport: \"grpc\" is none of ws, auto, http"),
        ("[traces]\nwait_seconds = -1", "traces.wait_seconds: expected a number of seconds"),
        ("[traces]\nbuffer_bytes = 1", "traces.buffer_bytes: 1 is too small; at least 65536"),
        ("[tenants]\ntopic_pattern = \"otlp\"", "tenants.topic_pattern: has one `*`"),
        ("[[tenant]]\nname = \"a\"", "tenant \"a\": needs `api_key_env` or `api_key_file`"),
        ("[[tenant]]\nname = \"a\"\napi_key_env = \"NONE\"", "the variable NONE is not set"),
        ("tenant = []", "tenant: the list is empty"),
        (
            "[tenants]\ndefault = \"b\"\n[[tenant]]\nname = \"a\"\napi_key_env = \"A_KEY\"",
            "there is no [[tenant]] named \"b\": did you mean \"a\"?",
        ),
        (
            "[[tenant]]\nname = \"a\"\napi_key_env = \"A_KEY\"\n[[tenant]]\nname = \"a\"\napi_key_env = \"A_KEY\"",
            "is there twice",
        ),
    ] {
        let error = error(text);
        assert!(error.contains(message), "{error}");
    }
}

#[cfg(feature = "kafka")]
#[test]
fn kafka_is_used_where_it_has_brokers() {
    let text = "[kafka]\nbrokers = [\"k1:9092\", \"k2:9092\"]\ntopics = [\"^otlp.*\"]\nencoding = \"otlp_json\"\n\
        properties = { \"security.protocol\" = \"SASL_PLAINTEXT\" }";
    let kafka = parse(text).unwrap().kafka.unwrap();
    assert_eq!((kafka.brokers.as_str(), kafka.encoding), ("k1:9092,k2:9092", Encoding::Json));
    assert_eq!(kafka.properties["security.protocol"], Secret::new("SASL_PLAINTEXT"));
    assert!(!format!("{kafka:?}").contains("SASL_PLAINTEXT"), "any property may be a password");
    assert!(error("[kafka]\nbrokers = [\"k\"]\nproperties = { a = 1 }").contains("kafka.properties"));
}

#[cfg(feature = "kafka")]
#[test]
fn properties_come_from_variables_and_files_and_are_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("user");
    std::fs::write(&file, "canary_user\n").unwrap();
    let path = file.display();
    let text = |more: &str| {
        format!(
            "[kafka]\nbrokers = [\"k\"]\nproperties = {{ \"client.rack\" = \"canary_rack\" }}\n\
             properties_env = {{ \"sasl.password\" = \"PASSWORD\" }}\nproperties_file = {{ \"sasl.username\" = \"{path}\"{more} }}"
        )
    };
    let config = parse_with(&text(""), &[("PASSWORD", "canary_password\n")]).unwrap();
    let properties = &config.kafka.as_ref().unwrap().properties;
    assert_eq!(properties["sasl.password"], Secret::new("canary_password"));
    assert_eq!(properties["sasl.username"], Secret::new("canary_user"));
    let shown = config.explain() + &format!("{config:?}");
    assert!(shown.contains("further properties: client.rack, sasl.password, sasl.username\n"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");

    let missing = error(&text(""));
    assert_eq!(missing, "kafka.properties_env: sasl.password: the variable PASSWORD is not set or empty");
    let variables = [("PASSWORD", "canary")];
    let empty = parse_with(&text(", \"client.rack\" = \"/dev/null\""), &variables).unwrap_err().to_string();
    assert_eq!(empty, "kafka.properties_file: client.rack: /dev/null is empty");
    let twice = parse_with(&text(&format!(", \"client.rack\" = \"{path}\"")), &variables).unwrap_err().to_string();
    assert_eq!(twice, "kafka.properties_file: client.rack: is in another table of properties as well");
    for table in ["properties", "properties_env", "properties_file"] {
        let wrong = error(&format!("[kafka]\nbrokers = [\"k\"]\n{table} = {{ a = 1 }}"));
        assert_eq!(wrong, format!("kafka.{table}: expected a table of texts"));
    }
}

#[cfg(feature = "kafka")]
#[test]
fn tls_is_in_a_build_with_the_feature_only() {
    for (property, value) in
        [("security.protocol", "SASL_SSL"), ("sasl.mechanism", "SCRAM-SHA-512"), ("ssl.ca.location", "ca.pem")]
    {
        let parsed = parse(&format!("[kafka]\nbrokers = [\"k\"]\nproperties = {{ \"{property}\" = \"{value}\" }}"));
        if cfg!(feature = "kafka-tls") {
            assert_eq!(parsed.unwrap().kafka.unwrap().properties[property], Secret::new(value));
        } else {
            let error = parsed.unwrap_err().to_string();
            let start =
                format!("kafka.properties: {property}: needs OpenSSL, and this program is built without `kafka-tls`: ");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}

#[test]
fn the_explanation_has_every_setting_and_no_secret() {
    let text = "[[tenant]]\nname = \"a\"\napi_key_env = \"A_KEY\"\n[tenants]\ndefault = \"a\"";
    let config = parse(text).unwrap();
    let explained = config.explain();
    for setting in SETTINGS {
        assert!(explained.contains(&format!("  {} (", setting.key)), "{}", setting.key);
    }
    assert!(!explained.contains("rt_a") && !format!("{config:?}").contains("rt_a"));
    assert!(explained.contains("Tenant \"a\" (of data that names none)"), "{explained}");
}
