//! Every fixture, on every store and engine, in two kinds of delimiters.

use std::fs;
use std::path::Path;

use cacheops_tests::{Backend, Delimiters, Engine, fixture};

fn run_all<B: Backend, E: Engine>() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "the fixtures are missing");
    let mut failures = Vec::new();
    for path in paths {
        let source = fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
        let name = path.file_name().unwrap().to_string_lossy();
        for delimiters in [Delimiters::Default, Delimiters::Angle] {
            failures.extend(fixture::run::<B, E>(&name, &source, delimiters).err());
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

on_stores_and_engines! { run_all }
