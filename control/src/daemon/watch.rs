//! Says when a device goes away and when it returns, once each.

use std::collections::HashMap;

use crate::api::{Device, DeviceState};

/// What was said of each device last.
#[derive(Default)]
pub(super) struct Watch(HashMap<Key, Said>);

/// Interface and namespace.
type Key = (String, Option<String>);

#[derive(Clone, PartialEq, Eq)]
struct Said {
    state: DeviceState,
    detail: Option<String>,
}

impl Watch {
    /// Compares devices with what was said of them, and returns what is to be said now.
    pub(super) fn look(&mut self, devices: &[Device]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut now = HashMap::new();
        for device in devices {
            let key = (device.name.clone(), device.network_namespace.clone());
            let before = self.0.get(&key);
            let said = match device.state {
                // Between closing and opening there is nothing to say yet.
                DeviceState::Unopened => match before {
                    Some(before) => before.clone(),
                    None => continue,
                },
                DeviceState::Up | DeviceState::Down => {
                    Said { state: device.state, detail: device.detail.clone() }
                }
            };
            if before != Some(&said) {
                lines.push(line(device, &said));
            }
            now.insert(key, said);
        }
        self.0 = now;
        lines
    }
}

fn line(device: &Device, said: &Said) -> String {
    let namespace = device.network_namespace.as_ref();
    let place = namespace.map_or(String::new(), |namespace| format!(" in {namespace}"));
    let name = &device.name;
    match said.state {
        DeviceState::Up => format!("device {name}{place}: up"),
        DeviceState::Unopened | DeviceState::Down => {
            let detail = said.detail.as_deref().unwrap_or("unknown reason");
            format!("device {name}{place}: down: {detail}; adit keeps trying")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(state: DeviceState, detail: Option<&str>) -> Device {
        Device {
            name: "veth-a".to_owned(),
            kind: "af_packet".to_owned(),
            network_namespace: None,
            virtual_network: "consumer-a".to_owned(),
            state,
            detail: detail.map(str::to_owned),
            received: 0,
            sent: 0,
            missed: 0,
        }
    }

    #[test]
    fn every_change_is_said_once() {
        let mut watch = Watch::default();
        let up = [device(DeviceState::Up, None)];
        let down = [device(DeviceState::Down, Some("No such device"))];
        let unopened = [device(DeviceState::Unopened, None)];
        assert!(watch.look(&unopened).is_empty());
        let lost = "device veth-a: down: No such device; adit keeps trying";
        assert_eq!(watch.look(&down), [lost]);
        assert!(watch.look(&down).is_empty());
        assert!(watch.look(&unopened).is_empty());
        assert!(watch.look(&down).is_empty());
        assert_eq!(watch.look(&up), ["device veth-a: up"]);
        assert!(watch.look(&up).is_empty());
        assert!(watch.look(&[]).is_empty(), "a device that was removed is no news");
        assert_eq!(watch.look(&down), [lost]);
    }
}
