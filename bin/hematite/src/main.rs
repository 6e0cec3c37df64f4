//! The binary: everything is in the library.

use std::{io::Write, process::ExitCode};

use hematite::{
    args::{Parsed, Personality, Surroundings, parse},
    dispatch, exit,
};

/// Gives memory back that is free, whichever thread used it. glibc's would keep it in a heap of each.
#[cfg(not(target_env = "msvc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    let personality = Personality::of(argv.first().map(|name| name.as_os_str()));
    let code = match parse(argv, Surroundings::of_process()) {
        Ok(Parsed::Show(text)) => {
            let mut out = std::io::stdout();
            // A closed pipe (`--help | head`) is no failure.
            let _ = out.write_all(text.as_bytes());
            exit::ExitCode::Done
        }
        Ok(Parsed::Invocation(invocation)) => dispatch::run(&invocation),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error:#}");
            exit::ExitCode::Usage
        }
    };
    ExitCode::from(code.under(personality))
}
