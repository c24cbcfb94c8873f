//! The program: what was asked, and the code that it ends with.

use std::io::Write;
use std::process::ExitCode;

use realchat_gateway::cli::{self, Command, Invocation};
use realchat_gateway::config::{self, Config, Lowered, Mistakes};
use realchat_gateway::control::shutdown::{Ending, Signals};
use realchat_gateway::demo::{self, Site};
use realchat_gateway::launch::{self, LaunchError};
use realchat_gateway::telemetry::log::Log;
use realchat_gateway::{auth, clock, explain, health};

fn main() -> ExitCode {
    let Invocation { command, written } = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(ending) if ending.code == 0 => return print(&ending.text),
        Err(ending) => return refuse(&ending.text),
    };
    let read = |loaded: Result<Lowered, Mistakes>| {
        let lowered = loaded.map_err(|mistakes| LaunchError::Mistakes(vec![mistakes.to_string()]))?;
        Ok((lowered, None))
    };
    let lowered = match &command {
        Command::Demo { page_port } => {
            demo::prepare(written, page_port).map(|(lowered, site)| (lowered, Some(site)))
        }
        Command::Health => read(health::load(written)),
        _ => read(config::load(written, launch::check)),
    };
    let (Lowered { config, warnings }, site) = match lowered {
        Ok(lowered) => lowered,
        Err(error) => return not_started(&error),
    };
    match command {
        Command::Run | Command::Demo { .. } => run(config, &warnings, site),
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
        Command::Health => match health::ask(&config) {
            Ok(report) if report.is_ready => print(&report.text),
            Ok(report) => {
                print(&report.text);
                ExitCode::FAILURE
            }
            Err(what) => fail(&what),
        },
        Command::Token { user, ttl } => match auth::mint(&config.jwt, &user, ttl, clock::unix_s()) {
            Ok(token) => print(&format!("{token}\n")),
            Err(error) => refuse(&error.to_string()),
        },
    }
}

fn run(config: Config, warnings: &[String], site: Option<Site>) -> ExitCode {
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
    let gateway = match launch::launch(config) {
        Ok(gateway) => gateway,
        Err(error) => return not_started(&error),
    };
    if let Some(site) = site {
        print(&site.open(gateway.public.port()));
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

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn not_started(error: &LaunchError) -> ExitCode {
    match error {
        LaunchError::Mistakes(mistakes) => refuse(&mistakes.join("\n")),
        LaunchError::Machine(what) => fail(what),
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
