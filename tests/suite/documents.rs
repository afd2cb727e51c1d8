//! What documents name is there: files, folders, and features of our crates.

use std::fs;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 7] =
    ["", "docs", "docs/handbook", "core", "minijinja-cacheops", "tera-cacheops", "examples"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All documents, each with its path and text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(repository().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 20);
    found
}

/// The targets of links to files: `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let targets = targets.map(|(target, _)| target.split('#').next().unwrap_or_default());
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

/// Code that looks like a path from the root of the repository.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let roots =
        ["core/", "docs/", "examples/", "fuzz/", "minijinja-cacheops/", "tera-cacheops/", "tests/"];
    let is_path = move |code: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        roots.iter().any(|root| code.starts_with(root)) && code.chars().all(plain)
    };
    // What stands between single backticks of a line.
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_path)
}

#[test]
fn links_and_paths_lead_somewhere() {
    let mut missing = Vec::new();
    for (document, text) in documents() {
        let here = document.parent().unwrap();
        let broken = links(&text).filter(|target| !here.join(target).exists());
        missing.extend(broken.map(|target| format!("{}: link to {target}", document.display())));
        let gone = paths(&text).filter(|path| !repository().join(path).exists());
        missing.extend(gone.map(|path| format!("{}: path {path}", document.display())));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn features_of_our_crates_exist() {
    let mut seen = 0;
    for (document, text) in documents() {
        for line in text.lines().filter(|line| line.contains("features = [")) {
            let Some((name, rest)) = line.split_once(" = ") else { continue };
            let manifest = match name {
                "cacheops" => "core/Cargo.toml",
                "minijinja-cacheops" | "tera-cacheops" => &format!("{name}/Cargo.toml"),
                _ => continue,
            };
            let manifest = fs::read_to_string(repository().join(manifest)).unwrap();
            let list = rest.split_once("features = [").unwrap().1.split(']').next().unwrap();
            for feature in list.split(',').map(|feature| feature.trim().trim_matches('"')) {
                seen += 1;
                let declared = manifest.contains(&format!("\n{feature} = ["));
                assert!(declared, "{}: {name} has no feature {feature}", document.display());
            }
        }
    }
    assert!(seen > 0);
}
