//! The program: what was asked, and the code that it ends with.

use std::io::Write;
use std::process::ExitCode;

use realchat_gateway::cli::{self, Command, Invocation};
use realchat_gateway::config::{self, Config, Lowered, Mistakes, Written};
use realchat_gateway::control::reload::Load;
use realchat_gateway::control::shutdown::Ending;
use realchat_gateway::control::signals::Signals;
use realchat_gateway::launch::{self, LaunchError};
use realchat_gateway::telemetry::log::Log;
use realchat_gateway::{auth, clock, demo, explain};

fn main() -> ExitCode {
    let Invocation { command, written } = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(ending) if ending.code == 0 => return print(&ending.text),
        Err(ending) => return refuse(&ending.text),
    };
    let again = written.clone();
    let lowered = match &command {
        Command::Demo => demo::prepare(written),
        _ => config::load(written, launch::check).map_err(|mistakes| mistakes.to_string()),
    };
    let Lowered { config, warnings } = match lowered {
        Ok(lowered) => lowered,
        Err(mistakes) => return refuse(&mistakes),
    };
    match command {
        Command::Run => run(config, &warnings, read_again(again), false),
        Command::Demo => run(config, &warnings, Box::new(|| Err(demo_is_as_it_is())), true),
        Command::Check => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            print(&config::describe(&config))
        }
        Command::Explain { method, path } => match explain::explain(&config, &method, &path) {
            Ok(text) => print(&text),
            Err(mistake) => refuse(&mistake),
        },
        Command::Token { user, ttl } => match auth::mint(&config.jwt, &user, ttl, clock::unix_s()) {
            Ok(token) => print(&format!("{token}\n")),
            Err(error) => refuse(&error.to_string()),
        },
    }
}

fn run(config: Config, warnings: &[String], load: Load, is_demo: bool) -> ExitCode {
    let log = match Log::install() {
        Ok(log) => log,
        Err(error) => return fail(&format!("no log: {error}")),
    };
    log.abort_on_panic();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("no signals: {error}")),
    };
    let gateway = match launch::launch(config, load) {
        Ok(gateway) => gateway,
        Err(LaunchError::Mistakes(mistakes)) => return refuse(&mistakes.join("\n")),
        Err(LaunchError::Machine(what)) => return fail(&what),
    };
    if is_demo {
        print(&demo::page::curl_lines(gateway.public.port()));
    }
    let ending = gateway.run(signals);
    match &ending {
        Ok(Ending::Drained) => tracing::info!("drained: nothing was cut off"),
        Ok(Ending::CutOff(open)) => tracing::warn!(open, "connections were cut off"),
        Ok(Ending::AtOnce) => tracing::warn!("a second signal: ending at once"),
        Err(error) => tracing::error!(%error, "the control thread cannot work"),
    }
    log.flush();
    match ending {
        Ok(Ending::Drained | Ending::CutOff(_)) => ExitCode::SUCCESS,
        Ok(Ending::AtOnce) | Err(_) => ExitCode::FAILURE,
    }
}

/// The flags and the environment of this process, over the file as it is by then.
fn read_again(written: Written) -> Load {
    Box::new(move || config::load(written.clone(), launch::check))
}

/// Its secret and its backends are made at the start.
fn demo_is_as_it_is() -> Mistakes {
    Mistakes::one("demo", "reads no configuration again: end it and start it anew")
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The operator's mistake: exit code 2.
fn refuse(mistakes: &str) -> ExitCode {
    eprintln!("{}", mistakes.trim_end());
    ExitCode::from(2)
}

/// The machine's: exit code 1.
fn fail(what: &str) -> ExitCode {
    eprintln!("realchat-gateway: {what}");
    ExitCode::FAILURE
}
