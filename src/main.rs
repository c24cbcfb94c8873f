//! The program: runs a subcommand and returns its exit code.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use realchat_gateway::cli::{self, Before, Command, Invocation};
use realchat_gateway::config::keys::process::CONFIG_FILE;
use realchat_gateway::config::{self, Judged, Lowered, Mistakes, Written};
use realchat_gateway::control::inherit::Inherited;
use realchat_gateway::control::process::Process;
use realchat_gateway::control::reload::Load;
use realchat_gateway::control::shutdown::ShutdownOutcome;
use realchat_gateway::control::signals::Signals;
use realchat_gateway::control::upgrade::{self, Predecessor, Program};
use realchat_gateway::control::upgrade_request::{self, Refused};
use realchat_gateway::explain::Question;
use realchat_gateway::launch::{self, LaunchError};
use realchat_gateway::revoke::{self, NotRevoked, Revoked, Wanted};
use realchat_gateway::telemetry::log::{Log, LogError};
use realchat_gateway::tls::Termination;
use realchat_gateway::{auth, clock, demo, explain, health};

fn main() -> ExitCode {
    let mut predecessor = None;
    run_command(&mut predecessor).unwrap_or_else(|failure| failure.report(predecessor))
}

/// Runs the subcommand of the command line. Sets `predecessor` in a successor process, so that a failure can be
/// reported to the predecessor.
fn run_command(predecessor: &mut Option<Predecessor>) -> Result<ExitCode, Failure> {
    upgrade::adopt_process_id()
        .map_err(|error| Failure::Machine(format!("cannot execute the program again: {error}")))?;
    let mut inherited = Inherited::take().map_err(|mistakes| Failure::Operator(mistakes.join("\n")))?;
    *predecessor = inherited.predecessor.take().map(Predecessor::new);
    let Invocation { command, written } = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(exit) if exit.code == 0 => return Ok(print(&exit.text)),
        Err(exit) => return Err(Failure::Operator(exit.text)),
    };
    match command {
        Command::Run => {
            let again = written.clone();
            let load: Load = Box::new(move || config::load(again.clone(), launch::check));
            run(load_config(written)?, load, inherited, predecessor, |_| {})
        }
        Command::Demo { page_port, tls } => {
            let (lowered, site) = demo::prepare(written, &page_port, tls, inherited.demo.take())?;
            let welcome = |gateway: &mut Process| {
                gateway.for_successor.extend(site.for_successor());
                let tls_port = gateway.tls.map(|address| address.port());
                print(&site.open(gateway.public.port(), tls_port));
            };
            run(lowered, Box::new(|| Err(demo_cannot_reload())), inherited, predecessor, welcome)
        }
        Command::DemoServices => demo::household::serve()
            .map(|()| ExitCode::SUCCESS)
            .map_err(|error| Failure::Machine(format!("the demo's services: {error}"))),
        Command::Revoke { user, jti, sid, all: _, before, close } => {
            let revoked = match (&user, &jti, &sid) {
                (Some(user), ..) => Revoked::User(user),
                (_, Some(jti), _) => Revoked::Token(jti),
                (.., Some(sid)) => Revoked::Session(sid),
                _ => Revoked::All,
            };
            let before_unix_s = match before {
                Before::Now => None,
                Before::UnixS(unix_s) => Some(unix_s),
            };
            let wanted = Wanted { revoked, before_unix_s, closes: close };
            let told = revoke::revoke(&load_config(written)?.config, &wanted, clock::unix_s());
            told.map(|text| print(&text)).map_err(|error| match error {
                NotRevoked::NoStream(why) => Failure::Operator(why),
                NotRevoked::Redis(why) => Failure::Machine(why),
            })
        }
        Command::Health => {
            let lowered =
                health::load(written).map_err(|mistakes| Failure::Operator(mistakes.to_string()))?;
            let report = health::query(&lowered.config).map_err(Failure::Machine)?;
            let printed = print(&report.text);
            Ok(if report.is_ready { printed } else { ExitCode::FAILURE })
        }
        Command::Check => {
            let Judged { lowered: Lowered { config, warnings }, mistakes } =
                config::judge(written, |_| Written::default(), launch::check);
            if mistakes.count() > 0 {
                print(&config::describe_judged(&config, &mistakes));
                return Err(Failure::Operator(mistakes.to_string()));
            }
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            let certificates = Termination::load(&config.tls, None)
                .map_err(|mistakes| Failure::Operator(mistakes.join("\n")))?
                .map_or_else(String::new, |tls| tls.describe(clock::unix_s()));
            let keys = auth::report::describe_keys(&config.jwt);
            Ok(print(&(config::describe(&config) + &keys + &certificates)))
        }
        Command::Explain { method, url, headers, token } => {
            let token = match token.as_deref() {
                Some("-") => Some(explain::read_token(&mut std::io::stdin()).map_err(Failure::Operator)?),
                _ => token,
            };
            let (fields, token) = (&headers, token.as_deref());
            let question = Question { method: &method, url: &url, fields, token };
            let text = explain::explain(&load_config(written)?.config, &question);
            text.map(|text| print(&text)).map_err(Failure::Operator)
        }
        Command::Token { user, ttl } => {
            let token = auth::mint(&load_config(written)?.config.jwt, &user, ttl, clock::unix_s());
            let token = token.map_err(|error| Failure::Operator(error.to_string()))?;
            Ok(print(&format!("{token}\n")))
        }
        Command::Upgrade { pid, no_wait } => {
            let pid_file = if pid.is_none() { pid_file(written)? } else { None };
            let requested = upgrade_request::request(pid, pid_file.as_deref(), !no_wait);
            requested.map(|text| print(&text)).map_err(|refused| match refused {
                Refused::Unasked(why) => Failure::Operator(why),
                Refused::Failed(why) => Failure::Machine(why),
            })
        }
    }
}

/// The PID file that the configuration names, whatever else is wrong there: an upgrade may be what mends it.
fn pid_file(written: Written) -> Result<Option<PathBuf>, Failure> {
    let has_file = written.get(&CONFIG_FILE).is_some();
    let Judged { lowered, mistakes } = config::judge(written, |_| Written::default(), |_| Vec::new());
    match lowered.config.pid_file {
        None if has_file && mistakes.count() > 0 => Err(Failure::Operator(mistakes.to_string())),
        pid_file => Ok(pid_file),
    }
}

fn load_config(written: Written) -> Result<Lowered, Failure> {
    config::load(written, launch::check).map_err(|mistakes| Failure::Operator(mistakes.to_string()))
}

/// The error of a reload in `demo`. The secret and the backends of the demo exist only in the running process.
fn demo_cannot_reload() -> Mistakes {
    Mistakes::one("demo", "cannot reload the configuration: restart it")
}

/// Runs the gateway until the shutdown has ended. `started` is called after the start.
fn run(
    lowered: Lowered,
    load: Load,
    inherited: Inherited,
    predecessor: &mut Option<Predecessor>,
    started: impl FnOnce(&mut Process),
) -> Result<ExitCode, Failure> {
    let machine = |what: &str, error: std::io::Error| Failure::Machine(format!("{what}: {error}"));
    let program = Program::of_this_process()
        .map_err(|error| machine("cannot determine the path of this program", error))?;
    let log = Log::install(lowered.config.log_format).map_err(|error| match error {
        LogError::Filter(mistake) => Failure::Operator(mistake),
        LogError::Thread(error) => machine("cannot install the log", error),
    })?;
    log.abort_on_panic();
    for warning in &lowered.warnings {
        tracing::warn!("{warning}");
    }
    let signals = Signals::new().map_err(|error| machine("cannot install the signal handlers", error))?;
    let mut gateway = launch::launch(lowered.config, load, inherited)?;
    started(&mut gateway);
    let outcome = gateway.run(signals, program, predecessor.take());
    match &outcome {
        Ok(ShutdownOutcome::Drained) => tracing::info!("drained: nothing was cut off"),
        Ok(ShutdownOutcome::CutOff(open)) => tracing::warn!(open, "connections were cut off"),
        Ok(ShutdownOutcome::Immediate) => tracing::warn!("second signal: ending immediately"),
        Err(error) => tracing::error!(%error, "the control thread has failed"),
    }
    log.flush();
    Ok(match outcome {
        Ok(ShutdownOutcome::Drained | ShutdownOutcome::CutOff(_)) => ExitCode::SUCCESS,
        Ok(ShutdownOutcome::Immediate) | Err(_) => ExitCode::FAILURE,
    })
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The reason why a subcommand failed.
enum Failure {
    /// Mistakes of the operator, one line each. Exit code 2.
    Operator(String),
    /// The machine lacks a required resource. Exit code 1.
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
    /// Writes the failure to standard error and reports it to the predecessor process, if any.
    fn report(self, predecessor: Option<Predecessor>) -> ExitCode {
        let (text, code) = match self {
            Failure::Operator(mistakes) => (mistakes.trim_end().to_owned(), ExitCode::from(2)),
            Failure::Machine(what) => (format!("realchat-gateway: {what}"), ExitCode::FAILURE),
        };
        eprintln!("{text}");
        if let Some(predecessor) = predecessor {
            predecessor.report_failure(&text);
        }
        code
    }
}
