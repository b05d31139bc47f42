//! Words: what may not be written, and where.
//!
//! The core reads no clock, throws no dice and prints nothing, so the words for that are banned
//! there outside tests. Unfinished code and ignored tests are banned everywhere, tests included.
//! `unsafe` stands only in files whose name says so, so that a reader can list it all.

use super::Finding;
use crate::source::Source;

const RULE: &str = "words";

/// The files that may hold `unsafe`, by name.
const UNSAFE_FILES: &[&str] = &["sys.rs", "ring.rs", "umem.rs", "prefetch.rs"];

struct Ban {
    tokens: &'static [&'static str],
    cure: &'static str,
}

const EVERYWHERE: &[Ban] = &[
    Ban { tokens: &["todo", "!"], cure: "finish it, or leave it out" },
    Ban { tokens: &["unimplemented", "!"], cure: "finish it, or leave it out" },
    Ban { tokens: &["dbg", "!"], cure: "remove it" },
    Ban { tokens: &["#", "[", "ignore"], cure: "mend the test, or delete it and say why" },
];

const IN_THE_CORE: &[Ban] = &[
    Ban { tokens: &["Instant", "::", "now"], cure: "take `now` as an argument" },
    Ban { tokens: &["SystemTime"], cure: "take `now` as an argument" },
    Ban { tokens: &["std", "::", "time"], cure: "take `now` as an argument; use core::time" },
    Ban { tokens: &["thread_rng"], cure: "use the engine's seed" },
    Ban { tokens: &["println", "!"], cure: "return a value, count, or trace" },
    Ban { tokens: &["eprintln", "!"], cure: "return a value, count, or trace" },
    Ban { tokens: &["print", "!"], cure: "return a value, count, or trace" },
    Ban { tokens: &["eprint", "!"], cure: "return a value, count, or trace" },
];

/// Checks every source.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(check_unsafe(source));
        for ban in EVERYWHERE {
            let found = source.find(ban.tokens).into_iter();
            findings.extend(found.map(|index| finding(source, index, ban)));
        }
        if in_the_core(&source.path) {
            for ban in IN_THE_CORE {
                let found = source.find(ban.tokens).into_iter();
                let found = found.filter(|&index| !source.is_test(source.offset(index)));
                findings.extend(found.map(|index| finding(source, index, ban)));
            }
        }
    }
    findings
}

fn in_the_core(path: &str) -> bool {
    let Some(inner) = path.strip_prefix("dataplane/src/") else {
        return false;
    };
    !inner.starts_with("io/") && inner != "io.rs"
}

fn check_unsafe(source: &Source) -> Vec<Finding> {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    if UNSAFE_FILES.contains(&name) {
        return Vec::new();
    }
    let found = source.find(&["unsafe"]).into_iter();
    let cure = format!("move it behind a safe function in one of {}", UNSAFE_FILES.join(", "));
    found
        .map(|index| {
            let line = source.line_of(source.offset(index));
            Finding::new(&source.path, line, "unsafe", "`unsafe` outside its files".into(), &cure)
        })
        .collect()
}

fn finding(source: &Source, index: usize, ban: &Ban) -> Finding {
    let line = source.line_of(source.offset(index));
    let what = format!("`{}` is banned here", ban.tokens.concat());
    Finding::new(&source.path, line, RULE, what, ban.cure)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(&[Source::new(path, text)]).len()
    }

    #[test]
    fn unfinished_code_is_banned_everywhere() {
        for text in [
            "fn f() { todo!() }",
            "fn f() { unimplemented!(\"x\") }",
            "fn f() { dbg!(1); }",
            "#[cfg(test)] mod tests { #[test] #[ignore = \"slow\"] fn f() {} }",
        ] {
            for path in ["control/src/main.rs", "tests/a.rs", "dataplane/src/io/tap.rs"] {
                assert_eq!(count(path, text), 1, "{path}: {text}");
            }
        }
        assert_eq!(count("a.rs", "// todo!\nfn todo() { f(\"dbg!\"); my_todo!() }"), 0);
    }

    #[test]
    fn the_core_has_no_clock_no_dice_and_no_voice() {
        for text in [
            "fn f() { let a = Instant::now(); }",
            "fn f() { let a = SystemTime::UNIX_EPOCH; }",
            "use std::time::Duration;",
            "fn f() { thread_rng(); }",
            "fn f() { println!(\"x\"); }",
        ] {
            assert_eq!(count("dataplane/src/flow/table.rs", text), 1, "{text}");
            assert_eq!(count("dataplane/src/io/tap.rs", text), 0, "{text}");
            assert_eq!(count("control/src/a.rs", text), 0, "{text}");
            let test = format!("#[cfg(test)] mod tests {{ {text} }}");
            assert_eq!(count("dataplane/src/flow/table.rs", &test), 0, "{text}");
        }
        assert_eq!(count("dataplane/src/lb.rs", "fn f(now: Instant) { now.elapsed(); }"), 0);
    }

    #[test]
    fn unsafe_has_its_files() {
        let text = "fn f() { unsafe { g() } }";
        assert_eq!(count("dataplane/src/io/tap/sys.rs", text), 0);
        assert_eq!(count("dataplane/src/io/tap/mod.rs", text), 1);
        assert_eq!(count("tests/harness/a.rs", text), 1);
        assert_eq!(count("a.rs", "#[allow(unsafe_code)] mod sys; // unsafe"), 0);
    }
}
