//! The process that recorded spans.

use retrace_protocol::metadata::Service;

use crate::view::Value;

/// Facts about a process that its runs carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// The service.
    pub service: Service,
    /// Deployment environment of runs whose options state none.
    pub environment: Option<String>,
}

impl Resource {
    /// Reads the attributes of an OpenTelemetry resource; those without a field here are not carried.
    pub fn from_attributes<'a>(attributes: impl IntoIterator<Item = (&'a str, Value<'a>)>) -> Self {
        let mut resource = Self::default();
        let mut older_environment = None;
        for (key, value) in attributes {
            let place = match key {
                "service.name" => &mut resource.service.name,
                "service.version" => &mut resource.service.version,
                "service.instance.id" => &mut resource.service.instance,
                "deployment.environment.name" => &mut resource.environment,
                "deployment.environment" => &mut older_environment,
                _ => continue,
            };
            *place = value.to_label().map(|label| retrace_protocol::json::without_nul(&label).into_owned());
        }
        // The name that the SDK sets by default identifies nothing.
        resource.service.name = resource.service.name.filter(|name| !name.starts_with("unknown_service"));
        resource.environment = resource.environment.or(older_environment);
        resource
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_name_of_the_environment_wins() {
        let older = ("deployment.environment", Value::from("old"));
        let newer = ("deployment.environment.name", Value::from("new"));
        assert_eq!(Resource::from_attributes([older.clone()]).environment.as_deref(), Some("old"));
        assert_eq!(Resource::from_attributes([newer, older]).environment.as_deref(), Some("new"));
    }

    #[test]
    fn a_service_that_nobody_named_has_no_name() {
        let resource = Resource::from_attributes([("service.name", Value::from("unknown_service:agent"))]);
        assert_eq!(resource, Resource::default());
    }
}
