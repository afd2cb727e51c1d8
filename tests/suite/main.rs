//! The suite of behaviours: every store, every engine.

/// Has behaviours run over every store.
macro_rules! on_stores {
    ($($test:ident)*) => {
        mod in_memory { $(#[test] fn $test() { super::$test::<cacheops_tests::InMemory>(); })* }
        mod over_redis { $(#[test] fn $test() { super::$test::<cacheops_tests::OverRedis>(); })* }
        mod strict { $(#[test] fn $test() { super::$test::<cacheops_tests::Strict>(); })* }
        mod over_cluster { $(#[test] fn $test() { super::$test::<cacheops_tests::OverCluster>(); })* }
    };
}

/// Has behaviours run over every store and on every engine.
macro_rules! on_stores_and_engines {
    ($($test:ident)*) => {
        mod in_memory_minijinja {
            $(#[test] fn $test() {
                super::$test::<cacheops_tests::InMemory, cacheops_tests::engines::MiniJinja>();
            })*
        }
        mod in_memory_tera {
            $(#[test] fn $test() {
                super::$test::<cacheops_tests::InMemory, cacheops_tests::engines::Tera>();
            })*
        }
        mod over_redis_minijinja {
            $(#[test] fn $test() {
                super::$test::<cacheops_tests::OverRedis, cacheops_tests::engines::MiniJinja>();
            })*
        }
        mod over_redis_tera {
            $(#[test] fn $test() {
                super::$test::<cacheops_tests::OverRedis, cacheops_tests::engines::Tera>();
            })*
        }
        mod strict_minijinja {
            $(#[test] fn $test() {
                super::$test::<cacheops_tests::Strict, cacheops_tests::engines::MiniJinja>();
            })*
        }
        mod strict_tera {
            $(#[test] fn $test() {
                super::$test::<cacheops_tests::Strict, cacheops_tests::engines::Tera>();
            })*
        }
        mod over_cluster_minijinja {
            $(#[test] fn $test() {
                super::$test::<cacheops_tests::OverCluster, cacheops_tests::engines::MiniJinja>();
            })*
        }
        mod over_cluster_tera {
            $(#[test] fn $test() {
                super::$test::<cacheops_tests::OverCluster, cacheops_tests::engines::Tera>();
            })*
        }
    };
}

mod announcements;
mod axum_template;
mod cache;
mod callbacks;
mod chaos;
mod commits;
mod concurrency;
mod documents;
mod embedded;
mod fixtures;
mod handed_inside;
mod jinja_callers;
mod jinja_errors;
mod jinja_extra;
mod jinja_installing;
mod jinja_macro_values;
mod jinja_macros;
mod jinja_names;
mod jinja_printing;
mod jinja_random;
mod jinja_rows;
mod jinja_sources;
mod limits;
mod loading;
mod page_values;
mod pasted;
mod reading;
mod real_templates;
mod redis;
mod safe;
mod servers;
mod several_caches;
mod tenants;
mod tera;
mod tera_bodies;
mod tera_clones;
mod tera_errors;
mod tera_groups;
mod tera_model;
mod tera_random;
mod tera_reads;
mod tera_rows;
mod tera_scopes;
mod tera_sharing;
mod tera_with_and_without_tags;
mod transactions;
mod values;
mod waiting;
