//! The programs of the documents that a newcomer reads first, taken as they
//! stand: each TOML block becomes a crate, with the Rust blocks behind it as its
//! programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates that are not published yet, and their folders.
const OURS: [(&str, &str); 3] = [
    ("cacheops", "core"),
    ("minijinja-cacheops", "minijinja-cacheops"),
    ("tera-cacheops", "tera-cacheops"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The fenced blocks of a document: language and text, in order.
fn blocks(document: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(repository().join(document)).unwrap().replace("\r\n", "\n");
    let fenced = text.split("\n```").skip(1).step_by(2);
    let block = fenced.map(|block| block.split_once('\n').unwrap());
    block.map(|(language, text)| (language.to_owned(), format!("{text}\n"))).collect()
}

/// What `[dependencies]` of a document become here: the same, with our crates
/// taken from this repository.
fn manifest(name: &str, dependencies: &str) -> String {
    assert!(dependencies.starts_with("[dependencies]"), "no whole TOML block: {dependencies}");
    let patch = OURS.map(|(name, folder)| {
        let path = repository().join(folder);
        format!("{name} = {{ path = {path:?} }}\n")
    });
    format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n{dependencies}\n\
         [patch.crates-io]\n{}\n[workspace]\n",
        patch.concat()
    )
}

/// Runs what stands in a document; gives what each program printed.
fn run(document: &str) -> Vec<String> {
    let mut printed = Vec::new();
    let mut open: Option<PathBuf> = None;
    for (language, text) in blocks(document) {
        match language.as_str() {
            "toml" => open = Some(new_crate(document, &text, printed.len())),
            "rust" => {
                let at = open.as_ref().unwrap_or_else(|| panic!("{document}: no TOML above"));
                printed.push(run_program(at, printed.len(), &text));
            }
            _ => {}
        }
    }
    printed
}

fn new_crate(document: &str, dependencies: &str, number: usize) -> PathBuf {
    let stem = Path::new(document).file_stem().unwrap().to_str().unwrap().to_lowercase();
    let name = format!("pasted-{stem}-{number}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("src/bin")).unwrap();
    fs::write(folder.join("Cargo.toml"), manifest(&name, dependencies)).unwrap();
    // The versions that are tested here.
    fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

fn run_program(folder: &Path, number: usize, text: &str) -> String {
    let name = format!("program-{number}");
    let main = if text.contains("fn main(") { "" } else { "\nfn main() {}\n" };
    fs::write(folder.join(format!("src/bin/{name}.rs")), format!("{text}{main}")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pasted");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--bin", &name, "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", target)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}:\n{errors}", folder.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn programs_of_the_documents_run_as_pasted() {
    let readme = run("README.md");
    let page = "Stamps, Leases\n";
    assert_eq!(readme[0], format!("the query runs\n{page}{page}{page}the query runs\n{page}"));
    assert_eq!(readme.len(), 3);

    let tutorial = "docs/handbook/first-ten-minutes.md";
    let shown = blocks(tutorial).into_iter().find(|(language, _)| language == "text").unwrap().1;
    assert_eq!(run(tutorial), [shown]);
}
