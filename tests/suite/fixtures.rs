//! Every fixture, on every store and engine, in two kinds of delimiters.

use std::any::TypeId;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cacheops_tests::engines::{MiniJinja, Tera};
use cacheops_tests::{Backend, Delimiters, Engine, InMemory, fixture};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn run<B: Backend + 'static, E: Engine>(name: &str) {
    let path = folder().join(name).with_extension("txt");
    let read = || fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    if std::env::var_os("BLESS").is_some() && TypeId::of::<B>() == TypeId::of::<InMemory>() {
        // Both engines write into one file.
        static BLESSING: Mutex<()> = Mutex::new(());
        let _one = BLESSING.lock().unwrap_or_else(PoisonError::into_inner);
        fs::write(&path, fixture::bless::<B, E>(&read()).unwrap()).unwrap();
        return;
    }
    for delimiters in [Delimiters::Default, Delimiters::Angle] {
        if let Err(why) = fixture::run::<B, E>(name, &read(), delimiters) {
            panic!("{why}");
        }
    }
}

/// A test for each fixture, by its name.
macro_rules! fixtures {
    ($($name:ident)*) => {
        $(fn $name<B: Backend + 'static, E: Engine>() { run::<B, E>(stringify!($name)); })*

        on_stores_and_engines! { $($name)* }

        #[test]
        fn every_file_is_a_test() {
            let tests = BTreeSet::from([$(concat!(stringify!($name), ".txt")),*]);
            let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
            let files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
            assert_eq!(tests, files.iter().map(String::as_str).collect());
        }
    };
}

fixtures! {
    assignments_end_with_the_tag
    cached_until_a_row_changes
    call_blocks
    call_forms
    changed_templates
    custom_tags
    errors_loading
    errors_rendering
    escaping
    extra_tells_fragments_apart
    if_and_unless
    inheritance
    invalidate_fragment_by_name
    invalidate_model_and_all
    lazy_querysets
    line_statements
    line_statements_stripped
    nested_dependencies
    querysets_narrow_invalidation
    safe_text_in_keys
    same_body_in_two_places
    template_functions
    text_is_not_tags
    unnamed_inputs
    whitespace
    whitespace_trimmed
}

#[test]
fn blessing_writes_what_each_engine_gives() {
    let source = "What stays.\n\n\
        --- template p\n{% cached %}{{ n }}{% endcached %}\n\
        --- render p {\"n\": 1}\n2\n\n\
        --- expect hits=0 misses=9\n\
        --- engine tera\n--- render p\n3\n--- engine any\n\
        --- bad template b\n{% cached %}\n...\nno\n\
        --- template name\n‹a¦b›\n\
        --- render name\n";
    let blessed = fixture::bless::<InMemory, MiniJinja>(source).unwrap();
    let blessed = fixture::bless::<InMemory, Tera>(&blessed).unwrap();
    let bad = "syntax error: `{% cached %}` is never closed: `endcached` is missing (in b:1)";
    let wanted = format!(
        "What stays.\n\n\
        --- template p\n{{% cached %}}{{{{ n }}}}{{% endcached %}}\n\
        --- render p {{\"n\": 1}}\n1\n\n\
        --- expect hits=0 misses=1\n\
        --- engine tera\n--- render p\n1\n--- engine any\n\
        --- bad template b\n{{% cached %}}\n...\n{bad}\n\
        --- template name\n‹a¦b›\n\
        --- render name\n‹a¦b›\n"
    );
    assert_eq!(blessed, wanted);
}
