//! A file with many endpoints, evenly over as many consumers and services as Azure's limits want.

use std::fmt::Write;
use std::path::Path;

/// Consumers, and services with a load balancer each; a service has 1,000 endpoints at most.
pub(super) const GROUPS: usize = 16;

/// Backends of each load balancer.
const BACKENDS: usize = 4;

/// The file's text. Every endpoint is approved.
pub(super) fn configuration(socket: &Path, endpoints: usize) -> String {
    let mut text = format!(
        "[adit]\ncontrol_socket = {socket:?}\nworkers = 2\nflows_max = 4096\nfast_path = \"off\"\n"
    );
    network(&mut text, "provider", "10.0.0.0/8");
    (0..GROUPS).for_each(|group| service(&mut text, group));
    for at in 0..endpoints {
        let (group, place) = (at % GROUPS, at / GROUPS);
        let (third, last) = (1 + place / 250, 1 + place % 250);
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "[[private_endpoint]]\nname = \"pe-{at}\"\nvirtual_network = \"consumer-{group}\"\n\
             private_ip_address = \"10.0.{third}.{last}\"\n\
             private_link_service = \"service-{group}\"\nconnection_state = \"Approved\"\n"
        );
    }
    text
}

/// A virtual network with a device of its own.
fn network(text: &mut String, name: &str, space: &str) {
    let device: String = name.replace("consumer", "c");
    let _ = write!(
        text,
        "[[virtual_network]]\nname = \"{name}\"\naddress_space = [\"{space}\"]\n\
         [[device]]\nname = \"{device}\"\nkind = \"tap\"\nvirtual_network = \"{name}\"\n"
    );
}

fn service(text: &mut String, group: usize) {
    network(text, &format!("consumer-{group}"), "10.0.0.0/16");
    let backends = (0..BACKENDS).map(|at| format!("\"10.1.{group}.{}\"", 10 + at));
    let backends: Vec<String> = backends.collect();
    let backends = backends.join(", ");
    let _ = write!(
        text,
        "[[load_balancer]]\nname = \"lb-{group}\"\nvirtual_network = \"provider\"\n\
         backend_address_pool = [{{ name = \"pool\", backend_addresses = [{backends}] }}]\n\
         load_balancing_rule = [{{ name = \"http\", protocol = \"Tcp\", frontend_port = 80, \
         backend_port = 8080, backend_address_pool = \"pool\" }}]\n\
         [[private_link_service]]\nname = \"service-{group}\"\nload_balancer = \"lb-{group}\"\n\
         nat_ip_configurations = [{{ name = \"n\", private_ip_address = \"10.2.{group}.4\" }}]\n"
    );
}
