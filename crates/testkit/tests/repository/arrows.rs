//! The arrows between crates, and the settings that every manifest inherits, by `cargo metadata`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cargo_metadata::{Dependency, DependencyKind, Metadata, MetadataCommand, Package};

/// Each crate, and our crates that its users also get.
const ARROWS: &[(&str, &[&str])] = &[
    ("tidings-proto", &[]),
    ("tidings-client", &["tidings-proto"]),
    ("tidings-server", &["tidings-proto"]),
    ("tidings-hub", &["tidings-proto"]),
    ("tidings-store", &["tidings-hub", "tidings-proto"]),
    ("tidings-hyper", &["tidings-client", "tidings-proto"]),
    ("tidings-reqwest", &["tidings-client", "tidings-proto"]),
    ("tidings-hyper-server", &["tidings-server", "tidings-proto"]),
    (
        "tidings-axum",
        &["tidings-hyper-server", "tidings-server", "tidings-proto"],
    ),
    (
        "tidings",
        &[
            "tidings-proto",
            "tidings-client",
            "tidings-server",
            "tidings-hub",
            "tidings-hyper",
            "tidings-hyper-server",
            "tidings-reqwest",
            "tidings-axum",
            "tidings-store",
        ],
    ),
    (
        "tidings-cli",
        &[
            "tidings",
            "tidings-proto",
            "tidings-client",
            "tidings-server",
            "tidings-hub",
            "tidings-hyper",
            "tidings-hyper-server",
            "tidings-reqwest",
            "tidings-axum",
            "tidings-store",
        ],
    ),
    (
        "tidings-testkit",
        &["tidings-proto", "tidings-client", "tidings-hub"],
    ),
    ("tidings-conformance", &["tidings"]),
    ("tidings-examples", &["tidings"]),
];

/// Foreign crates with an unstable major version, or with a whole HTTP stack, and our libraries
/// that may use them.
const FENCED: &[(&str, &[&str])] = &[
    ("axum", &["tidings-axum"]),
    ("axum-core", &["tidings-axum"]),
    (
        "hyper",
        &["tidings-hyper", "tidings-hyper-server", "tidings-axum"],
    ),
    ("hyper-util", &["tidings-hyper", "tidings-axum"]),
    ("hyper-rustls", &["tidings-hyper"]),
    ("reqwest", &["tidings-reqwest"]),
    ("rustls", &["tidings-hyper", "tidings-axum"]),
    ("rustls-platform-verifier", &["tidings-hyper"]),
    ("tokio-rustls", &["tidings-hyper", "tidings-axum"]),
    ("async-compression", &["tidings-hyper"]),
    ("compression-codecs", &["tidings-server"]),
    ("rusqlite", &["tidings-store"]),
    ("async-nats", &[]),
];

/// Foreign crates that `tidings-proto` may use.
const OF_PROTO: &[&str] = &[
    "bytes",
    "httpdate",
    "memchr",
    "serde",
    "serde_json",
    "simdutf8",
    "wide",
];

/// Settings that every manifest inherits from the workspace.
const INHERITED: &[&str] = &[
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
    "[lints]\nworkspace = true",
];

#[test]
fn arrows_run_down_only() {
    let members = workspace().packages;
    let listed: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = members
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(found, listed, "the workspace's crates, and those in ARROWS");

    for (name, allowed) in ARROWS {
        for dependency in needed_by(member(&members, name)) {
            assert!(
                !listed.contains(dependency) || allowed.contains(&dependency),
                "crates: {name} may not depend on {dependency}, only on {allowed:?}",
            );
        }
    }
}

#[test]
fn proto_depends_on_bytes_and_text_only() {
    let members = workspace().packages;
    for dependency in needed_by(member(&members, "tidings-proto")) {
        assert!(
            OF_PROTO.contains(&dependency),
            "crates/proto/Cargo.toml: {dependency}: expected only {OF_PROTO:?}",
        );
    }
}

#[test]
fn unstable_crates_are_used_only_by_their_own_library() {
    for package in published_libraries() {
        for dependency in needed_by(&package) {
            let fence = FENCED.iter().find(|(name, _)| *name == dependency);
            assert!(
                fence.is_none_or(|(_, users)| users.contains(&package.name.as_str())),
                "{}: {dependency} is not allowed here, only in {fence:?}",
                package.manifest_path,
            );
        }
    }
}

#[test]
fn bench_and_fuzz_are_workspaces_of_their_own() {
    let product = workspace().workspace_root;
    for name in ["bench", "fuzz"] {
        let folder = product.join(name);
        let metadata = metadata_of(folder.join("Cargo.toml").as_std_path());
        assert_eq!(
            metadata.workspace_root, folder,
            "{name}/Cargo.toml: [workspace] is missing"
        );
        assert!(
            folder.join("Cargo.lock").exists(),
            "{name}/Cargo.lock is missing"
        );
    }
}

#[test]
fn manifests_inherit_from_the_workspace() {
    for package in workspace().packages {
        let manifest =
            fs::read_to_string(&package.manifest_path).expect("a manifest that cargo has read");
        for line in INHERITED {
            assert!(
                manifest.contains(line),
                "{}: {line:?} is missing",
                package.manifest_path
            );
        }
        assert!(
            package.description.is_some(),
            "{}: description is missing",
            package.manifest_path
        );
    }
}

#[test]
fn published_crates_carry_their_licences() {
    let product = workspace().workspace_root;
    for package in published() {
        let folder = package
            .manifest_path
            .parent()
            .expect("a manifest in a folder");
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let ours = fs::read(product.join(licence)).expect(licence);
            let theirs = fs::read(folder.join(licence)).unwrap_or_default();
            assert!(
                ours == theirs,
                "{}: its text differs from {licence} at the root",
                folder.join(licence)
            );
        }
        assert!(
            package.repository.is_some(),
            "{}: repository is missing",
            package.manifest_path
        );
        assert!(
            !package.keywords.is_empty(),
            "{}: keywords are missing",
            package.manifest_path
        );
    }
}

fn workspace() -> Metadata {
    metadata_of(Path::new("Cargo.toml"))
}

fn metadata_of(manifest: &Path) -> Metadata {
    MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .exec()
        .unwrap_or_else(|error| panic!("{}: {error}", manifest.display()))
}

fn published() -> impl Iterator<Item = Package> {
    workspace().packages.into_iter().filter(|package| {
        package
            .publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    })
}

/// Published crates with an API: the command line may use any dependency.
fn published_libraries() -> impl Iterator<Item = Package> {
    published().filter(|package| package.targets.iter().any(cargo_metadata::Target::is_lib))
}

fn member<'a>(members: &'a [Package], name: &str) -> &'a Package {
    members
        .iter()
        .find(|package| package.name.as_str() == name)
        .unwrap_or_else(|| panic!("{name} is not a member of the workspace"))
}

/// The dependencies that users of `package` also build: all except those of its tests.
fn needed_by(package: &Package) -> impl Iterator<Item = &str> {
    let needed = |dependency: &&Dependency| dependency.kind != DependencyKind::Development;
    package
        .dependencies
        .iter()
        .filter(needed)
        .map(|dependency| dependency.name.as_str())
}
