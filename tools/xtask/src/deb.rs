//! `cargo xtask deb`: a Debian package, made from the release build by `dpkg-deb`.
//!
//! What goes where is the list [`FILES`]; manual pages and completions are those of the built
//! program itself. The version of the C library that it depends on is read from the program.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::ci::cargo;
use crate::tree;

/// Files of the tree, where they go, and whether they may be executed.
const FILES: &[(&str, &str, bool)] = &[
    ("target/release/adit", "usr/bin/adit", true),
    ("packaging/adit.service", "usr/lib/systemd/system/adit.service", false),
    ("packaging/adit.sysusers", "usr/lib/sysusers.d/adit.conf", false),
    ("control/adit.example.toml", "usr/share/doc/adit/adit.example.toml", false),
    ("docs/configuration.md", "usr/share/doc/adit/configuration.md", false),
    ("docs/operations.md", "usr/share/doc/adit/operations.md", false),
    ("CHANGELOG.md", "usr/share/doc/adit/CHANGELOG.md", false),
    ("LICENSE-MIT", "usr/share/doc/adit/LICENSE-MIT", false),
    ("packaging/debian/copyright", "usr/share/doc/adit/copyright", false),
    ("packaging/debian/postinst", "DEBIAN/postinst", true),
    ("packaging/debian/prerm", "DEBIAN/prerm", true),
    ("packaging/debian/postrm", "DEBIAN/postrm", true),
];

/// Where each shell looks for completions.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/adit"),
    ("zsh", "usr/share/zsh/vendor-completions/_adit"),
    ("fish", "usr/share/fish/vendor_completions.d/adit.fish"),
];

/// Builds the package and prints where it is.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    if !arguments.is_empty() {
        eprintln!("deb: takes no arguments");
        return ExitCode::from(2);
    }
    match build(&tree::workspace_root()) {
        Ok(package) => {
            println!("deb: made {}", package.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("deb: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build(root: &Path) -> io::Result<PathBuf> {
    let words = ["build", "--release", "--locked", "-p", "control", "--bin", "adit"];
    run_well(cargo().args(words).current_dir(root))?;
    let program = root.join("target/release/adit");
    let stage = root.join("target/deb/stage");
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    for (from, to, may_run) in FILES {
        install(&root.join(from), &stage.join(to), *may_run)?;
    }
    for (shell, to) in COMPLETIONS {
        let said = Command::new(&program).args(["completions", shell]).output()?;
        write(&stage.join(to), &said.stdout, false)?;
    }
    let pages = stage.join("usr/share/man/man1");
    fs::create_dir_all(&pages)?;
    run_well(Command::new(&program).arg("man").arg(&pages))?;
    // Debian wants them small, and the same each time.
    for page in fs::read_dir(&pages)? {
        run_well(Command::new("gzip").args(["-9", "-n"]).arg(page?.path()))?;
    }
    // Empty, so that whoever looks there finds where to write.
    fs::create_dir_all(stage.join("etc/adit"))?;
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let version =
        version(&manifest).ok_or_else(|| io::Error::other("Cargo.toml has no version"))?;
    let architecture = debian_architecture();
    let control = control(version, architecture, &glibc(&fs::read(&program)?), kib(&stage)?);
    write(&stage.join("DEBIAN/control"), control.as_bytes(), false)?;
    let package = root.join(format!("target/deb/adit_{version}_{architecture}.deb"));
    let mut pack = Command::new("dpkg-deb");
    pack.args(["--root-owner-group", "--build"]).arg(&stage).arg(&package);
    run_well(&mut pack)?;
    prove(&package, &root.join("target/deb/root"))?;
    Ok(package)
}

/// Unpacks the package somewhere and uses what is in it as one would.
fn prove(package: &Path, place: &Path) -> io::Result<()> {
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    run_well(Command::new("dpkg-deb").arg("--extract").arg(package).arg(place))?;
    let example = place.join("usr/share/doc/adit/adit.example.toml");
    run_well(Command::new(place.join("usr/bin/adit")).arg("check").arg(example))?;
    let unit = fs::read_to_string(place.join("usr/lib/systemd/system/adit.service"))?;
    let programs = unit.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once("=/"));
    for (_, line) in programs {
        let program = line.split(' ').next().unwrap_or_default();
        if !place.join(program).exists() {
            return Err(io::Error::other(format!("the unit runs /{program}, which is not there")));
        }
    }
    Ok(())
}

fn run_well(command: &mut Command) -> io::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let failed = |how: String| io::Error::other(format!("{name}: {how}"));
    let status = command.status().map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

fn install(from: &Path, to: &Path, may_run: bool) -> io::Result<()> {
    let named = |error| io::Error::other(format!("{}: {error}", from.display()));
    write(to, &fs::read(from).map_err(named)?, may_run)
}

fn write(to: &Path, bytes: &[u8], may_run: bool) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(to, bytes)?;
    let mode = if may_run { 0o755 } else { 0o644 };
    fs::set_permissions(to, fs::Permissions::from_mode(mode))
}

/// The workspace's version.
fn version(manifest: &str) -> Option<&str> {
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""))?;
    line.split('"').next()
}

fn debian_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The newest version of the C library that a program asks for: `2.34`.
fn glibc(program: &[u8]) -> String {
    const MARK: &[u8] = b"GLIBC_2.";
    let digits = |at: usize| {
        let rest = program.get(at + MARK.len()..)?;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&rest[..count]).ok()?.parse::<u32>().ok()
    };
    let marks = program.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK);
    let newest = marks.filter_map(|(at, _)| digits(at)).max().unwrap_or(34);
    format!("2.{newest}")
}

/// How much room the files take.
fn kib(folder: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        sum += if kind.is_dir() {
            kib(&entry.path())?
        } else {
            entry.metadata()?.len().div_ceil(1024)
        };
    }
    Ok(sum)
}

fn control(version: &str, architecture: &str, glibc: &str, kib: u64) -> String {
    format!(
        "Package: adit\nVersion: {version}\nArchitecture: {architecture}\nSection: net\n\
         Priority: optional\nMaintainer: the adit authors <adit@localhost>\n\
         Installed-Size: {kib}\nDepends: libc6 (>= {glibc}), libgcc-s1\n\
         Description: Private Link that moves real packets\n \
         Consumers in virtual networks whose addresses may overlap reach a provider's\n \
         service through private endpoints. adit picks a load-balanced backend for each\n \
         flow, leases a port of a NAT IP, and lets through only approved connections.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_says_is_read_from_what_is_there() {
        assert_eq!(version("[a]\nversion = \"1.2.3\"\n"), Some("1.2.3"));
        assert_eq!(glibc(b"..GLIBC_2.9..GLIBC_2.34\0GLIBC_2.17 GLIBC_2.x"), "2.34");
        let text = control("1.0.0", "amd64", "2.36", 7);
        assert!(text.contains("\nDepends: libc6 (>= 2.36), libgcc-s1\n"), "{text}");
        assert!(text.lines().all(|line| !line.trim().is_empty()), "{text}");
        let root = tree::workspace_root();
        for (from, _, _) in FILES {
            let is_built = from.starts_with("target/");
            assert!(is_built || root.join(from).exists(), "{from}");
        }
    }
}
