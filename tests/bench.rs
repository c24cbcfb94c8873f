//! The benchmark suite's own arithmetic and its command line. Nothing is measured, installed or built here.

use std::process::{Command, Output};

/// `scripts/bench` with these arguments, which must not come as far as measuring.
fn bench(arguments: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/bench");
    Command::new(script).args(arguments).env("SKIP_INSTALL", "1").output().expect("scripts/bench starts")
}

#[track_caller]
fn is_a_mistake(arguments: &[&str], said: &str) {
    let output = bench(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert!(stderr.starts_with("scripts/bench: ") && stderr.contains(said), "{stderr}");
    assert!(output.stdout.is_empty());
}

#[test]
fn what_the_suite_computes_is_right() {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-B", "-m", "unittest", "discover", "bench/load"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = python.output().expect("/usr/bin/python3");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("\nOK"), "{stderr}");
}

#[test]
fn help_names_every_group() {
    let output = bench(&["--quick", "--help"]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty());
    for word in ["--quick", "--cores", "--only", "plain", "full-log", "429", "ws-bulk"] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_one_line_each() {
    is_a_mistake(&["--fast"], "--fast");
    is_a_mistake(&["--only", "plain,pears"], "'pears' is no group");
    is_a_mistake(&["--rounds", "0"], "--rounds");
    is_a_mistake(&["--cores", "1025"], "--cores");
    is_a_mistake(&["--variant", "copy"], "NAME:KEY=VALUE");
    is_a_mistake(&["--contenders", "apache"], "'apache' is no contender");
}
