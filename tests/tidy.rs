//! House rules that a machine can check.

mod imports;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A module uses only what is below it. Modules of one line are siblings that may use each other.
const LAYERS: [&[&str]; 14] = [
    &["limits", "clock", "sys", "spare", "storm"],
    &["config", "telemetry"],
    &["http"],
    &["http1", "http2", "ws"],
    &["redis", "net", "tls"],
    &["message"],
    &["route", "auth", "limit", "upstream"],
    &["downstream"],
    &["gateway"],
    &["admin"],
    &["control"],
    &["worker"],
    &["launch", "demo", "explain", "health", "revoke"],
    &["main", "cli"],
];

/// Lines of a file, tests not counted. The usual size is 180.
const LINES_MAX: usize = 450;

/// Files that may be longer, each with its reason.
const LONG_FILES: [(&str, &str); 0] = [];

/// Files and folders directly in `src/gateway`.
const GATEWAY_ENTRIES_MAX: usize = 12;

/// Columns of a line of code.
const COLUMNS_MAX: usize = 120;

/// Where a peer's bytes arrive: nothing here may panic on them.
const NO_UNWRAP: [&str; 12] = [
    "http",
    "http1",
    "http2",
    "ws",
    "net",
    "tls",
    "redis",
    "message",
    "upstream",
    "auth",
    "downstream",
    "gateway",
];

/// Modules whose standard output is for a person.
const MAY_PRINT: [&str; 3] = ["main", "cli", "demo"];

#[test]
fn a_module_uses_only_what_is_below_it() {
    let mut broken = Vec::new();
    for file in sources() {
        let Some(from) = layer(&file.module) else {
            if file.module != "lib" {
                broken.push(format!("{}: the module {} has no layer", file.path, file.module));
            }
            continue;
        };
        for (number, line) in file.code() {
            for used in crate_paths(line) {
                if layer(&used).is_some_and(|to| to > from) {
                    broken.push(format!(
                        "{}:{number}: {} uses {used}, which is above it",
                        file.path, file.module
                    ));
                }
            }
        }
    }
    none(broken);
}

#[test]
fn no_file_imports_itself_by_a_detour() {
    let files = sources().into_iter().map(|file| (file.path.clone(), file.code_text()));
    let modules = imports::Crate::read(files);
    let circles = imports::circles(&modules.edges());
    none(circles.iter().map(|circle| circle.join(" -> ")).collect());
}

#[test]
fn unsafe_lives_in_sys_alone() {
    let word = |line: &str| words(line).any(|word| word == "unsafe");
    none(lines_of(|file, line| file.module != "sys" && word(line)));
}

#[test]
fn every_file_starts_by_saying_what_it_is() {
    let silent = all_rust().into_iter().filter(|file| !file.text.starts_with("//! "));
    none(silent.map(|file| format!("{}: no //! line", file.path)).collect());
}

#[test]
fn nothing_unfinished_is_committed() {
    // Spelled apart, so that this file does not find itself.
    let marks = [["db", "g!("], ["tod", "o!("], ["unimplemente", "d!("], ["FIX", "ME"], ["XX", "X"]];
    let marks = marks.map(|halves| halves.concat());
    let mut found = Vec::new();
    for file in all_rust() {
        for (number, line) in file.text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(mark.as_str())) {
                found.push(format!("{}:{}: {mark}", file.path, number + 1));
            }
        }
    }
    none(found);
}

#[test]
fn only_the_command_line_prints() {
    let prints = |line: &str| ["println!(", "print!("].iter().any(|mark| line.contains(mark));
    none(lines_of(|file, line| !MAY_PRINT.contains(&file.module.as_str()) && prints(line)));
}

#[test]
fn no_file_is_longer_than_it_should_be() {
    let mut long = Vec::new();
    for file in sources() {
        let lines = file.code().count();
        let excused = LONG_FILES.iter().any(|(path, _)| *path == file.path);
        if (lines > LINES_MAX) != excused {
            long.push(format!("{}: {lines} lines, excused: {excused}", file.path));
        }
    }
    none(long);
}

#[test]
fn the_folder_of_the_gateway_fits_a_glance() {
    let entries = fs::read_dir(root().join("src/gateway")).expect("the folder").count();
    assert!(entries <= GATEWAY_ENTRIES_MAX, "{entries} entries: which of them are one noun?");
}

#[test]
fn no_line_is_wider_than_a_screen() {
    let mut wide = Vec::new();
    for file in all_rust() {
        for (number, line) in file.text.lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                wide.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    none(wide);
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read("Cargo.toml");
    let (mut inside, mut explained, mut silent) = (false, false, Vec::new());
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        }
        // A comment speaks for every dependency down to the next empty line or comment.
        match line.chars().next() {
            None | Some('[') => explained = false,
            Some('#') => explained = true,
            Some(_) if inside && !explained && !line.contains(" #") => silent.push(line.to_owned()),
            Some(_) => {}
        }
    }
    none(silent);
}

#[test]
fn a_peers_bytes_meet_no_bare_unwrap() {
    let mut bare = Vec::new();
    for file in sources().into_iter().filter(|file| NO_UNWRAP.contains(&file.module.as_str())) {
        let mut above = "";
        for (number, line) in file.code() {
            let excused = line.contains("// ") || above.trim_start().starts_with("//");
            if line.contains(".unwrap()") && !line.trim_start().starts_with("//") && !excused {
                bare.push(format!("{}:{number}: unwrap without a reason", file.path));
            }
            above = line;
        }
    }
    none(bare);
}

#[test]
fn documents_name_no_folder_of_one_machine() {
    let roots = ["/root/", "/home/"];
    let mut found = Vec::new();
    for file in documents() {
        for (number, line) in file.text.lines().enumerate() {
            for root in roots.iter().filter(|root| line.contains(*root)) {
                found.push(format!("{}:{}: {root}", file.path, number + 1));
            }
        }
    }
    none(found);
}

#[test]
fn every_bound_is_used() {
    let is_limits = |file: &&Source| file.module == "limits";
    let limits: String = sources().iter().filter(is_limits).map(|file| file.text.clone()).collect();
    let names = limits.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    let names = names.filter(|name| !name.starts_with("fn "));
    let used: BTreeSet<String> = sources()
        .iter()
        .filter(|file| file.module != "limits")
        .flat_map(|file| words(&file.text).map(str::to_owned).collect::<Vec<_>>())
        .collect();
    // A bound that only derives another one is in use as well.
    let derives = |name: &str| words(&limits).filter(|word| *word == name).count() > 1;
    none(names.filter(|name| !used.contains(*name) && !derives(name)).map(str::to_owned).collect());
}

#[test]
fn the_rules_see_what_they_look_for() {
    let paths = |line| crate_paths(line).collect::<Vec<_>>();
    assert_eq!(paths("use crate::{http1::Head, net};"), ["http1", "net"]);
    assert_eq!(paths("use crate::auth::{Identity, token::Token};"), ["auth"]);
    assert_eq!(paths("let a = crate::clock::now() + crate::limits::TICK_MS;"), ["clock", "limits"]);
    assert_eq!(paths("pub(crate) fn mycrate() {}"), [""; 0]);
    let text = "a\n#[cfg(test)]\nmod tests {\n    b\n}\nc\n".to_owned();
    let file = Source { path: String::new(), module: String::new(), text };
    assert_eq!(file.code().map(|(_, line)| line).collect::<Vec<_>>(), ["a", "c"]);
    assert!(layer("worker") > layer("gateway") && layer("demo") == layer("launch"));
}

struct Source {
    /// From the root of the repository.
    path: String,
    /// The first part of its path below `src`.
    module: String,
    text: String,
}

impl Source {
    /// A file that its parent declares under `#[cfg(test)]`: known by its name.
    fn is_test(&self) -> bool {
        let named = ["/tests.rs", "/testing.rs"].iter().any(|name| self.path.ends_with(name));
        named || self.path.contains("/tests/")
    }

    /// The same as one text.
    fn code_text(&self) -> String {
        self.code().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// The lines outside `#[cfg(test)]` items, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let (mut in_tests, mut kept) = (false, Vec::new());
        let text = if self.is_test() { "" } else { &self.text };
        for (index, line) in text.lines().enumerate() {
            in_tests |= line.trim() == "#[cfg(test)]" && line.starts_with('#');
            if !in_tests {
                kept.push((index + 1, line));
            }
            // An item at the margin ends with a brace or a semicolon at the margin.
            let ends = line.starts_with('}') || (line.ends_with(';') && !line.starts_with([' ', '#']));
            in_tests &= !ends;
        }
        kept.into_iter()
    }
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// The top modules that a line names through `crate::` (or, in the binary, through the library's name).
fn crate_paths(line: &str) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    let code = line.split("//").next().unwrap_or_default();
    for root in ["crate::", "realchat_gateway::"] {
        for (at, _) in code.match_indices(root) {
            let whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let rest = &code[at + root.len()..];
            let group = rest.strip_prefix('{').map(|group| group.split('}').next().unwrap_or(group));
            let members = group.map_or_else(|| vec![rest], |group| group.split(',').collect());
            found.extend(
                members.into_iter().filter(|_| whole).filter_map(|m| words(m).next()).map(str::to_owned),
            );
        }
    }
    found.into_iter()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .flat_map(|line| {
            line.split("//").next().unwrap_or_default().split(|c: char| !c.is_alphanumeric() && c != '_')
        })
        .filter(|word| !word.is_empty())
}

/// Every line of the program, outside tests and comments, of which `is_wrong` holds.
fn lines_of(is_wrong: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in sources() {
        for (number, line) in file.code().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            if is_wrong(&file, line) {
                wrong.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    wrong
}

#[track_caller]
fn none(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

fn sources() -> Vec<Source> {
    files("src", "rs")
}

fn all_rust() -> Vec<Source> {
    ["src", "tests", "bench"].into_iter().flat_map(|folder| files(folder, "rs")).collect()
}

fn documents() -> Vec<Source> {
    let mut all = files("docs", "md");
    all.extend(files("deploy", ""));
    all.extend(files("scripts", ""));
    for name in ["README.md", "CHANGELOG.md", "Dockerfile", "Cargo.toml"] {
        if root().join(name).exists() {
            all.push(Source { path: name.to_owned(), module: String::new(), text: read(name) });
        }
    }
    all
}

/// The text files below a folder with this extension (any, if empty), in order. No folder, no files.
fn files(folder: &str, extension: &str) -> Vec<Source> {
    let (mut folders, mut paths) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.expect("a readable folder").path()) {
            match path.is_dir() {
                true if path.ends_with("target") => {}
                true => folders.push(path),
                false if extension.is_empty() || path.extension().is_some_and(|e| e == extension) => {
                    paths.push(path)
                }
                false => {}
            }
        }
    }
    paths.sort();
    paths.into_iter().filter_map(|path| source(&path)).collect()
}

fn source(path: &Path) -> Option<Source> {
    let text = fs::read_to_string(path).ok()?;
    let path = path.strip_prefix(root()).expect("a path below the root").to_str()?.to_owned();
    let module = path.split('/').nth(1).unwrap_or_default().trim_end_matches(".rs").to_owned();
    Some(Source { path, module, text })
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
