//! A blog whose pages consist of cached fragments: `cargo run --release --example
//! blog`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to the terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use cacheops_examples::blog::{Options, serve};

const HELP: &str = "\
A blog whose pages are made of cached fragments.

Usage: blog [--engine NAME] [--db FILE] [--port N] [--redis URL [--strict] [--exclusive]]

  --engine NAME
               the template engine, minijinja or tera: the same pages
               (default: minijinja)
  --db FILE    where the rows are kept; made and filled if it is not there
               (default: blog.db)
  --port N     where to listen on 127.0.0.1; 0 lets the system choose
               (default: 8000)
  --redis URL  the Redis by which several instances with the same --db share
               what they keep, as in redis://127.0.0.1:6379/0
               (default: none, the cache is this process's own)
  --strict     asks Redis on every hit, instead of being told of changes
  --exclusive  only instances over this Redis write to FILE: no page looks
               whether another program has, and a change by one instance
               drops in the others just what it affects
  --help       this text
";

#[tokio::main]
async fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{why}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until Ctrl-C.
async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let server = serve(options).await?;
    println!("Open http://{} (Ctrl-C ends it)", server.address());
    tokio::signal::ctrl_c().await?;
    server.shutdown().await?;
    Ok(())
}

/// Reads the arguments; nothing when they ask for help.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { port: 8000, ..Options::new(PathBuf::from("blog.db")) };
    while let Some(argument) = arguments.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (argument.as_str(), None),
        };
        let mut value =
            || inline.clone().or_else(|| arguments.next()).ok_or(format!("{name} needs a value"));
        match name {
            "--help" | "-h" => return Ok(None),
            "--engine" => options.engine = value()?.parse()?,
            "--db" => options.db = value()?.into(),
            "--port" => {
                let port = value()?;
                options.port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
            }
            "--redis" => options.redis = Some(value()?),
            "--strict" if inline.is_none() => options.strict = true,
            "--exclusive" if inline.is_none() => options.exclusive = true,
            _ => return Err(format!("unknown argument: {argument}")),
        }
    }
    if (options.strict || options.exclusive) && options.redis.is_none() {
        return Err("--strict and --exclusive need --redis URL".to_owned());
    }
    Ok(Some(options))
}
