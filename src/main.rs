//! The program: what was asked, and the code that it ends with.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use realchat_gateway::cli::{self, Command, Invocation};
use realchat_gateway::config::keys::process::PID_FILE;
use realchat_gateway::config::{self, Lowered, Mistakes, Written};
use realchat_gateway::control::inherit::Inherited;
use realchat_gateway::control::reload::Load;
use realchat_gateway::control::shutdown::Ending;
use realchat_gateway::control::signals::Signals;
use realchat_gateway::control::upgrade::{self, Predecessor, Program};
use realchat_gateway::launch::{self, LaunchError};
use realchat_gateway::telemetry::log::Log;
use realchat_gateway::{auth, clock, demo, explain, health};

fn main() -> ExitCode {
    let mut predecessor = None;
    act(&mut predecessor).unwrap_or_else(|failure| failure.tell(predecessor))
}

/// Does what was asked. `predecessor`: whom to tell if that fails.
fn act(predecessor: &mut Option<Predecessor>) -> Result<ExitCode, Failure> {
    upgrade::adopt_number().map_err(|error| Failure::Machine(format!("cannot start once more: {error}")))?;
    let mut inherited = Inherited::take().map_err(|mistakes| Failure::Operator(mistakes.join("\n")))?;
    *predecessor = inherited.predecessor.take().map(Predecessor::new);
    let Invocation { command, written } = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(ending) if ending.code == 0 => return Ok(print(&ending.text)),
        Err(ending) => return Err(Failure::Operator(ending.text)),
    };
    match command {
        Command::Run => {
            let again = written.clone();
            let load: Load = Box::new(move || config::load(again.clone(), launch::check));
            run(judge(written)?, load, inherited, predecessor, |_| {})
        }
        Command::Demo { page_port } => {
            let (lowered, site) = demo::prepare(written, &page_port)?;
            let greet = |port| {
                print(&site.open(port));
            };
            run(lowered, Box::new(|| Err(demo_is_as_it_is())), inherited, predecessor, greet)
        }
        Command::Health => {
            let lowered =
                health::load(written).map_err(|mistakes| Failure::Operator(mistakes.to_string()))?;
            let report = health::ask(&lowered.config).map_err(Failure::Machine)?;
            let printed = print(&report.text);
            Ok(if report.is_ready { printed } else { ExitCode::FAILURE })
        }
        Command::Check => {
            let Lowered { config, warnings } = judge(written)?;
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            Ok(print(&config::describe(&config)))
        }
        Command::Explain { method, path } => {
            let text = explain::explain(&judge(written)?.config, &method, &path);
            text.map(|text| print(&text)).map_err(Failure::Operator)
        }
        Command::Token { user, ttl } => {
            let token = auth::mint(&judge(written)?.config.jwt, &user, ttl, clock::unix_s());
            let token = token.map_err(|error| Failure::Operator(error.to_string()))?;
            Ok(print(&format!("{token}\n")))
        }
        Command::Upgrade { pid } => {
            let asked = upgrade::ask(pid, written.get(&PID_FILE).map(Path::new));
            asked.map(|told| print(&told)).map_err(Failure::Operator)
        }
    }
}

fn judge(written: Written) -> Result<Lowered, Failure> {
    config::load(written, launch::check).map_err(|mistakes| Failure::Operator(mistakes.to_string()))
}

/// Its secret and its backends are made at the start.
fn demo_is_as_it_is() -> Mistakes {
    Mistakes::one("demo", "reads no configuration again: end it and start it anew")
}

/// Runs the gateway to its end. `listening` is told the port.
fn run(
    lowered: Lowered,
    load: Load,
    inherited: Inherited,
    predecessor: &mut Option<Predecessor>,
    listening: impl FnOnce(u16),
) -> Result<ExitCode, Failure> {
    let machine = |what: &str, error: std::io::Error| Failure::Machine(format!("{what}: {error}"));
    let program = Program::of_this_process().map_err(|error| machine("no path of this program", error))?;
    let log = Log::install().map_err(|error| machine("no log", error))?;
    log.abort_on_panic();
    for warning in &lowered.warnings {
        tracing::warn!("{warning}");
    }
    let signals = Signals::new().map_err(|error| machine("no signals", error))?;
    let gateway = launch::launch(lowered.config, load, inherited)?;
    listening(gateway.public.port());
    let ending = gateway.run(signals, program, predecessor.take());
    match &ending {
        Ok(Ending::Drained) => tracing::info!("drained: nothing was cut off"),
        Ok(Ending::CutOff(open)) => tracing::warn!(open, "connections were cut off"),
        Ok(Ending::AtOnce) => tracing::warn!("a second signal: ending at once"),
        Err(error) => tracing::error!(%error, "the control thread cannot work"),
    }
    log.flush();
    Ok(match ending {
        Ok(Ending::Drained | Ending::CutOff(_)) => ExitCode::SUCCESS,
        Ok(Ending::AtOnce) | Err(_) => ExitCode::FAILURE,
    })
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Why nothing was done.
enum Failure {
    /// The operator's mistakes, one line each: exit code 2.
    Operator(String),
    /// The machine does not give what is needed: exit code 1.
    Machine(String),
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Failure {
        match error {
            LaunchError::Mistakes(mistakes) => Failure::Operator(mistakes.join("\n")),
            LaunchError::Machine(what) => Failure::Machine(what),
        }
    }
}

impl Failure {
    /// On standard error, and to the process that waits for this one.
    fn tell(self, predecessor: Option<Predecessor>) -> ExitCode {
        let (text, code) = match self {
            Failure::Operator(mistakes) => (mistakes.trim_end().to_owned(), ExitCode::from(2)),
            Failure::Machine(what) => (format!("realchat-gateway: {what}"), ExitCode::FAILURE),
        };
        eprintln!("{text}");
        if let Some(predecessor) = predecessor {
            predecessor.refuse(&text);
        }
        code
    }
}
