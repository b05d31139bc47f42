//! The rule of each room: which rooms of the dataplane see which, and which package needs which.
//!
//! This is the one place to change when a room or a package is added. A room is a top-level module
//! of `dataplane/src`; it always sees itself. The tables form a graph without cycles, which the
//! tests of this file check; `cargo xtask tidy` holds the sources to it.

/// A room of `dataplane/src`.
pub(crate) struct Room {
    /// The module's name.
    pub(crate) name: &'static str,
    /// The rooms that it may name.
    pub(crate) sees: &'static [&'static str],
}

/// Every room, from plain data to the operating system.
pub(crate) const ROOMS: &[Room] = &[
    // Plain data.
    room_of("types", &[]),
    room_of("limits", &[]),
    room_of("drop_reason", &[]),
    room_of("hash", &[]),
    room_of("prefetch", &[]),
    room_of("sync", &["prefetch"]),
    room_of("trace", &["types", "drop_reason"]),
    room_of("stats", &["types", "limits", "drop_reason", "sync"]),
    // Bytes.
    room_of("wire", &["types"]),
    room_of("fast_path", &["types"]),
    room_of("device", &["types", "limits", "prefetch", "fast_path"]),
    room_of("offload", &["wire", "device"]),
    room_of("packet", &["wire", "types", "hash", "drop_reason", "device"]),
    room_of("record", &["packet", "types"]),
    // What control compiles.
    room_of("snapshot", &["types", "limits", "hash"]),
    room_of("neighbor", &["snapshot", "types", "limits", "sync"]),
    room_of("nat", &["snapshot", "types", "limits", "hash", "prefetch", "sync"]),
    room_of("account", &["snapshot", "nat", "record", "types", "limits", "sync", "hash"]),
    room_of("generation", &["snapshot", "nat", "account", "neighbor", "hash", "types", "limits"]),
    // What a packet meets.
    room_of("classify", &["packet", "snapshot", "types", "drop_reason"]),
    room_of("lb", &["snapshot", "types"]),
    room_of("flow", &["packet", "record", "types", "limits", "prefetch"]),
    room_of("fragment", &["types", "limits", "drop_reason", "hash"]),
    room_of(
        "engine",
        &[
            "types",
            "limits",
            "drop_reason",
            "hash",
            "stats",
            "wire",
            "device",
            "packet",
            "record",
            "snapshot",
            "neighbor",
            "nat",
            "account",
            "generation",
            "classify",
            "lb",
            "flow",
            "fragment",
            "fast_path",
            "trace",
        ],
    ),
    // The edge.
    room_of("publish", &["generation", "types", "sync"]),
    room_of(
        "worker",
        &[
            "engine",
            "account",
            "device",
            "record",
            "publish",
            "snapshot",
            "stats",
            "types",
            "limits",
            "generation",
            "drop_reason",
            "sync",
            "fast_path",
            "trace",
        ],
    ),
    room_of(
        "io",
        &["device", "offload", "record", "worker", "snapshot", "types", "limits", "fast_path"],
    ),
];

/// Crates from outside that only these rooms may name.
pub(crate) const OUTSIDE: &[(&str, &[&str])] = &[("libc", &["io"]), ("aya", &["io"])];

/// A package of the workspace.
pub(crate) struct Package {
    /// Its name in `Cargo.toml`.
    pub(crate) name: &'static str,
    /// The packages of this workspace that it may depend on, for building or testing.
    pub(crate) may: &'static [&'static str],
    /// Those that only its tests may need.
    pub(crate) may_test: &'static [&'static str],
}

/// Every package.
pub(crate) const PACKAGES: &[Package] = &[
    package_of("lab", &[]),
    // Its devices are tested in namespaces.
    Package { name: "dataplane", may: &[], may_test: &["lab"] },
    package_of("control", &["dataplane", "lab"]),
    package_of("adit-tests", &["dataplane", "control", "lab"]),
    package_of("adit-fuzz", &["adit-tests"]),
    package_of("adit-benches", &["dataplane", "control", "lab", "adit-tests"]),
    package_of("xtask", &["dataplane", "control", "lab", "adit-tests"]),
];

const fn room_of(name: &'static str, sees: &'static [&'static str]) -> Room {
    Room { name, sees }
}

const fn package_of(name: &'static str, may: &'static [&'static str]) -> Package {
    Package { name, may, may_test: &[] }
}

/// The row of a room.
pub(crate) fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_rows_above_it() {
        // So the table has no cycle and no room that does not exist.
        for (index, room) in ROOMS.iter().enumerate() {
            for seen in room.sees {
                let above = ROOMS[..index].iter().any(|earlier| earlier.name == *seen);
                assert!(above, "{} sees {seen}, which is no row above it", room.name);
            }
        }
    }

    #[test]
    fn packages_form_no_cycle() {
        for (index, package) in PACKAGES.iter().enumerate() {
            for needed in package.may.iter().chain(package.may_test) {
                let above = PACKAGES[..index].iter().any(|earlier| earlier.name == *needed);
                assert!(above, "{} may need {needed}, which is no row above it", package.name);
            }
        }
    }

    #[test]
    fn the_engine_sees_all_but_the_edge() {
        let engine = room("engine").unwrap();
        for other in ROOMS {
            // What threads share, and hints to the processor, are the business of its tables.
            let below = ["sync", "prefetch"].contains(&other.name);
            let edge = ["engine", "worker", "publish", "io", "offload"].contains(&other.name);
            assert_eq!(engine.sees.contains(&other.name), !(edge || below), "{}", other.name);
        }
    }
}
