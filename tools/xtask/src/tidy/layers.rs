//! Rooms: a module of the dataplane names only the rooms that its row in `rooms.rs` lists.
//!
//! Every `crate::…`, `$crate::…`, `super::…` and `self::…` path outside tests is resolved to the
//! room it reaches, groups in braces included. A path that would hide its room (a glob or an alias
//! of the crate's root, an item re-exported there) is a finding too: rooms are named. The crate
//! root itself, `lib.rs`, sees every room. Also here: the core builds without `std`.

use std::collections::BTreeSet;

use super::Finding;
use crate::rooms;
use crate::source::{Source, is_name};

const RULE: &str = "rooms";
const SRC: &str = "dataplane/src/";
const ROOT: &str = "dataplane/src/lib.rs";

/// Checks every file of the dataplane.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let ours = || sources.iter().filter(|source| source.path.starts_with(SRC));
    let macros: BTreeSet<&str> = ours().flat_map(macros_of).collect();
    for source in ours() {
        if source.path == ROOT {
            findings.extend(check_no_std(source));
            continue;
        }
        let module = module_of(&source.path);
        let Some(room) = module.first().and_then(|name| rooms::room(name)) else {
            let name = module.first().map_or("", String::as_str);
            let what = format!("the room `{name}` has no row");
            let cure = "add it, and what it sees, to tools/xtask/src/rooms.rs";
            findings.push(Finding::new(&source.path, 1, RULE, what, cure));
            continue;
        };
        findings.extend(check_outside(source, room));
        for reach in reaches(source, &module) {
            findings.extend(judge(source, room, &reach, &macros));
        }
    }
    findings
}

fn check_no_std(source: &Source) -> Option<Finding> {
    let packed: String = source.bare.split_whitespace().collect();
    let always = packed.contains("#![no_std]");
    let unless_io = packed.contains("#![cfg_attr(not(feature=\"io\"),no_std)]");
    // Its unit tests may use std without the feature.
    let or_tested = packed.contains("#![cfg_attr(not(any(feature=\"io\",test)),no_std)]");
    if always || unless_io || or_tested {
        return None;
    }
    let what = "the core is not no_std".to_owned();
    let cure = "add #![cfg_attr(not(feature = \"io\"), no_std)] after the header";
    Some(Finding::new(&source.path, 1, RULE, what, cure))
}

/// The module path of a file, from the crate's root.
fn module_of(path: &str) -> Vec<String> {
    let inner = path.strip_prefix(SRC).unwrap_or(path);
    let inner = inner.strip_suffix(".rs").unwrap_or(inner);
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    inner.split('/').map(str::to_owned).collect()
}

fn macros_of(source: &Source) -> impl Iterator<Item = &str> {
    source.find(&["macro_rules", "!"]).into_iter().map(|index| source.token(index + 2))
}

fn check_outside(source: &Source, room: &rooms::Room) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, homes) in rooms::OUTSIDE {
        for index in source.find(&[name, "::"]) {
            let at = source.offset(index);
            let inner = index > 0 && source.token(index - 1) == "::";
            if inner || homes.contains(&room.name) || source.is_test(at) {
                continue;
            }
            let what = format!("`{}` names the crate `{name}`", room.name);
            let cure = format!("only {} may; move the call there", homes.join(", "));
            findings.push(Finding::new(&source.path, source.line_of(at), RULE, what, &cure));
        }
    }
    findings
}

/// What a path reaches first at the crate's root.
struct Reach {
    at: usize,
    name: String,
    is_macro: bool,
}

fn reaches(source: &Source, module: &[String]) -> Vec<Reach> {
    let mut found = Vec::new();
    let inner = source.modules();
    for index in 0..source.len() {
        let word = source.token(index);
        let at = source.offset(index);
        let starts = index == 0 || source.token(index - 1) != "::";
        if !["crate", "super", "self"].contains(&word) || !starts || source.is_test(at) {
            continue;
        }
        if word == "crate" && source.token(index + 1) == "as" {
            found.push(Reach { at, name: "*".to_owned(), is_macro: false });
        }
        if source.token(index + 1) != "::" {
            continue;
        }
        let mut base: Vec<&str> = module.iter().map(String::as_str).collect();
        for module in &inner {
            if module.body.as_ref().is_some_and(|body| body.contains(&at)) {
                base.push(&module.name);
            }
        }
        step(source, index, &base, &mut found);
    }
    found
}

/// Follows one path from the token at `index`, relative to the module `base`.
fn step(source: &Source, index: usize, base: &[&str], found: &mut Vec<Reach>) {
    let next = index + 2;
    let more = source.token(index + 1) == "::";
    match source.token(index) {
        "crate" if more => step(source, next, &[], found),
        "super" if more => step(source, next, &base[..base.len().saturating_sub(1)], found),
        "self" if more => step(source, next, base, found),
        "{" => {
            let close = source.closing(index);
            let mut at = index + 1;
            let mut first = true;
            while at < close {
                if first {
                    step(source, at, base, found);
                }
                first = source.token(at) == ",";
                at = if source.token(at) == "{" { source.closing(at) + 1 } else { at + 1 };
            }
        }
        name if base.is_empty() && (is_name(name) || name == "*") => found.push(Reach {
            at: source.offset(index),
            name: if name == "self" { "*" } else { name }.to_owned(),
            is_macro: source.token(index + 1) == "!",
        }),
        _ => {}
    }
}

fn judge(
    source: &Source,
    room: &rooms::Room,
    reach: &Reach,
    macros: &BTreeSet<&str>,
) -> Option<Finding> {
    let name = reach.name.as_str();
    if name == room.name || room.sees.contains(&name) {
        return None;
    }
    let (what, cure) = if rooms::room(name).is_some() {
        let what = format!("`{}` does not see `{name}`", room.name);
        let sees = match room.sees {
            [] => "nothing".to_owned(),
            sees => sees.join(", "),
        };
        (what, format!("it sees {sees}; move the code, or pass the value in"))
    } else if name == "*" {
        let what = format!("`{}` takes the whole crate", room.name);
        (what, "name the rooms: use crate::<room>::…".to_owned())
    } else if reach.is_macro || macros.contains(name) {
        return None;
    } else {
        let what = format!("`crate::{name}` hides its room");
        (what, "write crate::<room>::…, or add the room to tools/xtask/src/rooms.rs".to_owned())
    };
    Some(Finding::new(&source.path, source.line_of(reach.at), RULE, what, &cure))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<String> {
        let findings = check(&[Source::new(path, text)]);
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn a_room_sees_its_row() {
        let text = "use crate::wire::tcp;\nuse crate::{types::Ip, drop_reason};\n\
                    pub(crate) fn f(d: &mut crate::device::Frame) { super::device::g() }\n";
        assert!(whats("dataplane/src/packet/mod.rs", text).is_empty());
    }

    #[test]
    fn a_room_sees_nothing_else() {
        let path = "dataplane/src/nat.rs";
        let expected = ["`nat` does not see `flow`"];
        for text in [
            "use crate::flow::Flow;",
            "use crate::{types, flow::{Flow, Key}};",
            "fn f() { crate::flow::g(); }",
            "use super::flow;",
            "mod inner { use super::super::flow; }",
            "use super::{types, flow as conversations};",
            "use crate :: flow;",
            "macro_rules! m { () => { $crate::flow::g() } }",
            "use self::super::flow;",
        ] {
            assert_eq!(whats(path, text), expected, "{text}");
        }
    }

    #[test]
    fn comments_strings_and_tests_are_free() {
        let text = "// crate::flow\nconst A: &str = \"crate::flow\";\n\
                    #[cfg(test)]\nmod tests { use crate::flow; use super::*; }\n";
        assert!(whats("dataplane/src/nat.rs", text).is_empty());
    }

    #[test]
    fn a_room_may_look_around_itself() {
        let text = "use super::pool; use super::super::types; use self::x::{self, y};\n\
                    pub(super) fn f() {} pub(in crate::nat) fn g() {} mod a { use super::b; }";
        assert!(whats("dataplane/src/nat/blocks.rs", text).is_empty());
        let text = "use super::super::engine;";
        assert_eq!(whats("dataplane/src/nat/blocks.rs", text), ["`nat` does not see `engine`"]);
    }

    #[test]
    fn a_path_may_not_hide_its_room() {
        let path = "dataplane/src/lb.rs";
        for text in ["use crate::*;", "use crate as root;", "use crate::{self as root};"] {
            assert_eq!(whats(path, text), ["`lb` takes the whole crate"], "{text}");
        }
        assert_eq!(whats(path, "use crate::Flow;"), ["`crate::Flow` hides its room"]);
        assert!(whats(path, "macro_rules! no { () => {} }\nuse crate::no;").is_empty());
        assert!(whats(path, "fn f() { crate::invariant!(true) }").is_empty());
    }

    #[test]
    fn a_room_needs_a_row() {
        let found = whats("dataplane/src/kitchen.rs", "");
        assert_eq!(found, ["the room `kitchen` has no row"]);
    }

    #[test]
    fn the_operating_system_stays_outside() {
        let text = "fn f() { libc::read() }";
        assert_eq!(whats("dataplane/src/flow.rs", text), ["`flow` names the crate `libc`"]);
        assert!(whats("dataplane/src/io/tap/sys.rs", text).is_empty());
    }

    #[test]
    fn the_core_is_no_std() {
        assert_eq!(whats(ROOT, "//! #![no_std]\n"), ["the core is not no_std"]);
        assert!(whats(ROOT, "//! A.\n#![no_std]\n").is_empty());
        let text = "#![cfg_attr(\n    not(feature = \"io\"),\n    no_std\n)]";
        assert!(whats(ROOT, text).is_empty());
    }
}
