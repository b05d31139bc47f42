//! Rules of health probes.

use crate::config::{
    HTTP_PORTS_REFUSED, INTERVAL_DEFAULT, INTERVAL_MAX, INTERVAL_MIN, NoHealthyBackends,
    ProbeProtocol, THRESHOLD_MAX, wrong_path,
};
use crate::resource::Fault;
use crate::resource::body::Object;
use crate::resource::model::Probe;

/// Reads a probe.
pub(super) fn probe(body: &Object<'_>) -> Result<Probe, Fault> {
    let name = body.name()?;
    let properties = body.object("properties")?;
    let field = |name: &str| properties.path(name);
    let Some(protocol) = properties.word("protocol", ProbeProtocol::WORDS)? else {
        let cure = "write Tcp, Http or Https";
        return Err(Fault::value(&field("protocol"), "the protocol is missing", cure));
    };
    let Some(port) = properties.number("port", 1..=65_535)? else {
        return Err(Fault::value(&field("port"), "the port is missing", "write 1 to 65535"));
    };
    if protocol != ProbeProtocol::Tcp && HTTP_PORTS_REFUSED.contains(&port) {
        let rule = format!("HTTP and HTTPS probes do not ask port {port}, as in Azure");
        return Err(Fault::value(&field("port"), rule, "probe another port, or write Tcp"));
    }
    let interval: Option<u64> =
        properties.number("intervalInSeconds", INTERVAL_MIN..=INTERVAL_MAX)?;
    let default = INTERVAL_DEFAULT.as_secs();
    Ok(Probe {
        name,
        protocol,
        port,
        interval_ms: interval.unwrap_or(default) * 1_000,
        number_of_probes: properties.number("numberOfProbes", 0..=u64::from(u32::MAX))?,
        threshold: properties.number("probeThreshold", 1..=THRESHOLD_MAX.into())?.unwrap_or(1),
        request_path: request_path(&properties, protocol)?,
        no_healthy_backends: properties
            .word("noHealthyBackendsBehavior", NoHealthyBackends::WORDS)?
            .unwrap_or_default(),
    })
}

fn request_path(properties: &Object<'_>, protocol: ProbeProtocol) -> Result<Option<String>, Fault> {
    let field = properties.path("requestPath");
    let path = properties.text("requestPath")?.filter(|path| !path.is_empty());
    match (path, protocol) {
        (None, ProbeProtocol::Tcp) => Ok(None),
        (Some(_), ProbeProtocol::Tcp) => {
            let rule = "a TCP probe only opens a connection, and asks for no path";
            Err(Fault::value(&field, rule, "leave it out, or write Http"))
        }
        (None, protocol) => {
            let rule = format!("the path is missing, which {} asks for", protocol.name());
            Err(Fault::value(&field, rule, "write \"/\""))
        }
        (Some(path), _) => match wrong_path(path) {
            Some(rule) => Err(Fault::value(&field, rule, "write it as in a URL: \"/healthz\"")),
            None => Ok(Some(path.to_owned())),
        },
    }
}
