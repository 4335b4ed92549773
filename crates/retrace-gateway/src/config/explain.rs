//! A configuration in words, for `--check`: every setting with its value, source and meaning; no secret.

use std::fmt::Write as _;

use super::Config;
use super::kafka_tls;
use super::settings::{SETTINGS, TENANT};

impl Config {
    /// Describes where data comes from, where it goes, and all settings with their variables, defaults and meanings.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut text = String::new();
        let _ = self.write_summary(&mut text);
        text.push_str("\nSettings (default) [variable]:\n");
        let mut table = "";
        for setting in SETTINGS {
            if setting.table != table {
                table = setting.table;
                let _ = if table == TENANT { writeln!(text, "[[{table}]]") } else { writeln!(text, "[{table}]") };
            }
            let variable = setting.variable().map(|name| format!(" [{name}]")).unwrap_or_default();
            let _ = writeln!(text, "  {} ({}){variable}: {}", setting.key, setting.default, setting.meaning);
        }
        text
    }

    fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        let otlp = &self.otlp;
        let encrypted = if otlp.tls.is_some() { ", encrypted" } else { "" };
        let token = if otlp.token.is_some() { ", with a token" } else { "" };
        for (name, address) in [("HTTP", otlp.http), ("gRPC", otlp.grpc)] {
            match address {
                Some(address) => {
                    let open = if address.ip().is_loopback() { "" } else { ", reachable from other machines" };
                    writeln!(text, "OTLP over {name}: {address}{encrypted}{token}{open}")?;
                }
                None => writeln!(text, "OTLP over {name}: off")?,
            }
        }
        match &self.kafka {
            Some(kafka) => {
                let dead =
                    kafka.dead_letter_topic.as_deref().map_or("counted".to_owned(), |topic| format!("sent to {topic}"));
                writeln!(
                    text,
                    "Kafka: {}{} as group {:?}, topics {}; messages that cannot be read are {dead}",
                    kafka.brokers,
                    kafka_tls::describe(kafka.properties.get("security.protocol")),
                    kafka.group,
                    kafka.topics.join(", ")
                )?;
                // Any value may be a password.
                let names: Vec<&str> = kafka.properties.keys().map(String::as_str).collect();
                if !names.is_empty() {
                    writeln!(text, "Kafka has further properties: {}", names.join(", "))?;
                }
            }
            None => writeln!(text, "Kafka: off")?,
        }
        match self.admin {
            Some(address) => writeln!(text, "Admin: http://{address}/metrics, /healthz, /readyz")?,
            None => writeln!(text, "Admin: off")?,
        }
        let content = match self.retrace.capture_content {
            Some(true) => "with inputs and outputs",
            Some(false) => "without inputs and outputs",
            None => "with inputs and outputs, unless RETRACE_CAPTURE_CONTENT switches them off",
        };
        writeln!(text, "Runs: over {} {content}", self.retrace.transport)?;
        writeln!(
            text,
            "A trace is sent {:?} after its last span, {:?} without its root",
            self.traces.wait, self.traces.wait_without_root
        )?;
        let at_most = self.tenants.max_open.min(self.tenant.len());
        writeln!(
            text,
            "Memory: up to {} MiB of spans, and {} MiB for each of {at_most} pipelines",
            self.traces.buffer_bytes >> 20,
            self.retrace.buffer_bytes >> 20
        )?;
        for (name, tenant) in &self.tenant {
            let url = tenant.base_url.as_ref().or(self.retrace.base_url.as_ref());
            let url = url.map_or("the default URL of Retrace", String::as_str);
            let project = tenant.project_id.as_deref().map(|id| format!(", project {id}")).unwrap_or_default();
            let default = if self.tenants.default.as_ref() == Some(name) { " (of data that names none)" } else { "" };
            writeln!(text, "Tenant {name:?}{default}: {url}{project}, with its API key")?;
        }
        Ok(())
    }
}
