//! Templates that others wrote: those in the package of Tera itself, which is
//! there wherever this runs, and those in a folder that `REAL_TEMPLATES` names.
//! None is part of the repository. What has been tried, and how many they were,
//! is in `docs/decisions.md`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cacheops::Cacheops;
use minijinja::Environment;
use tera::Tera;

const ENDINGS: [&str; 9] = ["html", "xml", "txt", "tera", "j2", "jinja", "jinja2", "_t", "html_t"];

fn templates(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().to_lowercase();
        if path.is_dir() {
            templates(&path, found);
        } else if !name.contains("license") && ENDINGS.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let program = std::env::var_os(program.to_uppercase()).unwrap_or(program.into());
    let mut command = Command::new(program);
    let output = command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Where cargo keeps a package that this one depends on.
fn package(name: &str) -> PathBuf {
    let compiler = output("rustc", &["-vV"]);
    let host = compiler.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Only what the host needs has been downloaded.
    let metadata = ["metadata", "--format-version=1", "--offline", "--filter-platform", host];
    let metadata: serde_json::Value = serde_json::from_str(&output("cargo", &metadata)).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let found = packages.find(|package| package["name"] == name).unwrap();
    Path::new(found["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// A source without what begins the rendering: MiniJinja's plugin puts that before
/// the first statement or expression, and those of blocks.
fn without_beginning(rewritten: &str) -> String {
    let Some(named) = rewritten.find("|_cacheops_page(") else {
        return rewritten.to_owned();
    };
    let begins = rewritten[..named].rfind("{%").unwrap();
    let ends = named + rewritten[named..].find("{% endif %}").unwrap() + "{% endif %}".len();
    without_beginning(&[&rewritten[..begins], &rewritten[ends..]].concat())
}

/// Without tags they pass byte for byte; inside of one, Tera takes them as it
/// took them before.
#[test]
fn they_pass_unchanged() {
    let mut paths = Vec::new();
    templates(&package("tera"), &mut paths);
    if let Some(folder) = std::env::var_os("REAL_TEMPLATES") {
        templates(Path::new(&folder), &mut paths);
    }
    let cache = Cacheops::in_memory();
    let mut tera = Tera::default();
    let tags = tera_cacheops::Tags::install(&mut tera, &cache);
    let mut env = Environment::new();
    let jinja = minijinja_cacheops::Tags::install(&mut env, &cache);
    let (mut count, mut taken) = (0, 0);
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let place = path.display();
        count += 1;
        assert_eq!(tags.rewrite(&tera, &text).unwrap(), text, "{place}");
        let names = ["include", "import", "from", "extends"];
        let rewritten = jinja.rewrite(env.syntax(), "t", &text).unwrap();
        let rewritten = without_beginning(&rewritten);
        assert!(names.iter().any(|name| text.contains(name)) || rewritten == text, "{place}");
        // One that stands alone, and that may stand inside of something.
        let alone = tera.clone().add_raw_template("t", &text).is_ok();
        let inside = format!("{{% filter upper %}}{text}{{% endfilter %}}");
        if alone && tera.clone().add_raw_template("t", &inside).is_ok() {
            taken += 1;
            let wrapped = format!("{{% cached %}}{text}{{% endcached %}}");
            let added = tags.add_template(&mut tera.clone(), "t", wrapped);
            // It holds all variables, and no key can.
            let is_refused = text.contains("__tera_context");
            assert_eq!(added.is_err(), is_refused, "{place}: {added:?}");
        }
    }
    println!("{count} templates, {taken} of them inside of a tag");
    assert!(count >= 200, "only {count} templates");
}
