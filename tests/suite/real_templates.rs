//! Templates that others wrote, from a folder that `REAL_TEMPLATES` names:
//! they are downloaded for this and are no part of the repository. Where they
//! came from and how many is in `docs/decisions.md`.

use std::fs;
use std::path::{Path, PathBuf};

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

/// Without tags they pass byte for byte; inside of one, Tera takes them as it
/// took them before.
#[test]
fn they_pass_unchanged() {
    let Some(folder) = std::env::var_os("REAL_TEMPLATES") else { return };
    let mut paths = Vec::new();
    templates(Path::new(&folder), &mut paths);
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
        assert!(names.iter().any(|name| text.contains(name)) || rewritten == text, "{place}");
        // One that stands alone, and that may stand inside of something.
        let alone = tera.clone().add_raw_template("t", &text).is_ok();
        let inside = format!("{{% filter upper %}}{text}{{% endfilter %}}");
        if alone && tera.clone().add_raw_template("t", &inside).is_ok() {
            taken += 1;
            let wrapped = format!("{{% cached %}}{text}{{% endcached %}}");
            tags.add_template(&mut tera.clone(), "t", wrapped)
                .unwrap_or_else(|error| panic!("{place}: {error}"));
        }
    }
    println!("{count} templates, {taken} of them inside of a tag");
    assert!(count >= 200, "only {count} templates");
}
